"""The studies that a storage knows: those of Optuna's storage in its folder."""

from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

import optuna

from quantlab import ConfigurationError
from sweeps.control.requests import Requests, pauses_data
from sweeps.inventory.known_sweeps import STUDY, KnownSweep, known_trials, studies_by_name
from sweeps.loading import load_study, named_studies
from sweeps.searching.results import (
    cells_of,
    known_label,
    load,
    num_finished,
    states_of,
    winner,
)
from sweeps.searching.study_identity import elsewhere, identity_file, identity_of, missing
from sweeps.spending.description import spending_data
from sweeps.spending.spent import spending_of
from sweeps.storage.folder import Storage
from sweeps.storage.optuna_database import open_storage, url_of
from sweeps.study import StudySpec


def studies_of(storage: Storage, *, from_files: bool = False) -> list[KnownSweep]:
    """Return the studies of a storage, in the order of their names.

    The trials of a study of the release are those of Optuna's storage; those of a user's study were
    recorded by `sweeps search`. A study without a record and without a definition has no trials,
    and neither has one of the release that was not begun.

    Args:
        storage: the storage.
        from_files: whether the trials of users' studies are those of Optuna's storage, too, which
            takes the code of their files; if that is not possible, they are the recorded ones.
    """
    found = studies_by_name(storage)
    for name in _names(storage):
        record = found.get(name)
        if record is None or not record.time:  # of an earlier version, or of the release
            begun = (storage.root / "optuna.db").stat().st_mtime
            record = KnownSweep(name=name, kind=STUDY, time=begun)
        found[name] = record
        source = record.source or (name if name in named_studies() else "")
        if source and (from_files or not record.source):
            with suppress(ConfigurationError):  # the file may have been changed or removed
                spec = load_study(source)
                if spec.name != name:  # what its file defines now
                    continue
                cells = cells_of(spec, load(spec, storage, None), storage)
                found[name] = replace(record, trials=known_trials(cells))
    return [known for _, known in sorted(found.items())]


def study_data(
    spec: StudySpec,
    study: optuna.Study,
    storage: Storage,
    archived: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Describe a study: its budget, and its configurations with their states and values.

    Args:
        spec: the study.
        study: the study in Optuna's storage.
        storage: the storage of its trials.
        archived: what an archive has of it, see `sweeps.archive.summary`; None for no archive.
    """
    states = states_of(spec, study, storage)
    trials = study.get_trials(deepcopy=False)
    names = [objective.name for objective in spec.objectives]
    return {
        "name": spec.name,
        "kind": STUDY,
        "description": spec.description,
        "experiment": spec.experiment or spec.name,
        "storage": str(storage.root),
        "configurations": spec.configurations,
        "finished": num_finished(study),
        "states": dict(Counter(states)),
        "best": winner(spec, study).number if "COMPLETE" in states else None,
        "configuration_list": [
            {
                "number": trial.number,
                "label": known_label(spec, trial.params) or None,
                "state": state,
                "params": trial.params,
                "values": dict(zip(names, trial.values or (), strict=False)),
            }
            for trial, state in zip(trials, states, strict=True)
        ],
        "archive": archived,
        "paused": pauses_data(Requests(storage, spec.name), storage.has_finished),
        "spent": spending_data(spending_of(cells_of(spec, study, storage), storage)),
    }


def is_in_optuna(name: str, storage: Storage, study_storage: str | None) -> bool:
    """Return whether Optuna's storage has a study whose trials are in a storage.

    Args:
        name: name of the study.
        storage: the storage of its trials.
        study_storage: URL of Optuna's storage; None for the SQLite file in `storage`.

    Raises:
        ConfigurationError: it has none, although the study was begun and not deleted; or the trials
            of the one that it has are in another folder.
    """
    own = identity_of(name, storage)
    if name not in _names(storage, study_storage):
        if own:
            raise ConfigurationError(missing(name, storage, study_storage))
        return False
    found = optuna.load_study(
        study_name=name, storage=open_storage(url_of(storage, study_storage))
    ).user_attrs.get("folder")
    if found != own and (own or not (storage.root / "studies" / name).is_dir()):
        raise ConfigurationError(elsewhere(name, storage, study_storage))
    return True


def delete_study(name: str, storage: Storage, study_storage: str | None) -> None:
    """Delete a study from Optuna's storage; if this is interrupted, it can be repeated.

    Args:
        name: name of the study, see `is_in_optuna`.
        storage: the storage of its trials.
        study_storage: URL of Optuna's storage; None for the SQLite file in `storage`.
    """
    identity_file(name, storage).unlink(missing_ok=True)  # now the study need not be there
    optuna.delete_study(study_name=name, storage=open_storage(url_of(storage, study_storage)))


def _names(storage: Storage, study_storage: str | None = None) -> list[str]:
    if study_storage is None and not (storage.root / "optuna.db").exists():
        return []
    found: list[str] = [
        study.study_name for study in open_storage(url_of(storage, study_storage)).get_all_studies()
    ]
    return found
