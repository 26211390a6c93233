"""Connect to the storage of Optuna, and report its errors in one line."""

import time

import optuna
import sqlalchemy
from optuna.storages import RDBStorage
from sqlalchemy import event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import IntegrityError

from quantlab import ConfigurationError
from quantlab.errors import CutShortError, first_line
from sweeps.printing.secrets import hide, remember
from sweeps.storage.folder import Storage
from sweeps.storage.sqlite_uri import sqlite_uri

LOCK_SECONDS = 120.0
"""How long a driver waits for another driver that has locked the SQLite file."""

_TRIES = 30
"""How often a new storage is opened while other commands create it, too."""
_PAUSE_SECONDS = 0.1


class DatabaseError(ConfigurationError):
    """The storage of Optuna cannot be used; the message names it."""


class DatabaseLostError(DatabaseError, CutShortError):
    """The storage of Optuna could be used before, but cannot be used now."""


def url_of(storage: Storage, study_storage: str | None) -> str:
    """Return the URL of the storage of Optuna: the given one, or that of a SQLite file."""
    return study_storage or sqlite_uri(storage.root / "optuna.db")


def without_password(url: str) -> str:
    """Return the URL of a storage without its password."""
    remember(url)
    return hide(url)


def open_storage(url: str) -> RDBStorage:
    """Connect to the storage of Optuna.

    Later errors of its database are raised as `DatabaseLostError`.

    Raises:
        DatabaseError: there is no storage at this URL, or another version created it.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    lock = {"connect_args": {"timeout": LOCK_SECONDS}} if url.startswith("sqlite") else {}
    for tries_left in reversed(range(_TRIES)):
        try:
            # The database server may be restarted in the meantime.
            storage = RDBStorage(url, engine_kwargs={"pool_pre_ping": True, **lock})
            break
        except Exception as error:  # each database raises its own types
            if tries_left and _is_created_meanwhile(error):
                time.sleep(_PAUSE_SECONDS)
                continue
            message = hide(first_line(error))
            raise DatabaseError(
                f"--study-storage {without_password(url)}: cannot be used ({message})"
            ) from error

    def raise_lost(context: ExceptionContext) -> None:
        """Raise another error than Optuna, which reports every error as "invalid data"."""
        is_expected = isinstance(context.sqlalchemy_exception, IntegrityError)
        if not context.is_pre_ping and not is_expected:
            message = hide(first_line(context.original_exception))
            raise DatabaseLostError(
                f"--study-storage {without_password(url)}: cannot be used ({message}); results are "
                "kept; run the same command again to continue"
            )

    event.listen(storage.engine, "handle_error", raise_lost)
    return storage


def _is_created_meanwhile(error: Exception) -> bool:
    """Whether another command creates the tables of Optuna at the same moment.

    Optuna looks which tables are missing, and then creates them.
    """
    is_database = isinstance(error, sqlalchemy.exc.DatabaseError)
    return isinstance(error, IntegrityError) or (is_database and "already exists" in str(error))
