"""Optuna's storage: connecting to it, and what it raises in one line."""

import optuna
from optuna.storages import RDBStorage
from sqlalchemy import event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import IntegrityError

from quantlab import ConfigurationError
from quantlab.errors import CutShortError, first_line
from sweeps.secrets import hide, remember
from sweeps.storage.folder import Storage
from sweeps.storage.sqlite_uri import sqlite_uri

_TURN_SECONDS = 120.0
"""Several drivers wait so long for one another's turn at a SQLite file."""


class DatabaseError(ConfigurationError):
    """Optuna's storage cannot be used; the message names it."""


class DatabaseLostError(DatabaseError, CutShortError):
    """It cannot be used any more, or not now."""


def url_of(storage: Storage, study_storage: str | None) -> str:
    """Of Optuna's storage: the given one, or a SQLite file."""
    return study_storage or sqlite_uri(storage.root / "optuna.db")


def shown(url: str) -> str:
    """A storage's URL without its password."""
    remember(url)
    return hide(url)


def open_storage(url: str) -> RDBStorage:
    """Connect to Optuna's storage; what its database raises later is a `DatabaseLostError`.

    Raises:
        DatabaseError: there is none at that URL, or it is of another version.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    turn = {"connect_args": {"timeout": _TURN_SECONDS}} if url.startswith("sqlite") else {}
    try:
        # A server may start anew meanwhile.
        storage = RDBStorage(url, engine_kwargs={"pool_pre_ping": True, **turn})
    except Exception as error:  # each kind of database raises its own
        raise DatabaseError(
            f"--study-storage {shown(url)}: cannot be used ({hide(first_line(error))})"
        ) from error

    def name_it(context: ExceptionContext) -> None:
        """Whatever Optuna does next: it says of each of them that there is "invalid data"."""
        is_expected = isinstance(context.sqlalchemy_exception, IntegrityError)
        if not context.is_pre_ping and not is_expected:
            says = hide(first_line(context.original_exception))
            raise DatabaseLostError(
                f"--study-storage {shown(url)}: cannot be used ({says}); what has finished is "
                "kept, and the same command goes on once it can"
            )

    event.listen(storage.engine, "handle_error", name_it)
    return storage
