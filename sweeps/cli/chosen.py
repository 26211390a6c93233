"""The sweep that a command line names, with the trials that its options choose."""

import argparse
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sweeps.cli.command_line import changed_options
from sweeps.cli.naming.name_in_file import addressed, require_named
from sweeps.cli.naming.remembered import defines_another, refuse_name_of_file, remembered
from sweeps.cli.options import SELECTION

if TYPE_CHECKING:
    from sweeps.loading.either import UsersFile
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
    return chosen_of(_load(options, outlined), options, with_parents=with_parents)


def _load(options: argparse.Namespace, outlined: bool) -> "SweepSpec":
    refuse_name_of_file(options)
    if outlined and options.seeds is None and not options.set and not _has_added(options):
        from sweeps.outlines.kept import load_outlined

        sweep = load_outlined(options.sweep)
    else:
        from sweeps.loading import load_sweep

        sweep = load_sweep(options.sweep)
    require_named(options, sweep)
    return sweep


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

    Args:
        options: the parsed command line, with the options of `selection_options`.
        outlined: see `load_either_named`.
        with_parents: see `load_chosen`.
        of_both: see `load_either_named`.

    Raises:
        ConfigurationError: see `load_chosen` and `load_either_named`.
    """
    from sweeps.spec import SweepSpec

    spec = load_either_named(options, outlined=outlined, of_both=of_both)
    if isinstance(spec, SweepSpec):
        return chosen_of(spec, options, with_parents=with_parents)
    return spec


def load_either_named(
    options: argparse.Namespace, *, outlined: bool = False, of_both: str = ""
) -> "SweepSpec | StudySpec":
    """Load a sweep, of which no trials are chosen yet (see `chosen_of`), or a study.

    If a file defines both, the sweep is meant if its name is given, as ``FILE.py:NAME`` or alone
    if it has been run, or if options choose its trials. Otherwise it is the study, and a line on
    standard error says so.

    Args:
        options: the parsed command line, with the options of `selection_options`.
        outlined: whether an outline of a sweep is enough; see `sweeps.outlines`.
        of_both: ``sweep`` or ``study`` if this one of both is meant anyway.

    Raises:
        ConfigurationError: it cannot be loaded; or trials of a study are to be chosen, or a sweep
            is to have a storage of studies; or a file that was found by a name defines another one.
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
    else:
        refuse_selection(options, "a study")
    return spec


def _defined_in_file(options: argparse.Namespace, of_both: str) -> "SweepSpec | StudySpec":
    """Load the sweep or study of a file, which the options name, or the name of one of two."""
    from sweeps.loading import load_either
    from sweeps.loading.either import load_users_file

    if (known := remembered(options)) is not None:
        name, file = options.sweep, os.path.relpath(known.source or ".")
        found = load_users_file(file) if os.path.isfile(file) else None
        if found is None or not found.name_of_other(found.either()):
            refuse_name_of_file(options)
        options.sweep, options.name_in_file, options.is_remembered = file, name, True
    elif options.sweep.endswith(".py"):
        found = load_users_file(options.sweep)
    else:
        return load_either(options.sweep)
    assert found is not None, "otherwise, its name was refused"
    return meant_of(found, options, of_both, chooses=bool(changed_options(options, *SELECTION)))


def meant_of(
    file: "UsersFile", options: argparse.Namespace, of_both: str = "", *, chooses: bool
) -> "SweepSpec | StudySpec":
    """Return which one is meant of a file that may define a sweep and a study.

    A line on standard error says that it is the study, if nothing tells it.

    Args:
        file: the file.
        options: the parsed command line, which has its path and the name in it.
        of_both: see `load_chosen_or_study`.
        chooses: whether options choose trials of the sweep.

    Raises:
        ConfigurationError: the file defines nothing of the name, or it is invalid.
    """
    from quantlab.errors import ConfigurationError

    name = options.name_in_file
    spec = file.either(name or of_both or "study")
    other = file.name_of_other(spec)
    if name not in ("", spec.name):
        both = " and ".join(filter(None, (spec.name, other)))
        raise ConfigurationError(
            defines_another(name, options.sweep, spec.name)
            if getattr(options, "is_remembered", False)
            else f"{addressed(options)}: the file defines {both}, and nothing of this name"
        )
    if not other or name or of_both:
        return spec
    if chooses:
        return file.either("sweep")
    print(
        f"sweeps: {options.sweep} defines the sweep {other} and the study {spec.name}, which "
        f"is meant here; for the sweep, give {options.sweep}:{other}",
        file=sys.stderr,
        flush=True,
    )
    return spec


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
            f"{given[0]}: applies to sweeps, but {addressed(options)} is {what}; omit the option"
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


def chosen_of(
    sweep: "SweepSpec", options: argparse.Namespace, *, with_parents: bool = False
) -> "SweepSpec":
    """Return those trials of a sweep that the options choose; see `load_chosen`."""
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
