"""The command `sweeps status`."""

import argparse

from sweeps.cli.exit_codes import EXIT_INCOMPLETE
from sweeps.cli.options import (
    archive_option,
    json_option,
    opened_archive,
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
    archive_option(command)
    json_option(command)


def run(options: argparse.Namespace) -> int:
    """Print the progress, and return the exit code: 0 if everything has finished."""
    from sweeps.archive.summary import archive_data, archive_line
    from sweeps.cli.chosen import load_chosen_or_study
    from sweeps.cli.json_output import print_json
    from sweeps.cli.naming.remembered import find_remembered_file
    from sweeps.cli.summary import (
        print_pauses,
        print_spent,
        print_summary,
        print_summary_as_json,
        print_whether_missing,
    )
    from sweeps.spec import SweepSpec
    from sweeps.storage.folder import Storage

    archive = opened_archive(options)
    find_remembered_file(options)
    spec, storage = load_chosen_or_study(options, outlined=True), Storage(options.storage)
    print_whether_missing(storage)
    if isinstance(spec, SweepSpec):
        archived = archive_data(archive, spec.cells, storage) if archive else None
        if options.json:
            return print_summary_as_json(spec, storage, archived)
        code = print_summary(spec, storage)
        if archived:
            print(archive_line(archived, len(spec.cells)))
        print_spent(spec.cells, storage)
        return code
    from sweeps.searching.known_studies import study_data
    from sweeps.searching.results import cells_of, is_over, load, summary_lines

    study = load(spec, storage, options.study_storage)
    cells = cells_of(spec, study, storage)
    archived = archive_data(archive, cells, storage) if archive else None
    if options.json:
        print_json(study_data(spec, study, storage, archived))
    else:
        print("\n".join(summary_lines(spec, study, storage)))
        if archived:
            print(archive_line(archived, len(cells)))
        print_spent(cells, storage)
        print_pauses(spec.name, storage)
    return 0 if is_over(spec, study) else EXIT_INCOMPLETE
