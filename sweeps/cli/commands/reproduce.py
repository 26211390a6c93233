"""The command `sweeps reproduce`."""

import argparse
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sweeps.cli.exit_codes import EXIT_INCOMPLETE
from sweeps.cli.options import (
    data_folder,
    folder,
    json_option,
    some_text,
    storage_folder,
    study_storage,
    sweep_argument,
)
from sweeps.cli.parsing.completion import completed_by, fingerprints

if TYPE_CHECKING:
    from sweeps.cell import Cell
    from sweeps.storage.folder import Storage

NAME = "reproduce"
HELP = "Train a finished trial again, beside the original, and compare them bit by bit."


def add_options(command: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    argument = command.add_argument(
        "trial",
        type=some_text,
        metavar="TRIAL",
        help="fingerprint of the trial; the first digits are enough if no other trial has them",
    )
    completed_by(argument, fingerprints)
    sweep_argument(command, kinds=("sweep", "study"), default="")
    storage_folder(command)
    study_storage(command)
    command.add_argument(
        "--out",
        type=folder,
        metavar="DIR",
        help="folder of the new training (default: STORAGE/reproduced/FINGERPRINT); if the trial "
        "is there already, it is continued or compared",
    )
    data_folder(command)
    json_option(command)
    command.set_defaults(trains=True)


def run(options: argparse.Namespace) -> int:
    """Train the trial again, print how it differs, and return the exit code: 0 if it does not.

    Raises:
        ConfigurationError: there is no such trial, it has not finished, or it cannot be trained
            here as it was trained.
    """
    from quantlab import ConfigurationError
    from sweeps.cli.json_output import print_json
    from sweeps.inventory.trials import trial_named
    from sweeps.reproduction.comparison import compare
    from sweeps.reproduction.description import as_json, lines_of
    from sweeps.reproduction.original import cells_of_command
    from sweeps.reproduction.training import attempt_of, require_apart, train_again
    from sweeps.storage.folder import Storage
    from sweeps.storage.provenance import running_here
    from sweeps.storage.records import Origin

    storage = Storage(options.storage)
    original = trial_named(options.trial, storage, "TRIAL")
    result = original.result.read()
    if result is None:
        raise ConfigurationError(
            f"trial {original.fingerprint}: is {original.state().value}; must be COMPLETE or "
            "DIVERGED to be compared"
        )
    beside = Storage(options.out or storage.root / "reproduced" / original.fingerprint)
    again = beside.trial(original.fingerprint)
    require_apart(original, again)
    with cells_of_command(
        original,
        result,
        _parsed,
        lambda named: _cells(named, options, storage),
        given=options.sweep,
    ) as cells:
        cell = cells[original.fingerprint]
        _log(f"{cell.name} ({cell.fingerprint}), trained by `{result.command or 'unknown'}`")
        if again.is_done():
            _log(f"it was trained again before; remove {beside.root} to train it once more")
        else:
            origin = Origin(
                command=options.recorded_command, folder=os.getcwd(), sources=result.sources
            )
            train_again(
                attempt_of(cell, result, cells, _log),
                storage,
                beside,
                data_dir=options.data,
                running=running_here(origin),
                log=_log,
            )
    comparison = compare(original, again)
    if options.json:
        print_json(as_json(cell, original, again, result, comparison))
    else:
        print("\n".join(lines_of(comparison, again, result)))
    return 0 if comparison.is_identical else EXIT_INCOMPLETE


def _parsed(arguments: Sequence[str]) -> argparse.Namespace:
    from sweeps.cli.command import command_parser

    return command_parser().parse_args(arguments)


def _cells(
    named: argparse.Namespace, options: argparse.Namespace, storage: "Storage"
) -> Sequence["Cell"]:
    """Return the trials of another command line, or those of the sweep that is given.

    Args:
        named: the other command line.
        options: that of this command.
        storage: the storage of the trials.
    """
    from sweeps.cli.chosen import load_chosen_or_study
    from sweeps.spec import SweepSpec

    where = options.study_storage or getattr(named, "study_storage", None)
    if options.sweep:
        named.sweep, named.name_in_file = options.sweep, options.name_in_file
    named.storage = storage.root  # which knows the trials that were added to a sweep
    named.study_storage = options.study_storage
    for name, absent in (("only", []), ("seeds", None), ("set", [])):
        vars(named).setdefault(name, absent)  # `sweeps search` does not have them
    kinds = {"run": "sweep", "search": "study"}
    spec = load_chosen_or_study(
        named,
        with_parents=True,  # which the command has trained, too
        of_both=kinds.get(named.run.__module__.rpartition(".")[2], ""),
    )
    if isinstance(spec, SweepSpec):
        return spec.cells
    from sweeps.searching.results import cells_of, load

    return cells_of(spec, load(spec, storage, where), storage)


def _log(line: str) -> None:
    print(f"sweeps: {line}", file=sys.stderr, flush=True)
