"""The names of the sweeps and studies of the release."""

import pkgutil

import sweeps.grids
import sweeps.studies

RENAMED_SWEEPS = {"mirror_descent_search": "mirror_descent_hyperparameters"}
"""Name that a sweep had in earlier releases -> its name; the first one is that of a study now."""


def named_sweeps() -> list[str]:
    """Return the names of the sweeps in `sweeps.grids`."""
    return sorted(module.name for module in pkgutil.iter_modules(sweeps.grids.__path__))


def named_studies() -> list[str]:
    """Return the names of the studies in `sweeps.studies`."""
    return sorted(module.name for module in pkgutil.iter_modules(sweeps.studies.__path__))
