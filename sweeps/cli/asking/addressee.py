"""Addressee: the sweep or study, and the trials of it, that a request concerns."""

import argparse
import shlex
from collections.abc import Collection
from dataclasses import dataclass

from quantlab.errors import ConfigurationError, suggestion
from sweeps.cli.command_line import changed_options
from sweeps.cli.options import SELECTION
from sweeps.inventory.known_sweeps import STUDY, KnownSweep, recorded, without_links
from sweeps.selection.part_of_sweep import PartOfSweep
from sweeps.spec import SweepSpec
from sweeps.storage.folder import Storage


@dataclass(frozen=True)
class Addressee:
    """What a request concerns."""

    known: KnownSweep
    """The sweep or study, as it is recorded in the storage."""
    trials: Collection[str] | None
    """Fingerprints of the trials that options have chosen; None for all."""
    conditions: str
    """These options, such as ``--only method=PC``; empty for all trials."""
    sweep: "SweepSpec | None" = None
    """The sweep before options have chosen trials; None if it was not loaded."""

    @property
    def is_empty(self) -> bool:
        """Whether it concerns no trial."""
        return self.trials is not None and not self.trials

    @property
    def concerned(self) -> Collection[str]:
        """Fingerprints of the trials that it concerns, as far as they are known."""
        return self.known.all_trials if self.trials is None else self.trials


def addressee_of(options: argparse.Namespace, storage: Storage) -> Addressee:
    """Find the sweep or study that the command line names.

    The record in the storage is enough for all of its trials, so that the machine needs neither the
    file of the user nor torch. Choosing trials needs the sweep.

    Args:
        options: the parsed command line, with the options of `selection_options`.
        storage: the storage.

    Raises:
        ConfigurationError: no command has trained it in this storage, or an option is invalid.
    """
    if not changed_options(options, *SELECTION):
        return Addressee(_recorded(options.sweep, storage, options), None, "")
    from sweeps.cli.chosen import chosen_of, load_either_named

    loaded = load_either_named(options, outlined=True)
    assert isinstance(loaded, SweepSpec), "of a study, no trials can be chosen"
    spec = chosen_of(loaded, options)
    known = _recorded(spec.name, storage, options)
    if not isinstance(spec, PartOfSweep) or spec.report == spec.name:
        return Addressee(known, None, "")  # the whole of a sweep that --set has changed
    trials = [cell.fingerprint for cell in spec.cells]
    conditions = shlex.join(changed_options(options, "only", "seeds"))
    return Addressee(known, trials, conditions, loaded)


def _recorded(name_or_path: str, storage: Storage, options: argparse.Namespace) -> KnownSweep:
    """Return the record of a name or of a file, with the name in it that the options give."""
    known = recorded(storage)
    name, of_file = name_or_path, list[KnownSweep]()
    if name_or_path.endswith(".py"):
        path = without_links(name_or_path)
        of_file = [one for one in known if one.source == path]
        if options.name_in_file:
            of_file = [one for one in of_file if one.name == options.name_in_file]
        if len(of_file) == 1:
            return of_file[0]
        from sweeps.cli.chosen import meant_of
        from sweeps.loading.either import load_users_file

        # The file was moved, or it has defined sweeps of several names, one after the other.
        name = meant_of(load_users_file(name_or_path), options, chooses=False).name
    for one in known:
        if one.name == name:
            return one
    if of_file:
        names = " and ".join(one.name for one in of_file)
        raise ConfigurationError(
            f"{name_or_path}: defines {name}, which no command has trained in --storage "
            f"{storage.root}, but {names} were defined there; give one of these names"
        )
    alike = suggestion(name, [one.name for one in known])
    raise ConfigurationError(
        f"{name}: no command has trained a sweep or study of this name in --storage "
        f"{storage.root}{alike}; give the storage of the command that trains it"
    )


def subject(addressee: Addressee) -> str:
    """Return what a request concerns, as the begin of a sentence: ``12 trials of digits are``."""
    known = addressee.known
    if addressee.trials is None:
        is_study = known.kind == STUDY
        return f"The study {known.name} is" if is_study else f"All trials of {known.name} are"
    number = len(addressee.trials)
    return f"1 trial of {known.name} is" if number == 1 else f"{number} trials of {known.name} are"
