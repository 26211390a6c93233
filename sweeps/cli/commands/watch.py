"""The command `sweeps watch`."""

import argparse
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from sweeps.cli.exit_codes import EXIT_INCOMPLETE
from sweeps.cli.options import selection_options, storage_folder, study_storage, sweep_argument

if TYPE_CHECKING:
    from sweeps.spec import SweepSpec
    from sweeps.storage.folder import Storage
    from sweeps.study import StudySpec
    from sweeps.watching.storage_reader import TrialView
    from sweeps.watching.watched import Contents

NAME = "watch"
HELP = "Show the progress of a sweep or a study live, from any machine that sees the storage."


def add_options(command: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    sweep_argument(command, kinds=("sweep", "study"))
    selection_options(command)
    storage_folder(command)
    study_storage(command)
    command.add_argument(
        "--once",
        action="store_true",
        help="print the page once and end, as is done where standard output is no terminal",
    )


def run(options: argparse.Namespace) -> int:
    """Show the page until q or Ctrl-C, and return the exit code: 0 if everything has finished."""
    import shutil
    import sys

    from sweeps.cli.chosen import load_chosen_or_study
    from sweeps.cli.naming.remembered import find_remembered_file
    from sweeps.cli.summary import print_whether_missing
    from sweeps.connecting import signals
    from sweeps.storage.folder import Storage
    from sweeps.watching.screen import Screen
    from sweeps.watching.watched import Watched

    storage = Storage(options.storage)
    find_remembered_file(options)
    spec = load_chosen_or_study(options)
    print_whether_missing(storage)
    watched = Watched(spec.name, storage, _contents(spec, storage, options.study_storage))
    if options.once or not sys.stdout.isatty():
        watched.look()
        print("\n".join(watched.page(shutil.get_terminal_size().columns)))
    else:
        with signals.handled(signals.interrupt):
            screen = Screen(
                watched.look, watched.page, seconds=watched.pause_seconds, stream=sys.stdout
            )
            screen.run()
        if watched.summary:
            print(watched.summary)
    return 0 if watched.is_over else EXIT_INCOMPLETE


def _contents(
    spec: "SweepSpec | StudySpec", storage: "Storage", study_storage: str | None
) -> "Callable[[], Contents]":
    """Return a function that returns the trials of a sweep, or those that a study has begun."""
    from sweeps.control.commands import live_commands
    from sweeps.control.requests import Requests
    from sweeps.spec import SweepSpec
    from sweeps.watching.watched import Contents

    requests = Requests(storage, spec.name)

    def notes(views: "Sequence[TrialView]") -> list[str]:
        training = {one.identity for one in (view.running for view in views) if one}
        idle = [
            f"{command} trains no trial now"
            for command in live_commands(requests, removes=False).values()
            if command.identity not in training
        ]
        return [*pauses(views), *idle]

    def pauses(views: "Sequence[TrialView]") -> list[str]:
        states = {view.cell.fingerprint: view.state for view in views}

        def has_finished(name: str) -> bool:
            return states[name].is_finished if name in states else storage.has_finished(name)

        held = requests.paused_now(has_finished)
        return [f"PAUSED: {request.what}, by {request.by}" for request in held]

    if isinstance(spec, SweepSpec):
        from sweeps.deciding.record import grown

        sweep = spec

        def with_new_trials() -> Contents:
            nonlocal sweep
            sweep = grown(sweep, storage)
            return Contents(sweep.cells, notes_on=notes)

        return with_new_trials
    from sweeps.searching.results import cells_of, is_over, load, summary_lines

    def now() -> Contents:
        study = load(spec, storage, study_storage)
        return Contents(
            cells_of(spec, study, storage),
            summary_lines(spec, study, storage),
            is_over=is_over(spec, study),
            notes_on=notes,
        )

    return now
