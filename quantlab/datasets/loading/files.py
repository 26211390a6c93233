"""Files in the data folder: checks of their names."""

from pathlib import PurePosixPath

from quantlab.errors import ConfigurationError, brief


def require_relative(owner: object, field: str) -> None:
    """Check that a field is a path relative to the data folder.

    Args:
        owner: a dataclass.
        field: name of the field.

    Raises:
        ConfigurationError: if the path is absolute, leaves the data folder, or is not text.
    """
    value = getattr(owner, field)
    if isinstance(value, str) and value:
        path = PurePosixPath(value)
        if not path.is_absolute() and ".." not in path.parts:
            return
    raise ConfigurationError(
        f"{type(owner).__name__}.{field} = {brief(value)}: must be a name within the data folder"
    )
