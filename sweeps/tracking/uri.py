"""The tracking server: from ``--tracking-uri``, the environment, or the embedded database."""

import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from sweeps.printing.secrets import hide, remember
from sweeps.storage.folder import Storage
from sweeps.storage.sqlite_uri import sqlite_uri

VARIABLE = "MLFLOW_TRACKING_URI"
"""MLflow's environment variable; it is used if ``--tracking-uri`` is not given."""
EMBEDDED = "embedded"
"""Identity of a storage's own database, wherever the storage folder is."""
_OF_DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
_OF_IDENTITY = ("host", "port", "dbname", "database", "service", "unix_socket", "unix_sock")
"""Parameters of a database URI that are part of its identity."""


@dataclass(frozen=True)
class TrackingServer:
    """A tracking server, or a database that is used without one."""

    uri: str
    """The URI for MLflow; it may contain a password."""
    named: str
    """The option or variable and its value, for messages, without secrets."""
    identity: str
    """A normalized URI, without secrets and user names: equal for equal servers."""

    @property
    def is_embedded(self) -> bool:
        """Whether it is the storage's own database."""
        return self.identity == EMBEDDED

    @property
    def is_server(self) -> bool:
        """Whether it is an HTTP server, which has its own artifact location."""
        return self.uri.startswith(("http:", "https:"))

    @property
    def is_database(self) -> bool:
        """Whether it is a database that this process connects to directly."""
        return self.uri.partition(":")[0].partition("+")[0] in _OF_DATABASES

    @property
    def page(self) -> str:
        """The URL of a server's UI, without secrets."""
        return self.identity


def tracking_server(given: str | None, storage: Storage) -> TrackingServer:
    """Choose the tracking server.

    Args:
        given: the value of ``--tracking-uri``, which overrides the environment; may be None.
        storage: its embedded database is used if neither is set.
    """
    for named, uri in (("--tracking-uri", given), (VARIABLE, os.environ.get(VARIABLE))):
        if uri:
            remember(uri)
            return TrackingServer(uri, f"{named} {hide(uri)}", identity_of(uri, storage))
    uri = storage.default_tracking_uri
    return TrackingServer(uri, f"--storage {storage.root}: its MLflow database", EMBEDDED)


def identity_of(uri: str, storage: Storage) -> str:
    """Return the `TrackingServer.identity` of a URI; an identity is returned unchanged.

    Args:
        uri: the URI, or what an earlier release recorded of a delivery: a URI with its password.
        storage: the storage whose own database is `EMBEDDED`.
    """
    remember(uri)
    try:
        parts = urlsplit(uri)
        if parts.scheme in ("http", "https"):
            host = parts.netloc.rpartition("@")[2].lower()
            return f"{parts.scheme}://{host}{parts.path.rstrip('/')}"
        url = make_url(uri)
    except (ArgumentError, ValueError):  # a name, a path, or an invalid URI
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
