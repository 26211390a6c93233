"""Describe how a reproduction differs from the original, as text and as JSON data."""

from typing import Any

from sweeps.cell import Cell
from sweeps.printing.number_of import number_of
from sweeps.reproduction.comparison import Comparison
from sweeps.storage.folder import TrialFolder
from sweeps.storage.records import Result


def lines_of(comparison: Comparison, again: TrialFolder, result: Result) -> list[str]:
    """Return a comparison as lines of text.

    Args:
        comparison: how the trainings differ.
        again: the folder of the reproduction.
        result: the result of the original.
    """
    same = "bit-identical"
    tensors = comparison.tensors
    network = f"{same} ({number_of(tensors, 'tensor')})" if tensors else "none, as before"
    epochs = f"{same} ({number_of(comparison.epochs, 'epoch')})"
    lines = [
        f"weights  {comparison.weights or network}",
        f"history  {comparison.history or epochs}",
        f"result   {comparison.result or same}",
    ]
    if not comparison.is_identical:
        found = comparison.circumstances
        lines += [f"{name} was {old}, is {new}" for name, (old, new) in found.items()]
        if not found:
            lines.append("no version, option, pack or machine is known to differ")
        if result.warning:
            lines.append(f"the original has a warning: {result.warning}")
    return [*lines, f"the new training is in {again.path}"]


def as_json(
    cell: Cell, original: TrialFolder, again: TrialFolder, result: Result, comparison: Comparison
) -> dict[str, Any]:
    """Return a comparison as JSON data; see docs/json.md."""
    return {
        "fingerprint": cell.fingerprint,
        "name": cell.name,
        "command": result.command,
        "folder": original.path,
        "reproduction": again.path,
        "identical": comparison.is_identical,
        "weights": comparison.weights,
        "history": comparison.history,
        "result": comparison.result,
        "circumstances": {
            name: {"original": old, "reproduction": new}
            for name, (old, new) in comparison.circumstances.items()
        },
    }
