"""The command `sweeps rm`: which trials are removed, and what goes with them."""

import argparse
import os
import shutil
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from quantlab import ConfigurationError
from sweeps.cli.chosen import (
    load_chosen_or_study,
    meant_of,
    refuse_selection,
    refuse_study_storage,
)
from sweeps.cli.command_line import changed_options, command_line
from sweeps.cli.exit_codes import EXIT_INCOMPLETE
from sweeps.cli.inventory import print_removal
from sweeps.cli.json_output import print_json
from sweeps.cli.naming.name_in_file import split
from sweeps.cli.options import SELECTION
from sweeps.inventory.known_sweeps import (
    STUDY,
    SWEEP,
    KnownSweep,
    forget,
    known_trials,
    ray_folders,
    sweeps_of,
    without_links,
)
from sweeps.inventory.removal import (
    Kept,
    Removal,
    orphans_of,
    removal_of,
    remove_leftovers,
    remove_trial,
    size_of,
)
from sweeps.loading import load_either, named_studies, named_sweeps
from sweeps.loading.either import load_users_file
from sweeps.searching.known_studies import delete_study, is_in_optuna, studies_of
from sweeps.searching.results import cells_of, load
from sweeps.selection.part_of_sweep import PartOfSweep
from sweeps.spec import Cell, SweepSpec
from sweeps.storage.folder import Storage
from sweeps.study import StudySpec
from sweeps.tracking.trial_runs import TrialRun, TrialRuns
from sweeps.tracking.uri import tracking_server


@dataclass
class _Wanted:
    """What the command line asks to remove."""

    what: str
    """What it is in messages."""
    trials: dict[str, str]
    """Fingerprint -> name."""
    others: list[KnownSweep]
    """The other sweeps and studies of the storage."""
    folders: list[Path] = field(default_factory=list)
    """Folders that go with all of the trials."""
    name: str = ""
    """Name of the sweep or study, of which nothing stays; empty for orphans and for a part."""
    kind: str = SWEEP
    """``sweep`` or ``study``."""
    in_optuna: bool = False
    """Whether it is a study that Optuna's storage has."""
    is_recorded: bool = False
    """Whether the record of this name is that of the sweep or study."""


def remove(options: argparse.Namespace) -> int:
    """Print what would be removed or was removed.

    Args:
        options: the parsed command line.

    Returns:
        The exit code: 1 if a trial that was to be removed is still there.

    Raises:
        ConfigurationError: the command line is invalid, another command uses the storage, or the
            tracking server does not answer. Nothing is removed then.
    """
    storage = Storage(options.storage)
    if not (storage.root / "trials").is_dir():
        raise ConfigurationError(f"--storage {options.storage}: has no trials")
    with storage.locked() if options.yes else nullcontext():
        wanted = _wanted(options, storage)
        found = removal_of(wanted.trials, storage, wanted.others, force=options.force)
        server = TrialRuns(tracking_server(options.tracking_uri, storage), storage)
        runs = server.find({trial.fingerprint for trial in found.trials})
        if options.orphans:
            _spare_unknown_sweeps(found, runs, wanted.others)
        chosen = {trial.fingerprint for trial in found.trials}
        own = {
            name: [run for run in each if run.is_own]
            for name, each in runs.items()
            if name in chosen
        }
        of_runs = [run for each in own.values() for run in each]
        run_bytes = sum(map(server.size, of_runs))
        if not found.kept:
            found.others = {path: size_of(path) for path in wanted.folders if path.is_dir()}
        if options.yes:
            _carry_out(found, own, server, storage)
            if wanted.name and not found.kept:
                _remove_rest(wanted, found, storage, options)
    if options.json:
        print_json(
            {
                "removed": options.yes,
                "trials": [
                    {
                        "fingerprint": trial.fingerprint,
                        "name": trial.name or None,
                        "state": trial.state.value,
                        "bytes": trial.size,
                        "needed": trial.warning or None,
                    }
                    for trial in found.trials
                ],
                "kept": [vars(kept) | {"name": kept.name or None} for kept in found.kept],
                "folders": {str(path): size for path, size in found.others.items()},
                "mlflow_runs": [run.run_id for run in of_runs],
                "bytes": sum(trial.size for trial in found.trials)
                + run_bytes
                + sum(found.others.values()),
            }
        )
    else:
        print_removal(
            found,
            what=wanted.what,
            runs=len(of_runs),
            run_bytes=run_bytes,
            is_done=options.yes,
        )
        if found.trials and not options.yes:
            again = command_line(*sys.argv[1:], "--yes")
            print(f"Nothing was changed. To remove them, run: {again}")
    return EXIT_INCOMPLETE if options.yes and found.kept else 0


def _wanted(options: argparse.Namespace, storage: Storage) -> _Wanted:
    if options.orphans == bool(options.sweep):
        raise ConfigurationError(
            "give either a sweep or study whose trials are removed, or --orphans"
        )
    if options.orphans and (given := changed_options(options, *SELECTION)):
        raise ConfigurationError(f"{given[0]}: applies to a sweep, not to --orphans; omit it")
    if options.keep and not options.orphans:
        raise ConfigurationError(
            f"--keep {options.keep[0]}: applies to --orphans only; omit the option"
        )
    known = [*sweeps_of(storage), *studies_of(storage, from_files=True)]
    if options.orphans:
        kept = [_kept(name, storage, options) for name in options.keep]
        names = {one.name for one in kept}
        unknown = [one.name for one in known if one.kind == STUDY and one.time and not one.trials]
        if missing := [name for name in unknown if name not in names]:
            raise ConfigurationError(
                f"--orphans: the trials of the study {missing[0]!r} are unknown; give its file "
                "with --keep"
            )
        known += kept
        return _Wanted("trials of no sweep and no study", orphans_of(storage, known), known)
    found = _recorded(options.sweep, known)
    if found:
        refuse_selection(options, "known by its record only")
    spec = None if found else load_chosen_or_study(options)
    name = options.sweep if spec is None else spec.name
    if isinstance(spec, PartOfSweep) and spec.report != name:
        others = [one for one in known if (one.name, one.kind) != (name, SWEEP)]
        trials = {cell.fingerprint: cell.name for cell in spec.cells}
        return _Wanted(f"a part of {SWEEP} {name}", trials, others)
    kind = found[0].kind if spec is None else _kind(spec)
    own = found or [
        one
        for one in known
        if (one.name, one.kind) == (name, kind) and _is_same(one, options.sweep)
    ]
    others = [one for one in known if one not in own]
    trials = {trial.fingerprint: trial.name for one in own for trial in one.all_trials.values()}
    in_optuna = False
    if kind == STUDY:
        in_optuna = is_in_optuna(name, storage, options.study_storage)
        has_begun = in_optuna or any(one.time for one in own)
        if spec is not None and (in_optuna or not has_begun):
            trials |= {cell.fingerprint: cell.name for cell in _cells(spec, storage, options)}
    else:
        refuse_study_storage(options)
        if spec is not None:
            trials |= {cell.fingerprint: cell.name for cell in _cells(spec, storage, options)}
    return _Wanted(
        f"{kind} {name}",
        trials,
        others,
        _folders(name, kind, others, storage),
        name,
        kind,
        in_optuna,
        is_recorded=bool(own),
    )


def _folders(name: str, kind: str, others: Sequence[KnownSweep], storage: Storage) -> list[Path]:
    """Return the folders of a sweep or study besides its trials.

    In storages of earlier releases, a sweep and a study may have the same name, and share some.
    """
    own = [storage.root / "studies" / name] if kind == STUDY else []
    if any(one.name == name and one.kind != kind and one.time for one in others):
        return own
    of_name = [storage.root / part / name for part in ("reports", "control", "deciding")]
    return [*own, *of_name, *ray_folders(name, storage)]


def _kind(spec: SweepSpec | StudySpec) -> str:
    return SWEEP if isinstance(spec, SweepSpec) else STUDY


def _is_same(known: KnownSweep, given: str) -> bool:
    """Whether a sweep or study is the one that was given, if it has its name.

    A file that does not exist any more may have been moved.
    """
    if not given.endswith(".py"):
        return not known.source
    if not known.source:
        return known.name not in (*named_sweeps(), *named_studies())
    return known.source == without_links(given) or not os.path.exists(known.source)


def _recorded(name: str, known: Sequence[KnownSweep]) -> list[KnownSweep]:
    """Return the sweeps or studies of a name that was recorded, but is not one of the release.

    Raises:
        ConfigurationError: a sweep and a study have this name.
    """
    if name.endswith(".py") or name in (*named_sweeps(), *named_studies()):
        return []
    found = [one for one in known if one.name == name]
    if len({one.kind for one in found}) > 1:
        raise ConfigurationError(
            f"{name}: the storage has a sweep and a study of this name; give the file of the one "
            "to remove"
        )
    return found


def _cells(
    spec: SweepSpec | StudySpec, storage: Storage, options: argparse.Namespace
) -> Sequence[Cell]:
    if isinstance(spec, SweepSpec):
        return spec.cells
    return cells_of(spec, load(spec, storage, options.study_storage), storage)


def _kept(name: str, storage: Storage, options: argparse.Namespace) -> KnownSweep:
    file, name_in_file = split(name)
    if file.endswith(".py"):
        named = argparse.Namespace(sweep=file, name_in_file=name_in_file)
        spec = meant_of(load_users_file(file), named, "study", chooses=False)
    else:
        spec = load_either(file)
    trials = known_trials(_cells(spec, storage, options))
    return KnownSweep(name=spec.name, kind=_kind(spec), trials=trials)


def _spare_unknown_sweeps(
    found: Removal, runs: dict[str, list[TrialRun]], known: Sequence[KnownSweep]
) -> None:
    """Keep trials of a sweep that the storage has no record of, which MLflow names.

    An earlier version ran it, and so it is unknown which trials it has now. The others get the
    names that MLflow has for them.
    """
    sweeps = {one.name for one in known if one.kind == SWEEP}
    studies = {one.name for one in known if one.kind == STUDY}
    trials = []
    for trial in found.trials:
        run = next(iter(runs.get(trial.fingerprint, [])), None)
        if run is not None and run.sweep and run.sweep not in sweeps:
            reason = f"it is of the sweep {run.sweep}, whose file is needed: give it with --keep"
            if run.sweep in studies:
                reason = f"it is of the study {run.sweep}"
            found.kept.append(Kept(trial.fingerprint, run.name, reason))
            continue
        label = "" if run is None else f"{run.sweep}: {run.name}" if run.sweep else run.name
        trials.append(trial.called(label))
    found.trials = trials


def _carry_out(
    found: Removal, runs: dict[str, list[TrialRun]], server: TrialRuns, storage: Storage
) -> None:
    """Remove the trials and their own runs; what cannot be removed moves to the kept ones.

    Args:
        found: the trials.
        runs: fingerprint -> the runs to delete.
        server: the server of the runs.
        storage: the storage of the trials.
    """
    removed = []
    for trial in found.trials:
        delete_runs = partial(server.delete, runs.get(trial.fingerprint, []))
        if reason := remove_trial(trial.fingerprint, storage, before=delete_runs):
            found.kept.append(Kept(trial.fingerprint, trial.name, reason))
        else:
            removed.append(trial)
    found.trials = removed
    remove_leftovers(storage)


def _remove_rest(
    wanted: _Wanted, found: Removal, storage: Storage, options: argparse.Namespace
) -> None:
    """Remove what a sweep or a study has besides its trials."""
    if wanted.in_optuna:
        delete_study(wanted.name, storage, options.study_storage)
    for path in found.others:
        shutil.rmtree(path, ignore_errors=True)
    if wanted.is_recorded:
        forget(wanted.name, wanted.kind, storage)
