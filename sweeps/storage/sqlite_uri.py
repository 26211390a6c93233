"""The URI of a SQLite file, also if its path has special characters."""

from pathlib import Path

from quantlab import ConfigurationError


def sqlite_uri(path: Path) -> str:
    """Return the URI of a SQLite file for SQLAlchemy.

    Raises:
        ConfigurationError: the path has a character with a special meaning in a URI, which this
            version of SQLAlchemy cannot quote.
    """
    from sqlalchemy.engine import make_url  # workers do not need it

    text = str(path)
    for written in (text, text.replace("%", "%25").replace("?", "%3F")):
        if make_url(f"sqlite:///{written}").database == text:
            return f"sqlite:///{written}"
    raise ConfigurationError(
        f"--storage {path.parent}: this version of SQLAlchemy does not support '?' and '%' in the "
        "path of a SQLite file; give another folder"
    )
