"""Which tracking server: the one that was given, the environment's, or the embedded database."""

import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from sweeps.secrets import hide, remember
from sweeps.storage.folder import Storage
from sweeps.storage.sqlite_uri import sqlite_uri

VARIABLE = "MLFLOW_TRACKING_URI"
"""MLflow's own; it holds where ``--tracking-uri`` is not given."""
EMBEDDED = "embedded"
"""What a storage calls its own database, wherever the storage lies."""
_OF_DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
_OF_IDENTITY = ("host", "port", "dbname", "database", "service", "unix_socket", "unix_sock")
"""Parameters of a database's URI that say which one it is; others may be anything."""


@dataclass(frozen=True)
class TrackingServer:
    """A tracking server, or a database that stands in for one."""

    uri: str
    """As MLflow takes it; it may hold a password."""
    named: str
    """How the user named it, for messages, with nothing secret."""
    identity: str
    """The same for one server however it is written, with nothing secret, nor a user's name."""

    @property
    def is_embedded(self) -> bool:
        """Whether it is the storage's own database."""
        return self.identity == EMBEDDED

    @property
    def is_server(self) -> bool:
        """Whether it answers over HTTP, and has a place of its own for artifacts."""
        return self.uri.startswith(("http:", "https:"))

    @property
    def is_database(self) -> bool:
        """Whether it is a database that this process itself connects to."""
        return self.uri.partition(":")[0].partition("+")[0] in _OF_DATABASES

    @property
    def page(self) -> str:
        """Where a server shows its pages, with nothing secret."""
        return self.identity


def tracking_server(given: str | None, storage: Storage) -> TrackingServer:
    """The one to use.

    Args:
        given: by ``--tracking-uri``; it goes before the environment.
        storage: whose own database it is otherwise.
    """
    for named, uri in (("--tracking-uri", given), (VARIABLE, os.environ.get(VARIABLE))):
        if uri:
            remember(uri)
            return TrackingServer(uri, f"{named} {hide(uri)}", identity_of(uri, storage))
    uri = storage.default_tracking_uri
    return TrackingServer(uri, f"--storage {storage.root}: its MLflow database", EMBEDDED)


def identity_of(uri: str, storage: Storage) -> str:
    """What `TrackingServer.identity` is of a URI; of an identity, itself.

    Args:
        uri: or what older versions noted of a delivery, which was a URI with everything in it.
        storage: to know its own database by.
    """
    remember(uri)
    try:
        parts = urlsplit(uri)
        if parts.scheme in ("http", "https"):
            host = parts.netloc.rpartition("@")[2].lower()
            return f"{parts.scheme}://{host}{parts.path.rstrip('/')}"
        url = make_url(uri)
    except (ArgumentError, ValueError):  # a name, a path, or nothing that can be connected to
        return hide(uri)
    if url.get_backend_name() == "sqlite":
        path = Path(os.path.realpath(url.database or "."))
        own = Path(os.path.realpath(storage.root / "mlflow.db"))
        return EMBEDDED if path == own else sqlite_uri(path)
    query = {key: value for key, value in url.query.items() if key in _OF_IDENTITY}
    plain = URL.create(
        url.get_backend_name(), host=url.host, port=url.port, database=url.database, query=query
    )
    return plain.render_as_string()
