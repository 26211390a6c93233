"""Check labels of blocks and values, and names of axes, sweeps and studies."""

import re
import unicodedata

from quantlab import ConfigurationError
from quantlab.errors import brief

LONGEST_LABEL = 200
"""Maximum number of characters of a label; more do not fit into tables and figures."""

LONGEST_NAME = 100
"""Maximum number of bytes of a name, which becomes part of file names."""


def require_label(value: object, what: str) -> str:
    """Check a label, which may have characters of any script, and symbols.

    Args:
        value: the label.
        what: name of the field for the message, such as ``"sweep x: Block.label"``.

    Returns:
        The label, with a single space in place of any white space, such as line breaks.

    Raises:
        ConfigurationError: the value is not text, is empty or too long, or has invisible
            characters, such as control characters and marks of the writing direction.
    """
    if not isinstance(value, str):
        raise ConfigurationError(
            f"{what} = {brief(value)}: must be text, such as {_quoted(value)}, not "
            f"{type(value).__name__}"
        )
    label = " ".join(value.split())
    odd = next((letter for letter in label if _is_unseen(letter)), None)
    if not label or odd is not None or len(label) > LONGEST_LABEL:
        raise ConfigurationError(
            f"{what} = {brief(value)}: must have 1 to {LONGEST_LABEL} characters"
            + (f", but has {len(label)}" if len(label) > LONGEST_LABEL else "")
            + (f"; remove {odd!r}, which is invisible" if odd is not None else "")
        )
    return label


_JOINERS = "\u200c\u200d"
"""Invisible characters that some scripts need between letters, and some emoji."""


def _is_unseen(letter: str) -> bool:
    return unicodedata.category(letter) in ("Cc", "Cf", "Cs") and letter not in _JOINERS


def _quoted(value: object) -> str:
    return f"'{value}'" if isinstance(value, int | float) else "'PC'"


def label_of_number(number: float) -> str:
    """Return the shortest exact label of a number, such as ``0.01``: no two numbers share one."""
    short = f"{number:g}" if abs(number) < 1e300 else ""
    return short if short and float(short) == number else repr(number)


def require_name(value: object, what: str) -> str:
    """Check the name of a sweep or a study, which is used for files, folders and experiments.

    Args:
        value: the name.
        what: name of the field, for the message.

    Returns:
        The name.

    Raises:
        ConfigurationError: the value is not text of letters, digits, '-' and '_', or is too long.
    """
    is_name = isinstance(value, str) and value.replace("_", "").replace("-", "").isalnum()
    if not is_name or len(str(value).encode()) > LONGEST_NAME:
        raise ConfigurationError(
            f"{what} = {brief(value)}: must be text of letters, digits, '-' and '_', with at most "
            f"{LONGEST_NAME} bytes"
        )
    return str(value)


def require_axis_name(value: object, what: str) -> str:
    """Check the name of an axis, which is part of names, tags and columns.

    Args:
        value: the name.
        what: start of the message, such as ``"axis"``.

    Returns:
        The name.

    Raises:
        ConfigurationError: the value is not a valid name, or is ``"seed"``.
    """
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.-]*", value):
        raise ConfigurationError(
            f"{what} {brief(value)}: the name must start with a letter or '_', and have only "
            "letters, digits, '_', '-' and '.'"
        )
    if len(value) > LONGEST_NAME:
        raise ConfigurationError(
            f"{what} {brief(value)}: the name must have at most {LONGEST_NAME} characters"
        )
    if value == "seed":
        raise ConfigurationError(
            f"{what} 'seed': the name is reserved for the seed of a trial; set `seeds`, or give "
            "the axis another name"
        )
    return value


def require_text(value: object, what: str) -> str:
    """Check a text of any length, which may have line breaks.

    Args:
        value: the text.
        what: name of the field, for the message.

    Returns:
        The text.

    Raises:
        ConfigurationError: the value is not text, or cannot be encoded as UTF-8.
    """
    if not isinstance(value, str) or any(0xD800 <= ord(letter) <= 0xDFFF for letter in value):
        raise ConfigurationError(f"{what} = {brief(value)}: must be text")
    return value
