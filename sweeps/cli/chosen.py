"""The sweep that a command line names, with the trials that its options choose."""

import argparse
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sweeps.cli.command_line import changed_options
from sweeps.cli.options import SELECTION

if TYPE_CHECKING:
    from sweeps.inventory.known_sweeps import KnownSweep
    from sweeps.selection.added import AddedTrial
    from sweeps.spec import SweepSpec
    from sweeps.study import StudySpec


def load_chosen(
    options: argparse.Namespace, *, with_parents: bool = False, outlined: bool = False
) -> "SweepSpec":
    """Load a sweep, and apply ``--seeds``, ``--only`` and ``--set`` (see `sweeps.selection`).

    A line on standard error says which sweep changed trials are, and which trials are added.

    Args:
        options: the parsed command line, with the options of `selection_options`.
        with_parents: whether to add trials whose networks the chosen ones need.
        outlined: whether an outline of the sweep is enough; see `sweeps.outlines`.

    Raises:
        ConfigurationError: there is no such sweep or no such trial, or an option is invalid.
    """
    return _chosen(_load(options, outlined), options, with_parents)


def _load(options: argparse.Namespace, outlined: bool) -> "SweepSpec":
    if outlined and options.seeds is None and not options.set and not _has_added(options):
        from sweeps.outlines.kept import load_outlined

        refuse_name_of_file(options)
        return load_outlined(options.sweep)
    from sweeps.loading import load_sweep

    refuse_name_of_file(options)
    return load_sweep(options.sweep)


def _has_added(options: argparse.Namespace) -> bool:
    """Whether trials were added to a sweep of the release, whose recipes are needed then."""
    from sweeps.deciding.record import is_recorded
    from sweeps.storage.folder import Storage

    return is_recorded(options.sweep, Storage(options.storage))


def load_chosen_or_study(
    options: argparse.Namespace, *, outlined: bool = False
) -> "SweepSpec | StudySpec":
    """Load a sweep as `load_chosen` does, or a study, of which no trials can be chosen.

    Args:
        options: the parsed command line, with the options of `selection_options`.
        outlined: whether an outline of a sweep is enough; see `sweeps.outlines`.

    Raises:
        ConfigurationError: see `load_chosen`; or trials of a study are to be chosen, or a sweep is
            to have a storage of studies; or a file that was found by a name defines another one.
    """
    from sweeps.loading import named_sweeps
    from sweeps.spec import SweepSpec

    spec: SweepSpec | StudySpec
    if options.sweep in named_sweeps():  # which has an outline
        spec = _load(options, outlined)
    else:
        from sweeps.loading import load_either

        refuse_name_of_file(options)
        spec = load_either(options.sweep)
        _require_remembered(spec.name, options)
    if isinstance(spec, SweepSpec):
        refuse_study_storage(options)
        return _chosen(spec, options, with_parents=False)
    refuse_selection(options, "a study")
    return spec


def find_remembered_file(options: argparse.Namespace) -> None:
    """Replace the name of a sweep or study of a user's file, which the storage knows, by the file.

    A file that is not there is left to `refuse_name_of_file`, and one that defines something else
    now to `load_chosen_or_study`.

    Args:
        options: the parsed command line, of which `sweep` may change.
    """
    known = _remembered(options)
    if known is not None and os.path.isfile(known.source):
        options.remembered = known.name
        options.sweep = os.path.relpath(known.source)


def _require_remembered(name: str, options: argparse.Namespace) -> None:
    """Require that a file defines the sweep or study by whose name it was found."""
    remembered = getattr(options, "remembered", name)
    if remembered != name:
        from quantlab.errors import ConfigurationError

        raise ConfigurationError(
            f"{remembered}: its file {options.sweep} defines {name!r} now; give the file for that "
            f"one, or see `sweeps list` for what the storage has of {remembered}"
        )


def refuse_name_of_file(options: argparse.Namespace) -> None:
    """Refuse the name of a sweep or study of a user's file, which the storage knows.

    Args:
        options: the parsed command line.

    Raises:
        ConfigurationError: `options.sweep` is such a name; the message names the file.
    """
    if (known := _remembered(options)) is not None:
        from quantlab.errors import ConfigurationError

        raise ConfigurationError(
            f"{known.kind} {options.sweep!r} is in a file: give {os.path.relpath(known.source)}"
        )


def _remembered(options: argparse.Namespace) -> "KnownSweep | None":
    """Return what the storage knows of a sweep or study of a user's file that is named."""
    from sweeps.loading import named_studies, named_sweeps

    name: str = options.sweep
    if name.endswith(".py") or name in (*named_sweeps(), *named_studies()):
        return None
    from sweeps.inventory.known_sweeps import recorded
    from sweeps.storage.folder import Storage

    found = (known for known in recorded(Storage(options.storage)) if known.name == name)
    return next((known for known in found if known.source), None)


def refuse_selection(
    options: argparse.Namespace, what: str, names: Sequence[str] = SELECTION
) -> None:
    """Refuse the options that choose trials of a sweep, for something else.

    Args:
        options: the parsed command line.
        what: what `options.sweep` is, such as ``"a study"``.
        names: those of the options that are refused.

    Raises:
        ConfigurationError: one of the options is given.
    """
    if given := changed_options(options, *names):
        from quantlab.errors import ConfigurationError

        raise ConfigurationError(
            f"{given[0]}: applies to sweeps, but {options.sweep} is {what}; omit the option"
        )


def refuse_study_storage(options: argparse.Namespace) -> None:
    """Refuse ``--study-storage`` for something else than a study.

    Args:
        options: the parsed command line, of a command that need not have the option.

    Raises:
        ConfigurationError: the option is given.
    """
    if getattr(options, "study_storage", None):
        from quantlab.errors import ConfigurationError

        raise ConfigurationError(
            f"--study-storage: applies to studies, but {options.sweep} is not one; omit the option"
        )


def _chosen(sweep: "SweepSpec", options: argparse.Namespace, with_parents: bool) -> "SweepSpec":
    from sweeps.deciding.record import recorded
    from sweeps.selection.selected import selected
    from sweeps.storage.folder import Storage

    def added(name: str) -> "Sequence[AddedTrial] | None":
        known = recorded(name, Storage(options.storage))
        return None if known is None else known.added

    found, notes = selected(
        sweep,
        only=options.only,
        seeds=options.seeds,
        settings=options.set,
        with_parents=with_parents,
        added=added,
    )
    for note in notes:
        print(f"sweeps: {note}", file=sys.stderr, flush=True)
    return found
