"""The command `sweeps run`."""

import argparse
import sys
from typing import TYPE_CHECKING, Any

from sweeps.cli.exit_codes import EXIT_CUT_SHORT, EXIT_ENDED_EARLY, EXIT_INCOMPLETE
from sweeps.cli.options import (
    selection_options,
    storage_folder,
    sweep_argument,
    training_arguments,
    training_options,
)
from sweeps.cli.parsing.control import budget_option, first_option, notice_options

if TYPE_CHECKING:
    from sweeps.control.notices import Notices
    from sweeps.spec import SweepSpec
    from sweeps.storage.folder import Storage

NAME = "run"
HELP = "Train the trials that have not finished."


def add_options(command: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    sweep_argument(command, kinds=("sweep",))
    selection_options(command)
    storage_folder(command)
    training_options(command)
    budget_option(command)
    first_option(command)
    notice_options(command)


def run(options: argparse.Namespace) -> int:
    """Train the trials, print how they have ended, and return the exit code."""
    from sweeps.cli.chosen import load_chosen
    from sweeps.control.notices import Notices
    from sweeps.storage.folder import Storage

    training = training_arguments(options)
    sweep = load_chosen(options, with_parents=True)
    storage = Storage(options.storage)
    with Notices(
        sweep.name,
        on_end=options.on_end,
        on_failure=options.on_failure,
        facts=lambda: _facts(sweep, storage),
    ) as notices:
        return _run(options, training, sweep, storage, notices)


def _run(
    options: argparse.Namespace,
    training: dict[str, Any],
    sweep: "SweepSpec",
    storage: "Storage",
    notices: "Notices",
) -> int:
    from sweeps.cli.summary import print_spent_in_line, print_summary, print_warnings
    from sweeps.control.priorities import trials_spent, within_budget
    from sweeps.control.steering import Steering
    from sweeps.coordinates import main_metric
    from sweeps.planning.data_changes import data_warnings
    from sweeps.storage.folder import TrialState
    from sweeps.storage.trial_states import states_of

    archive = training["archive"]
    if archive is not None:
        from sweeps.archive.taking import take_finished

        take_finished(archive, sweep.cells, storage)
    states = states_of(sweep.cells, storage)
    unfinished = [cell for cell in sweep.cells if not states[cell.fingerprint].is_finished]
    cells = within_budget(sweep, unfinished, options.budget, options.first)
    print(f"{sweep.name}: {len(sweep.cells)} trials, {len(cells)} to run", flush=True)
    warnings = data_warnings(sweep.cells, storage, options.data)
    print_warnings(warnings)
    ending = None
    # MLflow takes seconds to import and Ray more, so both are imported only if they are needed.
    if cells:
        from sweeps.running.grid import run_cells

        steering = Steering(
            budget=options.budget,
            outside=len(unfinished) - len(cells),
            first=options.first,
            on_failure=notices.failed,
        )
        ending = run_cells(
            sweep, cells, storage, source=options.sweep, steering=steering, **training
        )
    else:
        from sweeps.inventory.known_sweeps import remember_sweep
        from sweeps.tracking.delivery import bring_up_to_date
        from sweeps.tracking.tracker import Tracker

        remember_sweep(sweep, options.sweep, storage)
        name, metric = sweep.experiment or sweep.name, main_metric(sweep.cells)
        tracker = Tracker(name, storage, options.tracking_uri, metric)
        bring_up_to_date(tracker, sweep.cells)
        if archive is not None:
            from sweeps.archive.upload import uploading

            with uploading(archive, sweep.cells, storage):
                pass
    if cells and not warnings:
        print_warnings(data_warnings(sweep.cells, storage))
    if cells and not options.quiet:
        print_spent_in_line(sweep.cells, storage, options.recorded_command)
    code = print_summary(sweep, storage)
    have_failed = TrialState.FAILED in states_of(sweep.cells, storage).values()
    if ending is None and len(cells) < len(unfinished) and not have_failed:
        ending = trials_spent(options.budget, left=len(unfinished) - len(cells))
    state = "COMPLETE" if code == 0 else "FAILED"
    if ending is not None:
        code, state = EXIT_ENDED_EARLY, ending.state
        print(f"sweeps: {ending.line}", file=sys.stderr)
    elif code == EXIT_INCOMPLETE and not have_failed:
        code, state = EXIT_CUT_SHORT, "INTERRUPTED"
        print(
            "sweeps: some trials have not ended; run the same command again to continue",
            file=sys.stderr,
        )
    notices.ended(state)
    return code


def _facts(sweep: "SweepSpec", storage: "Storage") -> dict[str, object]:
    """Return what notices tell of a sweep: its trials, and how many of them are in each state."""
    from collections import Counter

    from sweeps.storage.folder import TrialState
    from sweeps.storage.trial_states import states_of

    counts = Counter(states_of(sweep.cells, storage).values())
    states = {state.value: counts[state] for state in TrialState}
    return {"STORAGE": storage.root, "TRIALS": len(sweep.cells), **states}
