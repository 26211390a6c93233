"""The command `sweeps search`."""

import argparse
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from sweeps.cli.command_line import changed_options, command_line
from sweeps.cli.exit_codes import EXIT_ENDED_EARLY, EXIT_INCOMPLETE
from sweeps.cli.options import (
    folder,
    storage_folder,
    study_storage,
    sweep_argument,
    training_arguments,
    training_options,
)
from sweeps.cli.parsing.control import budget_option, notice_options, require_time_budget
from sweeps.printing.number_of import number_of

if TYPE_CHECKING:
    from sweeps.control.notices import Notices
    from sweeps.storage.folder import Storage
    from sweeps.study import StudySpec

NAME = "search"
HELP = "Search for configurations with Optuna."


def add_options(command: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    sweep_argument(command, kinds=("study",))
    storage_folder(command)
    training_options(command)
    study_storage(command)
    budget_option(command)
    notice_options(command)
    command.add_argument(
        "--promote",
        type=folder,
        metavar="FILE.py",
        help="write a sweep that compares the best new configuration with the known points, with "
        "fresh seeds",
    )


def run(options: argparse.Namespace) -> int:
    """Search, print the best configuration, and return the exit code."""
    from sweeps.cli.naming.name_in_file import require_named
    from sweeps.cli.naming.remembered import refuse_name_of_file
    from sweeps.control.notices import Notices
    from sweeps.loading import load_study
    from sweeps.searching.promotion import require_free
    from sweeps.storage.folder import Storage

    training = training_arguments(options)
    refuse_name_of_file(options)
    spec = load_study(options.sweep)
    require_named(options, spec)
    storage = Storage(options.storage)
    if options.promote is not None:
        require_free(options.promote)
    require_time_budget(options.budget, spec.configurations)
    with Notices(
        spec.name,
        on_end=options.on_end,
        on_failure=options.on_failure,
        facts=lambda: _facts(spec, storage, options.study_storage),
    ) as notices:
        return _run(options, training, spec, storage, notices)


def _run(
    options: argparse.Namespace,
    training: dict[str, Any],
    spec: "StudySpec",
    storage: "Storage",
    notices: "Notices",
) -> int:
    from sweeps.cli.summary import print_failures, print_spent_in_line
    from sweeps.control.steering import Steering
    from sweeps.reporting.snippet import formula, snippet
    from sweeps.searching.promotion import write_confirmation
    from sweeps.searching.results import (
        best_first,
        cells_of,
        is_over,
        load,
        recipe_of,
        summary_lines,
        why_none_wins,
        winner,
    )
    from sweeps.searching.search import run_study
    from sweeps.storage.folder import TrialState
    from sweeps.storage.trial_states import states_of

    print(f"{spec.name}: {number_of(spec.configurations, 'configuration')}", flush=True)
    ending = run_study(
        spec,
        storage,
        study_storage=options.study_storage,
        source=options.sweep,
        steering=Steering(budget=options.budget, on_failure=notices.failed),
        **training,
    )
    study = load(spec, storage, options.study_storage)
    cells = cells_of(spec, study, storage)
    if not options.quiet:
        print_spent_in_line(cells, storage, options.recorded_command)
    print("\n".join(summary_lines(spec, study, storage)))
    print_failures(cells, storage)
    if not is_over(spec, study):
        if ending is not None:
            print(f"sweeps: {ending.line}", file=sys.stderr)
            notices.ended(ending.state)
            return EXIT_ENDED_EARLY
        print(
            "sweeps: some configurations have not finished; run the same command again to continue",
            file=sys.stderr,
        )
        have_failed = TrialState.FAILED in states_of(cells, storage).values()
        notices.ended("FAILED" if have_failed else "INTERRUPTED")
        return EXIT_INCOMPLETE
    if not best_first(spec, study):
        unwritten = "" if options.promote is None else f"; {options.promote} was not written"
        print(f"sweeps: {why_none_wins(spec, study)}{unwritten}", file=sys.stderr)
        notices.ended("FAILED")
        return EXIT_INCOMPLETE
    recipe = recipe_of(spec, winner(spec, study))
    print(f"\n{formula(recipe)}\n\n{snippet(recipe)}")
    if options.promote is not None:
        write_confirmation(spec, options.sweep, study, options.promote)
        where = changed_options(options, "storage", "data")
        print(f"\nTo confirm it, run: {command_line('run', str(options.promote), *where)}")
    notices.ended("COMPLETE")
    return 0


def _facts(spec: "StudySpec", storage: "Storage", study_storage: str | None) -> dict[str, object]:
    """Return what notices tell of a study: its configurations, and how many have finished."""
    from quantlab.errors import ConfigurationError
    from sweeps.searching.known_studies import study_data
    from sweeps.searching.results import load

    facts: dict[str, object] = {
        "STORAGE": storage.root,
        "CONFIGURATIONS": spec.configurations,
        "FINISHED": 0,
    }
    with suppress(ConfigurationError):  # the search has ended before it began
        shown = study_data(spec, load(spec, storage, study_storage), storage)
        facts |= {"FINISHED": shown["finished"], **shown["states"]}
    return facts
