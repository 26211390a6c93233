"""Text from outside, such as the names in a table: on one line, shortened, or compared."""

import re
import unicodedata

_INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})
"""Unicode categories without a visible form: control and format characters, lone surrogates,
private-use and unassigned code points."""
_JOINERS = "\u200c\u200d"
"""Format characters that some scripts and emoji need between letters."""
_SPACES = frozenset("\n\r\t\x0b\x0c\x85\u2028\u2029")


def plain(text: str) -> str:
    """The text on one line, with invisible characters as code points, such as ``[U+200B]``."""
    return text if text.isprintable() else "".join(map(_letter, text))


def _letter(letter: str) -> str:
    if letter in _SPACES:
        return " "
    is_invisible = unicodedata.category(letter) in _INVISIBLE and letter not in _JOINERS
    return f"[U+{ord(letter):04X}]" if is_invisible else letter


def brief(text: str, longest: int = 60) -> str:
    """The text, cut to `longest` letters; an ellipsis marks the cut."""
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def folded(name: str) -> str:
    """A name in lower case without punctuation: ``cifar10`` for CIFAR-10 and CIFAR10."""
    return re.sub(r"[^a-z0-9]", "", name.lower())
