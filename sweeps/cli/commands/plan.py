"""The command `sweeps plan`."""

import argparse
import json

from sweeps import streams
from sweeps.cli.options import data_folder, selection_options, storage_folder, sweep_argument

NAME = "plan"
HELP = "Show which trials would run and what they would cost."


def add_options(command: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    sweep_argument(command, kinds=("sweep",))
    selection_options(command)
    storage_folder(command)
    command.add_argument(
        "--json", action="store_true", help="print the plan as JSON, with all trials"
    )
    data_folder(command)


def run(options: argparse.Namespace) -> int:
    """Print the plan, and return the exit code."""
    from sweeps.cli.chosen import load_chosen
    from sweeps.cli.summary import print_warnings
    from sweeps.planning.data_changes import data_warnings
    from sweeps.planning.plan import describe, plan_of
    from sweeps.planning.preflight import check_without_data
    from sweeps.storage.folder import Storage

    storage = Storage(options.storage)
    with streams.each_line_once():
        sweep = load_chosen(options, with_parents=True)
        notes = check_without_data(sweep.cells, options.data)
        plan = {**plan_of(sweep, storage), "notes": notes}
    print(json.dumps(plan) if options.json else describe(plan))
    print_warnings(data_warnings(sweep.cells, storage, options.data))
    return 0
