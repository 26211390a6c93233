"""The axes by which the trials of a sweep are chosen: name -> label."""

from sweeps.cell import Cell, fact
from sweeps.labels import label_of_number


@fact
def axes_of(cell: Cell) -> dict[str, str]:
    """Return the axes of a trial: those of its sweep, and the columns that all trials have.

    An axis of the sweep has precedence over a column of the same name. A trial in full precision
    has no ``set``, and a trial in which nothing is annealed has no ``rho0``.
    """
    from sweeps.coordinates import level_set, regime, rho0

    sharpness = rho0(cell)
    found = {
        "method": cell.method,
        "block": cell.block,
        "set": level_set(cell),
        "rho0": "" if sharpness is None else label_of_number(sharpness),
        **cell.coordinates,
        "seed": str(cell.seed),
    }
    further = {
        "regime": regime(cell),
        "model": cell.recipe.model.name,
        "dataset": cell.recipe.dataset.name,
    }
    return {name: label for name, label in (found | further | found).items() if label}
