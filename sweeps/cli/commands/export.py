"""The command `sweeps export`."""

import argparse

from sweeps.cli.options import (
    data_folder,
    folder,
    json_option,
    selection_options,
    some_text,
    storage_folder,
    study_storage,
    sweep_argument,
)
from sweeps.cli.parsing.completion import completed_by, fingerprints

NAME = "export"
HELP = "Write a finished network to a file."


def add_options(command: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    sweep_argument(command, kinds=("sweep", "study"))
    selection_options(command)
    storage_folder(command)
    study_storage(command)
    trial = command.add_mutually_exclusive_group(required=True)
    argument = trial.add_argument(
        "--trial",
        type=some_text,
        metavar="FINGERPRINT",
        help="export this trial; the first digits are enough if no other trial has them",
    )
    completed_by(argument, fingerprints)
    trial.add_argument(
        "--best",
        action="store_true",
        help="export the quantized network with the best validation value; of a study, that "
        "of its best new configuration",
    )
    command.add_argument(
        "--out", type=folder, required=True, metavar="DIR", help="folder of the file"
    )
    command.add_argument(
        "--format",
        choices=("safetensors", "onnx"),
        default="safetensors",
        help="safetensors for quantlab.export.load; onnx for other programs, with the packages of "
        'pip install -e ".[export]" (default: %(default)s)',
    )
    data_folder(command)
    json_option(command)


def run(options: argparse.Namespace) -> int:
    """Write the file, and return the exit code."""
    from sweeps.cli.export import export

    return export(options)
