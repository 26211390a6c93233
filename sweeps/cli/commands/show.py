"""The command `sweeps show`."""

import argparse

from sweeps.cli.options import (
    json_option,
    selection_options,
    some_text,
    storage_folder,
    study_storage,
    sweep_argument,
)
from sweeps.cli.parsing.completion import completed_by, fingerprints

NAME = "show"
HELP = "Show the settings of a sweep or study, or the recipe, result and curves of a trial."


def add_options(command: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    sweep_argument(command, kinds=("sweep", "study"), default="")
    selection_options(command)
    storage_folder(command)
    study_storage(command)
    argument = command.add_argument(
        "--trial",
        type=some_text,
        metavar="FINGERPRINT",
        help="show this trial, for which no sweep need be given; the first digits are enough if no "
        "other trial has them",
    )
    completed_by(argument, fingerprints)
    json_option(command)


def run(options: argparse.Namespace) -> int:
    """Print the description, and return the exit code."""
    from sweeps.cli.show import show

    return show(options)
