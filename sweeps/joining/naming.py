"""The name of the report on several sources."""

import hashlib
from collections.abc import Sequence

_LONGEST = 60
_AND = "-and-"


def joined_name(names: Sequence[str]) -> str:
    """Return the name of the report on several sources: ``digits-and-mine``.

    Args:
        names: short names of the sources; their order has no effect.
    """
    names = sorted(dict.fromkeys(names))
    whole = _AND.join(names)
    if len(whole) <= _LONGEST:
        return whole
    digest = hashlib.sha256("\n".join(names).encode()).hexdigest()[:8]
    return f"{names[0][: _LONGEST - 30]}{_AND}{len(names) - 1}-more-{digest}"
