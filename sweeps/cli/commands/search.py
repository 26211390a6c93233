"""The command `sweeps search`."""

import argparse
import sys

from sweeps.cli.command_line import changed_options, command_line
from sweeps.cli.exit_codes import EXIT_INCOMPLETE
from sweeps.cli.options import (
    folder,
    storage_folder,
    study_storage,
    sweep_argument,
    training_arguments,
    training_options,
)

NAME = "search"
HELP = "Search for configurations with Optuna."


def add_options(command: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    sweep_argument(command, kinds=("study",))
    storage_folder(command)
    training_options(command)
    study_storage(command)
    command.add_argument(
        "--promote",
        type=folder,
        metavar="FILE.py",
        help="write a sweep that compares the best new configuration with the known points, with "
        "fresh seeds",
    )


def run(options: argparse.Namespace) -> int:
    """Search, print the best configuration, and return the exit code."""
    from sweeps.cli.chosen import refuse_name_of_file
    from sweeps.cli.summary import print_failures, print_spent_in_line
    from sweeps.loading import load_study
    from sweeps.reporting.snippet import formula, snippet
    from sweeps.searching.promotion import require_free, write_confirmation
    from sweeps.searching.results import cells_of, is_over, load, recipe_of, summary_lines, winner
    from sweeps.searching.search import run_study
    from sweeps.storage.folder import Storage

    training = training_arguments(options)
    refuse_name_of_file(options)
    spec = load_study(options.sweep)
    storage = Storage(options.storage)
    if options.promote is not None:
        require_free(options.promote)
    print(f"{spec.name}: {spec.configurations} configurations", flush=True)
    run_study(spec, storage, study_storage=options.study_storage, source=options.sweep, **training)
    study = load(spec, storage, options.study_storage)
    if not options.quiet:
        print_spent_in_line(cells_of(spec, study, storage), storage, options.recorded_command)
    print("\n".join(summary_lines(spec, study, storage)))
    print_failures(cells_of(spec, study, storage), storage)
    if not is_over(spec, study):
        print(
            "sweeps: some configurations have not finished; run the same command again to continue",
            file=sys.stderr,
        )
        return EXIT_INCOMPLETE
    recipe = recipe_of(spec, winner(spec, study))
    print(f"\n{formula(recipe)}\n\n{snippet(recipe)}")
    if options.promote is not None:
        write_confirmation(spec, options.sweep, study, options.promote)
        where = changed_options(options, "storage", "data")
        print(f"\nTo confirm it, run: {command_line('run', str(options.promote), *where)}")
    return 0
