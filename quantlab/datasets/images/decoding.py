"""Image files, decoded as upright RGB."""

import struct
from pathlib import Path

from PIL import ExifTags, Image, ImageOps

from quantlab.errors import ConfigurationError, first_line

_EIGHT_BITS = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV")
"""Pillow's modes of at most 8 bits per channel, which convert to RGB unambiguously."""


def read_image(path: Path | str) -> Image.Image:
    """Decode an image file as upright RGB with 8 bits per channel.

    Grey, palette and CMYK images are converted. Rotation and mirroring in the EXIF data are
    applied. Images without a unique conversion are refused: more than 8 bits per channel,
    transparent pixels, and several images in one file.

    Raises:
        ConfigurationError: if the file is not a readable image, or is refused.
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
    """Return why an image has no unique conversion to RGB; None if it has one."""
    if image.mode not in _EIGHT_BITS:
        return (
            f"does not have 8 bits per channel (Pillow's mode {image.mode}); convert it to 8-bit "
            "grey or RGB"
        )
    # An MPO file of a camera holds the image, followed by previews.
    if image.format != "MPO" and (frames := getattr(image, "n_frames", 1)) > 1:
        return f"holds {frames} images; save one of them as a file of its own"
    has_alpha = image.mode in ("LA", "PA", "RGBA") or "transparency" in image.info
    if has_alpha and image.convert("RGBA").getchannel("A").getextrema() != (255, 255):
        return "has transparent pixels, whose colour is undefined; save it with a background"
    return None


def _upright(image: Image.Image) -> Image.Image:
    try:
        turned = image.getexif().get(ExifTags.Base.Orientation, 1) != 1
    except (OSError, SyntaxError, ValueError, KeyError, TypeError, struct.error):
        return image  # the EXIF data is damaged
    return ImageOps.exif_transpose(image) if turned else image
