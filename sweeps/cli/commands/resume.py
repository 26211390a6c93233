"""The command `sweeps resume`."""

import argparse

from sweeps.cli.options import selection_options, storage_folder, sweep_argument

NAME = "resume"
HELP = "Let trials of a sweep or study go on that `sweeps pause` has paused."


def add_options(command: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    sweep_argument(command, kinds=("sweep", "study"))
    selection_options(command)
    storage_folder(command)


def run(options: argparse.Namespace) -> int:
    """End the pause, and return the exit code."""
    from sweeps.cli.asking.request import resume

    return resume(options)
