"""The options that `sweeps cancel` and `sweeps pause` share."""

import argparse

from sweeps.cli.options import (
    nonnegative_number,
    selection_options,
    storage_folder,
    sweep_argument,
)


def request_options(command: argparse.ArgumentParser) -> None:
    """Add the options."""
    sweep_argument(command, kinds=("sweep", "study"))
    selection_options(command)
    storage_folder(command)
    command.add_argument(
        "--wait",
        type=nonnegative_number,
        default=120.0,
        metavar="SECONDS",
        help="how long to wait until the trials have stopped (default: %(default)g)",
    )
