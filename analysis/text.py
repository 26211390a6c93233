"""Text that anybody may have written, on one line and as long as there is room."""

import unicodedata

_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})
"""Unicode's categories of what cannot be shown: control characters, marks such as those that turn
the direction of writing, lone surrogates, no letters."""
_JOINERS = "\u200c\u200d"
"""Of those, what scripts need between letters, and pictures of people."""
_SPACES = frozenset("\n\r\t\x0b\x0c\x85\u2028\u2029")


def plain(text: str) -> str:
    """A text on one line, with what cannot be shown named by its number."""
    return text if text.isprintable() else "".join(map(_letter, text))


def _letter(letter: str) -> str:
    if letter in _SPACES:
        return " "
    is_unseen = unicodedata.category(letter) in _UNSEEN and letter not in _JOINERS
    return f"[U+{ord(letter):04X}]" if is_unseen else letter


def brief(text: str, longest: int = 60) -> str:
    """The beginning of a text, with a sign that it went on."""
    return text if len(text) <= longest else f"{text[: longest - 1]}…"
