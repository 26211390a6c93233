"""The sweeps and studies that a storage knows: those of the release, and those that were run in it.

`sweeps run` and `sweeps search` record the trials of a sweep or study in the storage, so that they
are known without the user's file::

    <storage>/sweeps/<name>.json
"""

import fcntl
import glob
import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, TypeGuard

from quantlab.errors import ConfigurationError
from sweeps.loading import RENAMED_SWEEPS, named_studies, named_sweeps
from sweeps.outlines.kept import load_outlined
from sweeps.selection.added import added_to
from sweeps.selection.part_of_sweep import PartOfSweep
from sweeps.spec import Cell, SweepSpec
from sweeps.storage import sharing
from sweeps.storage.folder import Storage, TrialState
from sweeps.storage.record_files import RecordFile

SWEEP, STUDY = "sweep", "study"
"""Kinds of `KnownSweep`."""


@dataclass(frozen=True, kw_only=True)
class KnownTrial:
    """A trial of a sweep or study."""

    fingerprint: str
    name: str
    """Its name in the sweep, such as ``PC ternary rho0=0.01 seed=0``."""
    parents: tuple[str, ...] = ()
    """Fingerprints of the trials whose networks it needs."""


@dataclass(frozen=True, kw_only=True)
class KnownSweep:
    """A sweep or a study, and its trials: ``<name>.json``."""

    VERSION: ClassVar[int] = 1
    name: str
    kind: str
    """``sweep`` or ``study``."""
    source: str = ""
    """Path of the user's file, in the record relative to the storage; empty for a sweep or study of
    the release, and for a sweep with settings that options have changed. Earlier releases recorded
    the file for these, too."""
    time: float = 0.0
    """Time of the last command that trained it, in seconds since 1970; 0 if it is unknown."""
    trials: tuple[KnownTrial, ...] = ()
    """Its trials; of a study, those that have started."""
    chosen: tuple[KnownTrial, ...] = ()
    """Further trials of it, such as those of other seeds, that options have chosen, or that were
    added to it until its questions were decided."""

    @property
    def all_trials(self) -> dict[str, KnownTrial]:
        """All of its trials by their fingerprints."""
        return {trial.fingerprint: trial for trial in (*self.trials, *self.chosen)}

    def states(self, storage: Storage) -> dict[str, TrialState]:
        """Return the state of each trial by its fingerprint."""
        there = names_of_trials(storage)
        return {
            name: storage.trial(name).state() if name in there else TrialState.WAITING
            for name in self.all_trials
        }

    def summary(self, states: Sequence[TrialState]) -> str:
        """Return one word for the states of all trials.

        It is that of a trial, or ``INCOMPLETE`` if some trials have ended and others have not
        started. Of a study, it says nothing on configurations that are to be suggested.
        """
        if not set(states) - {TrialState.WAITING}:
            return "WAITING"
        first = (TrialState.RUNNING, TrialState.INTERRUPTED, TrialState.FAILED)
        if found := [state for state in first if state in states]:
            return str(found[0].value)
        return "INCOMPLETE" if TrialState.WAITING in states else "COMPLETE"


def names_of_trials(storage: Storage) -> set[str]:
    """Return the fingerprints of all trials that have a folder."""
    folder = storage.root / "trials"
    if not folder.is_dir():
        return set()
    return {path.name for path in folder.iterdir() if path.is_dir() and path.name[0] != "."}


def counted(states: Iterable[TrialState]) -> dict[str, int]:
    """Count the trials in each state, in the order of the states, without zeros."""
    counts = Counter(states)
    return {state.value: counts[state] for state in TrialState if counts[state]}


def known_trials(cells: Iterable[Cell]) -> tuple[KnownTrial, ...]:
    """Return what a storage remembers of trials."""
    return tuple(
        KnownTrial(fingerprint=cell.fingerprint, name=cell.name, parents=cell.parents)
        for cell in cells
    )


def remember_sweep(sweep: SweepSpec, source: str, storage: Storage) -> None:
    """Record the trials of a sweep in the storage.

    If options have chosen the trials, those that were recorded earlier stay, also those of a
    command that records others at the same moment.

    Args:
        sweep: the sweep.
        source: its name, or the path of its file, as the user gave it; empty if options have
            changed its trials, so that neither loads them.
        storage: the storage, whose folder exists.

    Raises:
        ConfigurationError: see `require_free_name`.
    """
    added = added_to(sweep) or {}
    own = known_trials(cell for cell in sweep.cells if cell.fingerprint not in added)
    further = known_trials(cell for cell in sweep.cells if cell.fingerprint in added)
    with _locked(storage):
        require_free_name(sweep.name, SWEEP, storage)
        before = _record_of(sweep.name, storage) or KnownSweep(name=sweep.name, kind=SWEEP)
        trials = own
        if isinstance(sweep, PartOfSweep) and sweep.report != sweep.name:
            trials, further = before.trials, (*own, *further)
        chosen = {trial.fingerprint: trial for trial in (*before.chosen, *further)}
        known = replace(before, kind=SWEEP, trials=trials, chosen=tuple(chosen.values()))
        _record(known, source, storage)


def remember_study(
    name: str, source: str, cells: Sequence[Cell], storage: Storage, *, are_all: bool = True
) -> None:
    """Record the trials of a study in the storage; see `remember_sweep`.

    Args:
        name: name of the study.
        source: its name, or the path of its file, as the user gave it.
        cells: its trials.
        storage: the storage, whose folder exists.
        are_all: whether these are all trials that have started. Of those that were recorded
            earlier, the ones without a folder are forgotten then: a search has stopped before it
            trained them.
    """
    own = {trial.fingerprint: trial for trial in known_trials(cells)}
    with _locked(storage):
        require_free_name(name, STUDY, storage)
        before = _record_of(name, storage) or KnownSweep(name=name, kind=STUDY)
        there = names_of_trials(storage) if are_all else set(before.all_trials)
        earlier = {name: trial for name, trial in before.all_trials.items() if name in there}
        trials = tuple((earlier | own).values())
        _record(KnownSweep(name=name, kind=STUDY, trials=trials), source, storage)


@contextmanager
def _locked(storage: Storage) -> Iterator[None]:
    """Keep other processes from changing the records; the folder is made if it is missing."""
    folder = storage.root / "sweeps"
    folder.mkdir(exist_ok=True)
    with sharing.locked(folder / ".lock", fcntl.LOCK_EX):
        yield


def _record(known: KnownSweep, source: str, storage: Storage) -> None:
    path = _from_storage(source, storage) if source.endswith(".py") else ""
    _keep_renamed(known.name, storage)
    _file(storage, known.name).write(replace(known, source=path, time=time.time()))


def _from_storage(file: str, storage: Storage) -> str:
    """Return the path of a file relative to a storage, to which a link may lead.

    A relative path stays right if the file and the storage are moved or copied together.
    """
    root = os.path.realpath(storage.root)
    path = os.path.relpath(file, storage.root)
    if os.path.realpath(os.path.join(root, path)) == os.path.realpath(file):
        return path
    return os.path.relpath(without_links(file), root)


def without_links(file: str) -> str:
    """Return the path of a file whose folders are no links: the same for every way to it."""
    folder, name = os.path.split(file)
    return os.path.join(os.path.realpath(folder), name)


def _file_of(known: KnownSweep, storage: Storage) -> str:
    """Return the path of the file of a record; empty if it has none.

    Earlier releases recorded it relative to the path by which a storage was given.
    """
    if not known.source:
        return ""
    roots = (os.path.realpath(storage.root), storage.root)
    paths = [without_links(os.path.normpath(os.path.join(root, known.source))) for root in roots]
    return next(filter(os.path.isfile, paths), paths[0])


def require_free_name(name: str, kind: str, storage: Storage) -> None:
    """Require that a storage has no study of the name of a sweep, and no sweep of that of a study.

    Both would have the same reports, requests and record.

    Args:
        name: name of the sweep or study.
        kind: ``sweep`` or ``study``.
        storage: the storage.

    Raises:
        ConfigurationError: it has one, or a later version of this program wrote its record.
    """
    known = _record_of(name, storage)
    if known is not None and known.kind != kind:
        file = f" of {_file_of(known, storage)}" if known.source else ""
        raise ConfigurationError(
            f"{kind} {name!r}: {storage.root} has a {known.kind} of this name{file}; give the "
            f"{kind} another name or another --storage, or remove the {known.kind} with `sweeps rm`"
        )


def forget(name: str, kind: str, storage: Storage) -> None:
    """Remove the record of a sweep or study, unless it is that of one of the other kind."""
    with _locked(storage):
        _keep_renamed(name, storage)
        known = _record_of(name, storage)
        if known is None or known.kind == kind:
            _file(storage, name).remove()
        for old, new in RENAMED_SWEEPS.items():
            if (kind, new) == (SWEEP, name) and _is_renamed(_file(storage, old).read()):
                _file(storage, old).remove()


def recorded(storage: Storage) -> list[KnownSweep]:
    """Return the sweeps and studies that were recorded in a storage, in the order of their names.

    Raises:
        ConfigurationError: a later version of this program wrote a record.
    """
    files = sorted((storage.root / "sweeps").glob("*.json"))
    names = [path.stem for path in files]
    names += [RENAMED_SWEEPS[name] for name in names if name in RENAMED_SWEEPS]
    found = (_record_of(name, storage) for name in sorted(set(names)))
    return [replace(one, source=_file_of(one, storage)) for one in found if one is not None]


def _record_of(name: str, storage: Storage) -> KnownSweep | None:
    """Return the record of a sweep or study, also if an earlier release gave it another name."""
    known = _file(storage, name).read()
    if known is not None and not _is_renamed(known):
        return known
    for old, new in RENAMED_SWEEPS.items():
        if new == name and _is_renamed(known := _file(storage, old).read()):
            return replace(known, name=new)
    return None


def _is_renamed(known: KnownSweep | None) -> TypeGuard[KnownSweep]:
    """Whether a record is that of a sweep of the release which has another name now."""
    return (
        known is not None
        and known.kind == SWEEP
        and not known.source
        and known.name in RENAMED_SWEEPS
    )


def _keep_renamed(name: str, storage: Storage) -> None:
    """Write the record of a sweep under its name now, before that of its old name is replaced."""
    file = _file(storage, name)
    if _is_renamed(known := file.read()):
        new = RENAMED_SWEEPS[name]
        if not _file(storage, new).exists():
            _file(storage, new).write(replace(known, name=new))
        file.remove()


def of_release() -> list[KnownSweep]:
    """Return the sweeps of the release, in the order of their names."""
    sweeps = (load_outlined(name) for name in named_sweeps())
    return [
        KnownSweep(name=sweep.name, kind=SWEEP, trials=known_trials(sweep.cells))
        for sweep in sweeps
    ]


def sweeps_of(storage: Storage) -> list[KnownSweep]:
    """Return the sweeps of the release and those that were recorded, in the order of their names.

    Studies are in `sweeps.searching.known_studies`.
    """
    records = [known for known in recorded(storage) if known.kind == SWEEP]
    of_files = [known for known in records if known.source]
    run = {known.name: known for known in records if not known.source}
    found = []
    for known in of_release():
        record = run.pop(known.name, None)
        if record is None:
            known = replace(known, time=_run_without_record(known.name, storage))
        else:  # whose trials may be those of another release
            known = replace(known, time=record.time, chosen=record.chosen)
        found.append(known)
    return sorted([*found, *run.values(), *of_files], key=lambda known: known.name)


def _run_without_record(name: str, storage: Storage) -> float:
    """Return when a version that recorded no sweeps ran one; 0 if it did not."""
    return max((folder.stat().st_mtime for folder in ray_folders(name, storage)), default=0.0)


def ray_folders(name: str, storage: Storage) -> list[Path]:
    """Return Ray Tune's folders of a sweep, one for each run: ``digits-20260131-235959-1a2b3c``."""
    runs = f"{glob.escape(name)}-{'[0-9]' * 8}-{'[0-9]' * 6}*"
    return sorted((storage.root / "ray").glob(runs))


def studies_by_name(storage: Storage) -> dict[str, KnownSweep]:
    """Return the studies of the release, without trials, and those that were recorded."""
    records = {known.name: known for known in recorded(storage) if known.kind == STUDY}
    return {name: KnownSweep(name=name, kind=STUDY) for name in named_studies()} | records


def _file(storage: Storage, name: str) -> RecordFile[KnownSweep]:
    return RecordFile(
        storage.root / "sweeps" / f"{name}.json",
        KnownSweep,
        if_damaged="it is ignored; run the sweep again to record its trials",
    )
