"""Files in the data folder: their names in recipes, and images."""

import struct
from pathlib import Path, PurePosixPath

from PIL import ExifTags, Image, ImageOps

from quantlab.errors import ConfigurationError, brief, first_line

_EIGHT_BITS = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV")
"""Pillow's modes of at most 8 bits a channel, which become RGB without a guess."""


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
        f"{type(owner).__name__}.{field} = {brief(value)}: must be a name within the data folder"
    )


def read_image(path: Path | str) -> Image.Image:
    """An image file, decoded, as RGB of 8 bits a channel, the right way up.

    Grey, palette and CMYK images are converted; an image whose EXIF data says that it lies on its
    side or is mirrored is turned. What would have to be guessed is refused: more than 8 bits of
    grey, pixels that are not opaque, and several pictures in one file.

    Raises:
        ConfigurationError: it is not a readable image, or is refused.
    """
    try:
        with Image.open(path) as image:
            if (why := _ambiguity(image)) is not None:
                raise ConfigurationError(f"{path}: {why}")
            return _upright(image).convert("RGB")
    except ConfigurationError:
        raise
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ConfigurationError(f"{path}: not a readable image ({first_line(error)})") from error


def _ambiguity(image: Image.Image) -> str | None:
    """Why there is more than one way to see it as RGB; None if there is but one."""
    if image.mode not in _EIGHT_BITS:
        return (
            f"has more than 8 bits a channel, or none (Pillow's mode {image.mode}); "
            "convert it to 8-bit grey or RGB"
        )
    # A camera's MPO holds the picture and, behind it, others to help viewers.
    if image.format != "MPO" and (frames := getattr(image, "n_frames", 1)) > 1:
        return f"holds {frames} pictures; save the one that is meant as a file of its own"
    has_alpha = image.mode in ("LA", "PA", "RGBA") or "transparency" in image.info
    if has_alpha and image.convert("RGBA").getchannel("A").getextrema() != (255, 255):
        return "has transparent pixels, whose colour is not defined; put it on a background"
    return None


def _upright(image: Image.Image) -> Image.Image:
    try:
        turned = image.getexif().get(ExifTags.Base.Orientation, 1) != 1
    except (OSError, SyntaxError, ValueError, KeyError, TypeError, struct.error):
        return image  # its EXIF data is damaged, and says nothing
    return ImageOps.exif_transpose(image) if turned else image
