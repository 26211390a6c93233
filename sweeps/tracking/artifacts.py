"""Artifact locations of a tracking store, also after a storage folder was moved or copied.

A database stores the absolute path of each run's artifacts. The artifacts of a storage's embedded
database are beside it, so its paths are updated when the storage moves; the paths in any other
database are its administrator's.
"""

import os
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from urllib.parse import unquote, urlsplit

from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from quantlab import ConfigurationError
from sweeps.storage.folder import Storage

_COLUMNS = (("experiments", "artifact_location"), ("runs", "artifact_uri"))


def log_files(files: Iterable[Path], location: str, tracking_uri: str) -> None:
    """Log files as artifacts of a run.

    MLflow's client has a method for it, but that keeps an object of some 20 KB for each of the last
    1,024 runs, and asks the server for the run first.

    Args:
        files: the files, which all have other names.
        location: the run's artifact URI.
        tracking_uri: the tracking server, which may pass the artifacts on.

    Raises:
        Exception: the files cannot be written there; each kind of place raises its own.
    """
    repository = get_artifact_repository(location, tracking_uri=tracking_uri)
    for file in files:
        repository.log_artifact(str(file))  # type: ignore[no-untyped-call]


def follow_storage(storage: Storage) -> None:
    """Update the artifact paths in the embedded database to the storage's present location.

    Nothing changes if the old path is another name of the same folder, such as a symbolic link. A
    file that is not an MLflow database is left as it is; MLflow reports it.

    Raises:
        sqlite3.OperationalError: the database cannot be written to now.
    """
    file = storage.root / "mlflow.db"
    if not file.is_file():
        return
    here = storage.artifacts.as_uri() + "/"
    with closing(sqlite3.connect(file, timeout=60)) as database, database:
        try:
            found = database.execute("SELECT artifact_location FROM experiments").fetchall()
        except sqlite3.DatabaseError:
            return
        places = {str(place) for (place,) in found}
        for before in {part for place in places if (part := _storages_part(place, storage))}:
            for table, column in _COLUMNS:
                database.execute(
                    f"UPDATE {table} SET {column} = ? || substr({column}, ?) "
                    f"WHERE substr({column}, 1, ?) = ?",
                    (here, len(before) + 1, len(before), before),
                )


def _storages_part(place: str, storage: Storage) -> str | None:
    """Return the old storage folder in an artifact URI; None if there is none, or if it is here."""
    before, between, _ = place.rpartition(f"/{storage.artifacts.name}/")
    if not between or not before.startswith("file:"):
        return None
    try:
        if os.path.samefile(local_path(before), storage.root):
            return None
    except OSError:  # the old folder does not exist any more
        pass
    return before + between


def local_path(place: str) -> Path:
    """Return the path of a ``file:`` URI."""
    return Path(unquote(urlsplit(place).path))


def require_reachable(place: str, experiment: str, named: str) -> None:
    """Require that a local folder of artifacts exists on this machine.

    Otherwise MLflow would create a folder of that path, on whatever machine it runs.

    Args:
        place: the experiment's artifact location.
        experiment: the experiment's name.
        named: the database as the user named it, for the message.

    Raises:
        ConfigurationError: the location is a folder that does not exist here.
    """
    if not place.startswith(("file:", "/")):
        return
    path = local_path(place)
    # Before the first artifact, only the storage folder around the location exists.
    if not (path.exists() or path.parent.exists() or path.parent.parent.exists()):
        raise ConfigurationError(
            f"{named}: experiment {experiment!r} stores its artifacts in {path}, which does not "
            "exist on this machine; create a link there to the folder of the artifacts, or give "
            "the sweep another `experiment`"
        )
