"""The command `sweeps status`."""

import argparse

from sweeps.cli.exit_codes import EXIT_INCOMPLETE
from sweeps.cli.options import (
    json_option,
    selection_options,
    storage_folder,
    study_storage,
    sweep_argument,
)

NAME = "status"
HELP = "Show the progress of a sweep or a study."


def add_options(command: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    sweep_argument(command, kinds=("sweep", "study"))
    selection_options(command)
    storage_folder(command)
    study_storage(command)
    json_option(command)


def run(options: argparse.Namespace) -> int:
    """Print the progress, and return the exit code: 0 if everything has finished."""
    from sweeps.cli.chosen import load_chosen_or_study
    from sweeps.cli.json_output import print_json
    from sweeps.cli.summary import (
        print_spent,
        print_summary,
        print_summary_as_json,
        print_whether_missing,
    )
    from sweeps.spec import SweepSpec
    from sweeps.storage.folder import Storage

    spec, storage = load_chosen_or_study(options, outlined=True), Storage(options.storage)
    print_whether_missing(storage)
    if isinstance(spec, SweepSpec):
        if options.json:
            return print_summary_as_json(spec, storage)
        code = print_summary(spec, storage)
        print_spent(spec.cells, storage)
        return code
    from sweeps.searching.known_studies import study_data
    from sweeps.searching.results import cells_of, is_over, load, summary_lines

    study = load(spec, storage, options.study_storage)
    if options.json:
        print_json(study_data(spec, study, storage))
    else:
        print("\n".join(summary_lines(spec, study, storage)))
        print_spent(cells_of(spec, study, storage), storage)
    return 0 if is_over(spec, study) else EXIT_INCOMPLETE
