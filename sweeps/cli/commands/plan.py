"""The command `sweeps plan`."""

import argparse
import shutil

from sweeps.cli.options import (
    archive_option,
    data_folder,
    json_option,
    opened_archive,
    placed_resources,
    placement_options,
    selection_options,
    storage_folder,
    sweep_argument,
)
from sweeps.cli.parsing.deciding import (
    deciding_options,
    margin_of,
    most_seeds_of,
    require_until_decided,
)
from sweeps.printing import streams

NAME = "plan"
HELP = "Show which trials would run, what they would cost, and how long they would take."


def add_options(command: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    sweep_argument(command, kinds=("sweep",))
    selection_options(command)
    storage_folder(command)
    archive_option(command)
    json_option(command)
    deciding_options(command)
    command.add_argument(
        "--time",
        action="store_true",
        help="train each kind of network of which no trial has finished for about a second, to "
        "estimate its time",
    )
    placement_options(command)
    data_folder(command)


def run(options: argparse.Namespace) -> int:
    """Print the plan, and return the exit code."""
    from sweeps.cli.chosen import load_chosen
    from sweeps.cli.json_output import print_json
    from sweeps.cli.summary import print_warnings, print_whether_missing
    from sweeps.planning.costs.machine import this_machine
    from sweeps.planning.data_changes import data_warnings
    from sweeps.planning.kept_notes import plan_notes
    from sweeps.planning.plan import describe, plan_of
    from sweeps.storage.folder import Storage

    require_until_decided(options)
    storage, resources = Storage(options.storage), placed_resources(options)
    timing, machine, archive = None, this_machine(resources), opened_archive(options)
    if options.time:
        from sweeps.planning.costs.timing import Timing

        timing = Timing.on(machine, resources.execution, options.data)
    with streams.each_line_once():
        outlined = not options.time and not options.until_decided
        sweep, expectation = load_chosen(options, with_parents=True, outlined=outlined), None
        if options.until_decided:
            from sweeps.deciding.expectation import expected

            margin, most = margin_of(options), most_seeds_of(options)
            sweep, expectation = expected(sweep, storage, margin / 100, most)
        notes = plan_notes(sweep.cells, options.data)
        print_whether_missing(storage)
        plan = plan_of(sweep, storage, machine, timing, archive)
    plan["until_decided"] = expectation
    plan["notes"] = [*([] if timing is None else timing.lines), *notes]
    if options.json:
        print_json(plan)
    else:
        print(describe(plan, shutil.get_terminal_size().columns))  # 80 for a file or a pipe
    print_warnings(data_warnings(sweep.cells, storage, options.data))
    return 0
