"""The name of the report on several sources."""

import hashlib
from collections.abc import Sequence

_LONGEST = 60
_AND = "-and-"


def joined_name(
    names: Sequence[str], places: Sequence[str] = (), *, is_ambiguous: bool = False, by: str = ""
) -> str:
    """Return the name of the report on several sources: ``digits-and-mine``.

    Args:
        names: short names of the sources; their order has no effect.
        places: absolute paths of the sources, or names of those that are no files. A digest of them
            is part of the name if two sources have the same short name.
        is_ambiguous: whether the digest is part of the name anyway.
        by: ``sweep`` or ``tag`` if the report keeps their trials apart, or empty.
    """
    short = sorted(dict.fromkeys(names))
    whole = _AND.join(short)
    if len(whole) > _LONGEST:
        whole = f"{short[0][: _LONGEST - 30]}{_AND}{len(short) - 1}-more-{_digest(short)}"
    if is_ambiguous or len(short) < len(names):
        whole += f"-{_digest(sorted(places))}"
    return whole + (f"-by-{by}" if by else "")


def _digest(texts: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:8]
