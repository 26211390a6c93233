"""The identity of a study: random text, by which Optuna's storage and the folder find each other.

Optuna's storage may be a server, which holds the studies of many folders. The identity is in an
attribute of the study there, and in a file here::

    <storage>/studies/<name>/identity
"""

from pathlib import Path

from sweeps.storage.folder import Storage
from sweeps.storage.optuna_database import url_of, without_password


def identity_file(name: str, storage: Storage) -> Path:
    """Return the file of the identity of a study, which may not exist."""
    return storage.root / "studies" / name / "identity"


def identity_of(name: str, storage: Storage) -> str:
    """Return the identity of a study; empty if the storage has no trials of it."""
    file = identity_file(name, storage)
    return file.read_text(encoding="utf-8") if file.exists() else ""


def missing(name: str, storage: Storage, study_storage: str | None) -> str:
    """Return what is wrong if Optuna's storage does not have a study.

    Args:
        name: name of the study.
        storage: the storage of its trials.
        study_storage: URL of Optuna's storage; None for the SQLite file in `storage`.
    """
    what = f"study {name}: not found in {without_password(url_of(storage, study_storage))}"
    if not identity_of(name, storage):
        return f"{what}; start it with `sweeps search`"
    return (
        f"{what}, but its trials are in {storage.root}; give the --study-storage with which it was "
        f"started (if that is lost, remove {identity_file(name, storage).parent})"
    )


def elsewhere(name: str, storage: Storage, study_storage: str | None) -> str:
    """Return what is wrong if the trials of a study are in another storage; see `missing`."""
    return (
        f"--storage {storage.root}: the trials of study {name} in "
        f"{without_password(url_of(storage, study_storage))} are in another folder; give all "
        "commands of a study the same --storage"
    )
