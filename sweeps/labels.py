"""Labels and names: what a block, an axis, a value, a sweep or a study may be called."""

import re
import unicodedata

from quantlab import ConfigurationError
from quantlab.errors import brief

LONGEST_LABEL = 200
"""Letters; more fit into no table or figure."""

LONGEST_NAME = 100
"""Bytes of the name of a sweep, a study or an axis, as files and folders are called so."""


def require_label(value: object, what: str) -> str:
    """A label for people, on one line: any script, signs and symbols.

    Args:
        value: the label.
        what: it is, for the message, such as ``"sweep x: Block.label"``.

    Returns:
        The label; white space, line breaks included, is one space each.

    Raises:
        ConfigurationError: it is no text, is empty or too long, or has letters that cannot be seen,
            such as control characters, and marks that turn the direction of writing.
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
            f"{what} = {brief(value)}: must have 1 to {LONGEST_LABEL} letters"
            + (f", and has {len(label)}" if len(label) > LONGEST_LABEL else "")
            + (f"; {odd!r} cannot be seen" if odd is not None else "")
        )
    return label


_JOINERS = "\u200c\u200d"
"""Cannot be seen, but scripts need them between letters, and pictures of people."""


def _is_unseen(letter: str) -> bool:
    return unicodedata.category(letter) in ("Cc", "Cf", "Cs") and letter not in _JOINERS


def _quoted(value: object) -> str:
    return f"'{value}'" if isinstance(value, int | float) else "'PC'"


def require_name(value: object, what: str) -> str:
    """The name of a sweep or a study, which files, folders and experiments are called after.

    Raises:
        ConfigurationError: it is no text of letters, digits, '-' and '_', or too long.
    """
    is_name = isinstance(value, str) and value.replace("_", "").replace("-", "").isalnum()
    if not is_name or len(str(value).encode()) > LONGEST_NAME:
        raise ConfigurationError(
            f"{what} = {brief(value)}: must be letters, digits, '-' and '_', at most "
            f"{LONGEST_NAME} bytes of them"
        )
    return str(value)


def require_axis_name(value: object, what: str) -> str:
    """The name of an axis, which is part of names, tags and columns.

    Raises:
        ConfigurationError: it is none.
    """
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.-]*", value):
        raise ConfigurationError(
            f"{what} {brief(value)}: the name must be letters, digits, '_', '-' and '.'"
        )
    if len(value) > LONGEST_NAME:
        raise ConfigurationError(
            f"{what} {brief(value)}: the name must have at most {LONGEST_NAME} letters"
        )
    if value == "seed":
        raise ConfigurationError(
            f"{what} 'seed': that is what a trial's seed is called; give the seeds as `seeds`, or "
            "the axis another name"
        )
    return value


def require_text(value: object, what: str) -> str:
    """A text of any length, line breaks allowed.

    Raises:
        ConfigurationError: it is no text, or has letters that cannot be written down.
    """
    if not isinstance(value, str) or any(0xD800 <= ord(letter) <= 0xDFFF for letter in value):
        raise ConfigurationError(f"{what} = {brief(value)}: must be text")
    return value
