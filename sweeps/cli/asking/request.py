"""Make a request to the commands that train a sweep, and print what they do about it."""

import argparse
import sys
from contextlib import redirect_stderr
from dataclasses import replace
from io import StringIO

from sweeps.cli.asking.addressee import Addressee, addressee_of, subject
from sweeps.cli.command_line import changed_options, command_line
from sweeps.cli.exit_codes import EXIT_INCOMPLETE
from sweeps.cli.naming.name_in_file import addressed
from sweeps.cli.options import SELECTION
from sweeps.control.answers import Answers, wait_for_answers
from sweeps.control.commands import LiveCommand, live_commands
from sweeps.control.listener import forget_cancellations
from sweeps.control.requests import CANCEL, PAUSE, Requests
from sweeps.inventory.known_sweeps import STUDY, counted
from sweeps.printing.number_of import number_of
from sweeps.storage.folder import Storage


def cancel(options: argparse.Namespace) -> int:
    """Carry out `sweeps cancel`.

    Args:
        options: the parsed command line.

    Returns:
        The exit code.

    Raises:
        ConfigurationError: see `addressee_of` and `Requests.add`.
    """
    storage = Storage(options.storage)
    to = addressee_of(options, storage)
    requests = Requests(storage, to.known.name)
    if not live_commands(requests):
        print(f"No command trains {to.known.name} now, so that there is nothing to cancel.")
        return 0
    answers = _ask(CANCEL, requests, to, storage, options)
    forget_cancellations(requests)
    _print_outcome(to, answers, storage, options)
    for command in dict.fromkeys(one.command for one in answers.asked):
        print(f"To continue, run the same command again: {command}")
    return EXIT_INCOMPLETE if answers.silent else 0


def pause(options: argparse.Namespace) -> int:
    """Carry out `sweeps pause`; see `cancel`."""
    storage = Storage(options.storage)
    to = addressee_of(options, storage)
    requests = Requests(storage, to.known.name)
    if not (to := _unfinished(to, storage)).is_empty:
        answers = _ask(PAUSE, requests, to, storage, options)
        _print_outcome(to, answers, storage, options)
        to = _unfinished(to, storage)
        if to.is_empty:
            requests.remove([answers.request])
    if to.is_empty:
        print(
            f"The trials of {to.known.name} that were named have finished, so that there is "
            "nothing to pause."
        )
        return 0
    given = changed_options(options, *SELECTION, "storage")
    resume_line = command_line("resume", addressed(options), *given)
    print(f"{subject(to)} paused. To go on, run: {resume_line}")
    return EXIT_INCOMPLETE if answers.silent else 0


def resume(options: argparse.Namespace) -> int:
    """Carry out `sweeps resume`; see `cancel`."""
    storage = Storage(options.storage)
    to = addressee_of(options, storage)
    requests = Requests(storage, to.known.name)
    paused = requests.paused()
    if to.trials is None:
        requests.remove(paused)
        resumed = subject(to) if paused else ""
    else:
        known = (storage.trial(name) for name in _known_trials(to, options))
        unfinished = {trial.fingerprint for trial in known if not trial.state().is_finished}
        number = requests.resume(to.trials, of=unfinished.union(to.trials))
        verb = "is" if number == 1 else "are"
        resumed = f"{number_of(number, 'trial')} of {to.known.name} {verb}" if number else ""
    if not resumed:
        print(f"Nothing of {to.known.name} that was named is paused.")
        return 0
    print(f"{resumed} resumed.")
    if not live_commands(requests):
        verb = "search" if to.known.kind == STUDY else "run"
        print(f"No command trains it now; to go on, run `sweeps {verb}`.")
    return 0


def _known_trials(to: Addressee, options: argparse.Namespace) -> set[str]:
    """Return the fingerprints of all trials of a sweep, also of those that nobody has recorded.

    A command that trains a part of a sweep records that part.
    """
    from sweeps.cli.chosen import chosen_of

    assert to.sweep is not None, "options have chosen trials of it"
    all_trials = argparse.Namespace(**{**vars(options), "only": (), "seeds": None})
    with redirect_stderr(StringIO()):  # `addressee_of` has said it already
        whole = chosen_of(to.sweep, all_trials)
    return {*to.known.all_trials, *(cell.fingerprint for cell in whole.cells)}


def _unfinished(to: Addressee, storage: Storage) -> Addressee:
    """Leave out trials that have finished, if options have chosen trials."""
    if to.trials is None:
        return to
    left = [name for name in to.trials if not storage.has_finished(name)]
    return replace(to, trials=left)


def _ask(
    kind: str, requests: Requests, to: Addressee, storage: Storage, options: argparse.Namespace
) -> Answers:
    """Make a request, say which commands it goes to, and wait until they obey."""

    def tell(command: LiveCommand) -> None:
        print(f"Asked {command}: running trials save their state and stop.", flush=True)

    request = requests.add(kind, to.trials, to.conditions)
    return wait_for_answers(requests, request, to.trials, storage, seconds=options.wait, tell=tell)


def _print_outcome(
    to: Addressee, answers: Answers, storage: Storage, options: argparse.Namespace
) -> None:
    for command in answers.silent:
        print(
            f"sweeps: {command} has not stopped them after {options.wait:g} s; it does so as soon "
            "as it reads the request in the storage",
            file=sys.stderr,
        )
    if to.known.kind != STUDY:  # of whose trials only those that have ended are recorded
        states = to.known.states(storage)
        counts = counted(states[name] for name in to.concerned if name in states)
        if counts:  # not if all of them are yet to be recorded
            text = ", ".join(f"{count} {state}" for state, count in counts.items())
            print(f"{to.known.name}: {text}")
