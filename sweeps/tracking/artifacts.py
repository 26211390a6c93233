"""Where a tracking store keeps its artifacts, also after a storage was moved or copied.

A database holds the whole path of each run's artifacts. In a storage's own one they lie beside it,
so that the paths follow the storage; any other database's are its administrator's.
"""

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import unquote, urlsplit

from quantlab import ConfigurationError
from sweeps.storage.folder import Storage

_COLUMNS = (("experiments", "artifact_location"), ("runs", "artifact_uri"))


def follow_storage(storage: Storage) -> None:
    """Let the embedded database look for artifacts where the storage is now.

    One folder that has two names, such as a link and what it leads to, was not moved. A file that
    is no database of MLflow's is left to MLflow, which says so.

    Raises:
        sqlite3.OperationalError: it cannot be written to now.
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
    """A place's beginning that follows the storage; None for another place, or the same folder."""
    before, between, _ = place.rpartition(f"/{storage.artifacts.name}/")
    if not between or not before.startswith("file:"):
        return None
    try:
        if os.path.samefile(local_path(before), storage.root):
            return None
    except OSError:  # it is not there any more
        pass
    return before + between


def local_path(place: str) -> Path:
    """Of a ``file:`` URI."""
    return Path(unquote(urlsplit(place).path))


def require_reachable(place: str, experiment: str, named: str) -> None:
    """Artifacts that a database wants on this machine must find their folder.

    MLflow itself would make a folder of that path, on whatever machine it runs.

    Args:
        place: where the experiment keeps them.
        experiment: its name.
        named: the database, for the message.

    Raises:
        ConfigurationError: that is a folder that is not here.
    """
    if not place.startswith(("file:", "/")):
        return
    path = local_path(place)
    # Runs that have no artifacts yet leave no folder, but for the one of the storage around them.
    if not (path.exists() or path.parent.exists() or path.parent.parent.exists()):
        raise ConfigurationError(
            f"{named}: experiment {experiment!r} keeps its artifacts in {path}, which is not on "
            "this machine; make that a link to where they are, or give the sweep another "
            "`experiment`"
        )
