"""The command `sweeps rm`."""

import argparse

from sweeps.cli.options import (
    json_option,
    selection_options,
    some_text,
    storage_folder,
    study_storage,
    sweep_argument,
    tracking_uri,
)

NAME = "rm"
HELP = (
    "Show which trials of a sweep or study, or of none, would be removed, and remove them with "
    "--yes."
)


def add_options(command: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    sweep_argument(command, kinds=("sweep", "study"), default="")
    selection_options(command)
    command.add_argument(
        "--orphans",
        action="store_true",
        help="remove the trials that no sweep and no study has any more, such as those of values "
        "that were edited away",
    )
    command.add_argument(
        "--keep",
        type=some_text,
        action="append",
        default=[],
        metavar="FILE.py",
        help="with --orphans: a further sweep or study, which was not run in this storage since "
        "its trials are recorded; may be repeated",
    )
    command.add_argument(
        "--yes", action="store_true", help="remove the trials; otherwise, nothing is changed"
    )
    command.add_argument(
        "--force",
        action="store_true",
        help="also remove trials that another sweep has, or whose networks other trials need",
    )
    storage_folder(command)
    study_storage(command)
    tracking_uri(command)
    json_option(command)


def run(options: argparse.Namespace) -> int:
    """Print what would be removed or was removed, and return the exit code."""
    from sweeps.cli.rm import remove

    return remove(options)
