"""Notes of a plan on the networks of its trials, which are kept with the trials."""

from collections.abc import Sequence
from itertools import chain
from pathlib import Path

from sweeps.cell import Cell, fact

_NOTES = f"{__name__}.notes without files"
"""Name of a fact of a cell; see `Cell.facts`."""


def plan_notes(cells: Sequence[Cell], data_dir: Path) -> list[str]:
    """Return the notes of `check_without_data`, which is only called if they are not known yet.

    Args:
        cells: the trials of a plan.
        data_dir: folder of the datasets.

    Raises:
        ConfigurationError: see `check_without_data`.
    """
    depend_on_files = any(
        files and all((data_dir / name).exists() for name in files)
        for files in map(_files_of_dimensions, cells)
    )
    if not depend_on_files and all(_NOTES in cell.facts for cell in cells):
        notes: list[list[str]] = [cell.facts[_NOTES] for cell in cells]
    else:
        from sweeps.planning.preflight import notes_by_cell

        notes = notes_by_cell(cells, data_dir)
        if not depend_on_files:
            for cell, lines in zip(cells, notes, strict=True):
                cell.facts[_NOTES] = lines
    return list(dict.fromkeys(chain.from_iterable(notes)))


@fact
def _files_of_dimensions(cell: Cell) -> list[str]:
    """Return the files that the dimensions of the dataset are read from; none if they are known."""
    dataset = cell.recipe.dataset
    return [] if dataset.dimensions is not None else list(dataset.files)
