"""The command `sweeps verify`, which checks finished trials, their files and their data."""

import argparse
import sys

from sweeps.cli.options import (
    data_folder,
    json_option,
    selection_options,
    storage_folder,
    study_storage,
    sweep_argument,
)
from sweeps.printing.number_of import number_of

NAME = "verify"
HELP = "Check finished trials, their files and their data."


def add_options(command: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    sweep_argument(command, kinds=("sweep", "study"))
    selection_options(command)
    storage_folder(command)
    study_storage(command)
    data_folder(command)
    json_option(command)


def run(options: argparse.Namespace) -> int:
    """Print a line for each thing that is wrong, and a summary.

    Args:
        options: the parsed command line.

    Returns:
        The exit code: 0 if everything is intact, 1 otherwise.

    Raises:
        ConfigurationError: `options.sweep` is invalid, or has no study to which an option applies.
    """
    from sweeps.cli.chosen import load_chosen_or_study
    from sweeps.cli.json_output import print_json
    from sweeps.planning.verification import verified
    from sweeps.spec import SweepSpec
    from sweeps.storage import damage
    from sweeps.storage.folder import Storage

    spec, storage = load_chosen_or_study(options), Storage(options.storage)
    if isinstance(spec, SweepSpec):
        cells = list(spec.cells)
    else:
        from sweeps.searching.results import cells_of, load

        cells = cells_of(spec, load(spec, storage, options.study_storage), storage)
    found = verified(cells, storage, options.data)
    problems = len(found.problems) + damage.num_warnings()
    if options.json:
        print_json(
            {
                "name": spec.name,
                "storage": storage.root,
                "finished": found.num_finished,
                "intact": not problems,
                "problems": found.problems,
                "damaged_files": damage.num_warnings(),
                "notes": found.notes,
            }
        )
        return 1 if problems else 0
    for line in found.problems:
        print(f"sweeps: error: {line}", file=sys.stderr, flush=True)
    for line in found.notes:
        print(line)
    finished = number_of(found.num_finished, "finished trial")
    print(f"{spec.name}: {finished}, {number_of(problems, 'problem')}")
    return 1 if problems else 0
