"""The names of the sweeps and studies of the release, and suggestions for unknown names."""

import difflib
import pkgutil
from collections.abc import Iterable

import sweeps.grids
import sweeps.studies


def named_sweeps() -> list[str]:
    """Return the names of the sweeps in `sweeps.grids`."""
    return sorted(module.name for module in pkgutil.iter_modules(sweeps.grids.__path__))


def named_studies() -> list[str]:
    """Return the names of the studies in `sweeps.studies`."""
    return sorted(module.name for module in pkgutil.iter_modules(sweeps.studies.__path__))


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return text such as `` (did you mean 'digits'?)``, or empty text if no name is similar.

    Args:
        name: an unknown name.
        known: the known names.
    """
    alike = difflib.get_close_matches(name, known, n=1, cutoff=0.7)
    return f" (did you mean {alike[0]!r}?)" if alike else ""
