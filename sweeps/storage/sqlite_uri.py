"""The URI of a SQLite file, whatever letters its path has."""

from pathlib import Path

from quantlab import ConfigurationError


def sqlite_uri(path: Path) -> str:
    """As SQLAlchemy takes it.

    Raises:
        ConfigurationError: the path has a letter that means something else in a URI, and this
            SQLAlchemy knows no way to write it.
    """
    from sqlalchemy.engine import make_url  # workers need none of it

    text = str(path)
    for written in (text, text.replace("%", "%25").replace("?", "%3F")):
        if make_url(f"sqlite:///{written}").database == text:
            return f"sqlite:///{written}"
    raise ConfigurationError(
        f"--storage {path.parent}: the path of a SQLite file cannot have '?' or '%' with this "
        "version of SQLAlchemy; give another folder"
    )
