"""Files in the data folder: their names in recipes, and images."""

from pathlib import Path, PurePosixPath

from PIL import Image

from quantlab.errors import ConfigurationError, first_line


def require_relative(owner: object, field: str) -> None:
    """A recipe names files within the data folder, never a path of a machine.

    Raises:
        ConfigurationError: the field of `owner` is not such a name.
    """
    value = getattr(owner, field)
    if isinstance(value, str) and value:
        path = PurePosixPath(value)
        if not path.is_absolute() and ".." not in path.parts:
            return
    raise ConfigurationError(
        f"{type(owner).__name__}.{field} = {value!r}: must be a name within the data folder"
    )


def read_image(path: Path | str) -> Image.Image:
    """An image file, decoded, as RGB.

    Raises:
        ConfigurationError: it is not a readable image.
    """
    try:
        with Image.open(path) as image:
            return image.convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ConfigurationError(f"{path}: not a readable image ({first_line(error)})") from error
