"""Lines about the trials of a sweep: how many are in each state, and why some have failed."""

import shutil
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from sweeps.cli.command_line import command_line
from sweeps.cli.exit_codes import EXIT_INCOMPLETE
from sweeps.cli.json_output import print_json
from sweeps.cli.options import DEFAULT_STORAGE
from sweeps.control.requests import Requests, pauses_data
from sweeps.inventory.known_sweeps import SWEEP, counted
from sweeps.spec import Cell, SweepSpec
from sweeps.spending.description import spending_data, spending_tables, spent_line
from sweeps.spending.spent import NOTHING, Command, spending_of
from sweeps.storage.folder import Storage, TrialFolder, TrialState
from sweeps.storage.provenance import running_here
from sweeps.storage.records import Origin, Running
from sweeps.storage.trial_states import failures_of, states_of


def print_summary(sweep: SweepSpec, storage: Storage) -> int:
    """Print failures, the number of trials in each state and the commands that train them now.

    Returns:
        The exit code of a command: 0 if all trials have finished.
    """
    states = states_of(sweep.cells, storage)
    print_failures(sweep.cells, storage)
    text = ", ".join(f"{count} {state}" for state, count in counted(states.values()).items())
    print(f"{sweep.name}: {text}")
    for command, count in _commands(sweep.cells, states, storage).items():
        print(f"{count} RUNNING in {'a command that is unknown' if command is None else command}")
    print_pauses(sweep.name, storage)
    return _exit_code(states)


def print_spent(cells: Sequence[Cell], storage: Storage) -> None:
    """Print what was spent on trials: a line, and tables by block and by command."""
    spending = spending_of(cells, storage)
    if line := spent_line(spending):
        print(line)
    if tables := spending_tables(spending, shutil.get_terminal_size().columns):
        print(f"\n{tables}")


def print_spent_in_line(cells: Sequence[Cell], storage: Storage, command: str) -> None:
    """Print a line on what this command has spent, and what was spent on trials in all.

    Args:
        cells: the trials.
        storage: the storage of the trials.
        command: the command line, as it is recorded.
    """
    spending = spending_of(cells, storage)
    here = running_here(Origin(command=command))
    own = Command(command, here.user, here.host, here.process, here.job, here.command_id)
    if line := spent_line(spending, spending.commands.get(own, NOTHING)):
        print(line)


def print_summary_as_json(
    sweep: SweepSpec, storage: Storage, archived: Mapping[str, Any] | None = None
) -> int:
    """Print what `print_summary` does as JSON; see docs/json.md.

    Args:
        sweep: the sweep.
        storage: the storage of its trials.
        archived: what an archive has of it, see `sweeps.archive.summary`; None for no archive.
    """
    states = states_of(sweep.cells, storage)
    commands = _commands(sweep.cells, states, storage)
    print_json(
        {
            "name": sweep.name,
            "kind": SWEEP,
            "storage": storage.root,
            "trials": len(sweep.cells),
            "states": counted(states.values()),
            "failures": [
                {
                    "error": reason,
                    "trials": [
                        {"fingerprint": cell.fingerprint, "name": cell.name} for cell in cells
                    ],
                }
                for reason, cells in failures_of(sweep.cells, storage).items()
            ],
            "running_in": [
                {**_identity(command), "trials": count} for command, count in commands.items()
            ],
            "spent": spending_data(spending_of(sweep.cells, storage)),
            "archive": archived,
            "paused": pauses_data(Requests(storage, sweep.name), storage.has_finished),
        }
    )
    return _exit_code(states)


def print_pauses(name: str, storage: Storage) -> None:
    """Print a line for each request that pauses trials of a sweep or study."""
    pauses = Requests(storage, name).paused_now(storage.has_finished)
    for request in pauses:
        print(f"PAUSED: {request.what}, by {request.by}")
    if pauses:
        print(f"To go on with paused trials, run: {command_line('resume', name, *_where(storage))}")


def _where(storage: Storage) -> list[str]:
    """Return the option that names the storage, unless it is the default."""
    is_default = storage.root == Path(DEFAULT_STORAGE).absolute()
    return [] if is_default else ["--storage", str(storage.root)]


def _commands(
    cells: Sequence[Cell], states: Mapping[str, TrialState], storage: Storage
) -> Counter[Running | None]:
    """Count the trials that each command trains now; None is an unknown command."""
    running = (cell for cell in cells if states[cell.fingerprint] is TrialState.RUNNING)
    return Counter(storage.trial(cell.fingerprint).trained_by() for cell in running)


def _identity(command: Running | None) -> dict[str, object]:
    """Return what identifies a command, which is nothing of the attempt in progress."""
    if command is None:
        return {}
    return {one.name: getattr(command, one.name) for one in fields(command) if one.compare}


def _exit_code(states: Mapping[str, TrialState]) -> int:
    return 0 if all(state.is_finished for state in states.values()) else EXIT_INCOMPLETE


def print_failures(cells: Sequence[Cell], storage: Storage) -> None:
    """Print a line for each distinct reason of a failure, and how to see a traceback."""
    found = failures_of(cells, storage)
    for reason, failed in found.items():
        others = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
        print(f"sweeps: failed: {failed[0].name}{others}: {reason}", file=sys.stderr)
    firsts = (cells_of_reason[0].fingerprint for cells_of_reason in found.values())
    started = (first for first in firsts if _tells_more(storage.trial(first)))
    if (first := next(started, None)) is not None:
        call = command_line("log", first, *_where(storage))
        print(f"sweeps: to see its traceback and what it printed, run: {call}", file=sys.stderr)


def _tells_more(folder: TrialFolder) -> bool:
    """Whether there is more to see of a failed trial than its reason."""
    failure = folder.failure.read()
    has_traceback = failure is not None and bool(failure.traceback)
    return has_traceback or folder.output_of(0).exists()


def print_whether_missing(storage: Storage) -> None:
    """Print a line on standard error if the folder of the storage does not exist."""
    if not storage.root.exists():
        print(
            f"sweeps: --storage {storage.root}: the folder does not exist yet, so it has no trials",
            file=sys.stderr,
            flush=True,
        )


def print_warnings(lines: Iterable[str]) -> None:
    """Print each line as a warning."""
    for line in lines:
        print(f"sweeps: warning: {line}", file=sys.stderr, flush=True)
