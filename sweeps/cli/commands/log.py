"""The command `sweeps log`."""

import argparse

from sweeps.cli.options import json_option, some_text, storage_folder
from sweeps.cli.parsing.completion import completed_by, fingerprints

NAME = "log"
HELP = "Print what a trial printed while it was trained, and the traceback if it has failed."


def add_options(command: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    argument = command.add_argument(
        "trial",
        type=some_text,
        metavar="FINGERPRINT",
        help="the trial; the first digits are enough if no other trial has them",
    )
    completed_by(argument, fingerprints)
    storage_folder(command)
    json_option(command)


def run(options: argparse.Namespace) -> int:
    """Print the output and the traceback, and return the exit code.

    Args:
        options: the parsed command line.

    Returns:
        The exit code.

    Raises:
        ConfigurationError: there is no such trial.
    """
    from sweeps.cli.inventory import print_log
    from sweeps.cli.json_output import print_json
    from sweeps.inventory.descriptions import log_data
    from sweeps.inventory.known_sweeps import recorded
    from sweeps.inventory.trials import trial_named
    from sweeps.storage.folder import Storage

    storage = Storage(options.storage)
    data = log_data(trial_named(options.trial, storage, "trial"), recorded(storage))
    if options.json:
        print_json(data)
    else:
        print_log(data)
    return 0
