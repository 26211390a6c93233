"""Lines about the trials of a sweep: how many are in each state, and why some have failed."""

import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from sweeps.cli.exit_codes import EXIT_INCOMPLETE
from sweeps.spec import Cell, SweepSpec
from sweeps.storage.folder import Storage, TrialState
from sweeps.storage.trial_states import states_of


def print_summary(sweep: SweepSpec, storage: Storage) -> int:
    """Print failures, the number of trials in each state and the commands that train them now.

    Returns:
        The exit code of a command: 0 if all trials have finished.
    """
    states = states_of(sweep.cells, storage)
    print_failures(sweep.cells, storage)
    counts = Counter(states.values())
    text = ", ".join(f"{counts[state]} {state.value}" for state in TrialState if counts[state])
    print(f"{sweep.name}: {text}")
    running = [cell for cell in sweep.cells if states[cell.fingerprint] is TrialState.RUNNING]
    by = Counter(storage.trial(cell.fingerprint).trained_by() for cell in running)
    for command, count in by.items():
        print(f"{count} RUNNING in {'a command that is unknown' if command is None else command}")
    return 0 if all(state.is_finished for state in states.values()) else EXIT_INCOMPLETE


def print_failures(cells: Sequence[Cell], storage: Storage) -> None:
    """Print a line for each distinct reason of a failure."""
    failed: dict[str, list[str]] = defaultdict(list)
    for cell in cells:
        folder = storage.trial(cell.fingerprint)
        if folder.state() is TrialState.FAILED:
            failure = folder.failure.read()
            reason = "the reason is unknown" if failure is None else failure.error
            failed[reason].append(cell.name)
    for reason, names in failed.items():
        others = f" (and {len(names) - 1} more)" if len(names) > 1 else ""
        print(f"sweeps: failed: {names[0]}{others}: {reason}", file=sys.stderr)


def print_warnings(lines: Iterable[str]) -> None:
    """Print each line as a warning."""
    for line in lines:
        print(f"sweeps: warning: {line}", file=sys.stderr, flush=True)
