"""The command `sweeps run`."""

import argparse
import sys

from sweeps.cli.exit_codes import EXIT_CUT_SHORT, EXIT_INCOMPLETE
from sweeps.cli.options import (
    selection_options,
    storage_folder,
    sweep_argument,
    training_arguments,
    training_options,
)

NAME = "run"
HELP = "Train the trials that have not finished."


def add_options(command: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    sweep_argument(command, kinds=("sweep",))
    selection_options(command)
    storage_folder(command)
    training_options(command)


def run(options: argparse.Namespace) -> int:
    """Train the trials, print how they have ended, and return the exit code."""
    from sweeps.cli.chosen import load_chosen
    from sweeps.cli.summary import print_spent_in_line, print_summary, print_warnings
    from sweeps.coordinates import main_metric
    from sweeps.planning.data_changes import data_warnings
    from sweeps.storage.folder import Storage, TrialState
    from sweeps.storage.trial_states import states_of

    training = training_arguments(options)
    sweep = load_chosen(options, with_parents=True)
    storage, archive = Storage(options.storage), training["archive"]
    if archive is not None:
        from sweeps.archive.taking import take_finished

        take_finished(archive, sweep.cells, storage)
    states = states_of(sweep.cells, storage)
    cells = [cell for cell in sweep.cells if not states[cell.fingerprint].is_finished]
    print(f"{sweep.name}: {len(sweep.cells)} trials, {len(cells)} to run", flush=True)
    warnings = data_warnings(sweep.cells, storage, options.data)
    print_warnings(warnings)
    # MLflow takes seconds to import and Ray more, so both are imported only if they are needed.
    if cells:
        from sweeps.running.grid import run_cells

        run_cells(sweep, cells, storage, source=options.sweep, **training)
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
    if code == EXIT_INCOMPLETE and not have_failed:
        print(
            "sweeps: some trials have not ended; run the same command again to continue",
            file=sys.stderr,
        )
        return EXIT_CUT_SHORT
    return code
