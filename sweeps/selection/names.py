"""Names of changed sweeps, and of the folders of reports on them."""

import hashlib
import re
from collections.abc import Sequence

_LONGEST = 60
"""Characters of an ending."""
_WORDS = {
    "!=": "-not-",
    ">=": "-from-",
    "<=": "-to-",
    ">": "-above-",
    "<": "-below-",
    "=": "-",
    "|": "-or-",
    ":": "-",
}
"""Operators of conditions, the longer ones first, and the sign between a module and a name."""


def part_name(
    name: str, only: Sequence[str], seeds: str | None = None, where: Sequence[str] = ()
) -> str:
    """Return the name of the report on a part of the trials of a sweep or table.

    Args:
        name: name of the sweep or table.
        only: conditions on the trials.
        seeds: the seeds of the trials; None for those of the sweep.
        where: conditions on the columns of the table of trials.
    """
    parts = [f"seeds-{seeds}"] * (seeds is not None) + [f"only-{text}" for text in only]
    parts += [f"where-{text}" for text in where]
    return name_with(name, *parts) if parts else name


def name_with(name: str, *differences: str) -> str:
    """Return a name with an ending that tells what is different, such as ``digits-epochs-5``.

    Args:
        name: name of a sweep.
        differences: what is different from the sweep, such as ``epochs=5``. Those with special
            characters, and long ones, get a digest, so that different ones have different names.
    """
    text = ",".join(differences)
    ending = text
    for symbol, word in _WORDS.items():
        ending = ending.replace(symbol, word)
    ending = re.sub(r"[^A-Za-z0-9_-]+", "_", ending).strip("_-")
    if len(ending) > _LONGEST or not re.fullmatch(r"[\w.,:!<>=|-]+", text, flags=re.ASCII):
        digest = hashlib.sha256(text.encode()).hexdigest()[:8]
        ending = f"{ending[: _LONGEST - 10]}-{digest}".strip("-")
    return f"{name}-{ending}"
