"""The command `sweeps cancel`."""

import argparse

from sweeps.cli.asking.options import request_options

NAME = "cancel"
HELP = "Stop the commands that train a sweep or study, or some of its trials, with their state."


def add_options(command: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    request_options(command)


def run(options: argparse.Namespace) -> int:
    """Cancel the trials, and return the exit code: 1 if a command has not obeyed yet."""
    from sweeps.cli.asking.request import cancel

    return cancel(options)
