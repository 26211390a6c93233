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
    options: argparse.Namespace,
    *,
    outlined: bool = False,
    with_parents: bool = False,
    of_both: str = "",
) -> "SweepSpec | StudySpec":
    """Load a sweep as `load_chosen` does, or a study, of which no trials can be chosen.

    If a file defines both, the sweep is meant if its name is given, or if options choose its
    trials. Otherwise it is the study, and a line on standard error says so.

    Args:
        options: the parsed command line, with the options of `selection_options`.
        outlined: whether an outline of a sweep is enough; see `sweeps.outlines`.
        with_parents: see `load_chosen`.
        of_both: ``sweep`` or ``study`` if this one of both is meant anyway.

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
        spec = _defined_in_file(options, of_both)
    if isinstance(spec, SweepSpec):
        refuse_study_storage(options)
        return _chosen(spec, options, with_parents)
    refuse_selection(options, "a study")
    return spec


def _defined_in_file(options: argparse.Namespace, of_both: str) -> "SweepSpec | StudySpec":
    """Load the sweep or study of a file, which the options name, or the name of one of two."""
    from quantlab.errors import ConfigurationError
    from sweeps.loading import load_either
    from sweeps.loading.files import name_of_other

    name = getattr(options, "name_in_file", "")
    if (known := _remembered(options)) is not None:
        file, name = os.path.relpath(known.source or "."), options.sweep
        if not (os.path.isfile(file) and name_of_other(load_either(file))):
            refuse_name_of_file(options)
        options.sweep = file
    spec = load_either(options.sweep, of_both=name or of_both or "study")
    if name not in ("", spec.name):
        raise ConfigurationError(
            f"{name}: its file {options.sweep} defines {spec.name!r} now; give the file, with the "
            f"options of {name} if --set has made it, or see `sweeps list` for what the storage has"
        )
    other = "" if name or of_both else name_of_other(spec)
    if other and changed_options(options, *SELECTION):
        return load_either(options.sweep, of_both="sweep")
    if other:
        print(
            f"sweeps: {options.sweep} defines the sweep {other} and the study {spec.name}, which "
            f"is meant here; for the sweep, give its name if it has been run, or --only",
            file=sys.stderr,
            flush=True,
        )
    return spec


def find_remembered_file(options: argparse.Namespace) -> None:
    """Replace the name of a sweep or study of a user's file, which the storage knows, by the file.

    A file that is not there is left to `refuse_name_of_file`, and one that does not define it any
    more to `load_chosen_or_study`, to which `name_in_file` tells the name.

    Args:
        options: the parsed command line, of which `sweep` may change.
    """
    known = _remembered(options)
    if known is not None and os.path.isfile(known.source):
        options.name_in_file, options.sweep = options.sweep, os.path.relpath(known.source)


def refuse_name_of_file(options: argparse.Namespace) -> None:
    """Refuse the name of a sweep or study that the storage knows, and that no name loads.

    Args:
        options: the parsed command line.

    Raises:
        ConfigurationError: `options.sweep` is such a name; the message names the file, or says
            that there is none.
    """
    if (known := _remembered(options)) is not None:
        from quantlab.errors import ConfigurationError

        if not known.source:
            raise ConfigurationError(
                f"{known.kind} {options.sweep!r} has settings that --set has changed, or is of "
                "another release: give the sweep and the options that it was run with"
            )
        raise ConfigurationError(
            f"{known.kind} {options.sweep!r} is in a file: give {os.path.relpath(known.source)}"
        )


def _remembered(options: argparse.Namespace) -> "KnownSweep | None":
    """Return what the storage knows of a sweep or study that is named and not of the release."""
    from sweeps.loading import named_studies, named_sweeps

    name: str = options.sweep
    if name.endswith(".py") or name in (*named_sweeps(), *named_studies()):
        return None
    from sweeps.inventory.known_sweeps import recorded
    from sweeps.storage.folder import Storage

    found = (known for known in recorded(Storage(options.storage)) if known.name == name)
    return next(found, None)


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
