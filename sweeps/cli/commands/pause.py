"""The command `sweeps pause`."""

import argparse

from sweeps.cli.asking.options import request_options

NAME = "pause"
HELP = "Let trials of a sweep or study save their state and wait until `sweeps resume`."


def add_options(command: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    request_options(command)


def run(options: argparse.Namespace) -> int:
    """Pause the trials, and return the exit code: 1 if a command has not obeyed yet."""
    from sweeps.cli.asking.request import pause

    return pause(options)
