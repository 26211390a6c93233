"""The columns of a trial in tables: its rho0, regime, quantization set and bits."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from quantlab import Recipe
from quantlab.optim.bits import bits_of
from quantlab.quantizers.growth import takes_a_clock
from quantlab.schedules import Constant
from quantlab.tasks import Metric
from quantlab.tasks.classification import TopAccuracy
from sweeps.spec import Cell


def rho0(cell: Cell) -> float | None:
    """Return rho0, the initial sharpness, on which the analysis of sensitivity is based.

    This is the value of the sweep's axis ``rho0`` if it is a number; else the field ``rho0`` of the
    sharpness schedule, or the value of a constant schedule. None if nothing is annealed, if the
    schedule has no ``rho0``, and if the quantizer uses the sharpness as a clock only.
    """
    if (own := _number(cell.coordinates.get("rho0"))) is not None:
        return own
    quantization = cell.recipe.quantization
    if (
        quantization is None
        or not quantization.quantizer.annealed
        or not quantization.uses_prox
        or takes_a_clock(quantization.quantizer)
    ):
        return None
    sharpness = quantization.sharpness
    return (
        sharpness.value
        if isinstance(sharpness, Constant)
        else _number(getattr(sharpness, "rho0", None))
    )


def _number(value: object) -> float | None:
    """Convert a number or a label to a finite number >= 0; None for anything else."""
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return number if 0 <= number < math.inf else None


def regime(cell: Cell) -> str:
    """Return the regime in the terms of the ProxConnect paper: end-to-end or fine-tuning.

    Fine-tuning starts from trained weights.
    """
    weights = cell.recipe.initial_weights
    return "end-to-end" if weights is None or not weights.are_trained else "fine-tuning"


def level_set(cell: Cell) -> str:
    """Return the name of the quantization set; empty in full precision.

    It is the label of the sweep's axis ``set`` if there is one, and ``by layer`` if groups of
    layers have different sets.
    """
    quantization = cell.recipe.quantization
    if quantization is None:
        return ""
    if own := cell.coordinates.get("set"):
        return own
    sets = {quantizer.set_name for quantizer, _ in quantization.maps}
    return sets.pop() if len(sets) == 1 else "by layer"


def bits(recipe: Recipe, result: Mapping[str, Any]) -> float:
    """Return the bits per quantized weight; see `quantlab.training.records.Outcome`.

    NaN for older results without this number if layers have sets of different sizes.

    Args:
        recipe: the recipe of the trial.
        result: the fields of its result.
    """
    if result.get("bits") is not None:
        return float(result["bits"])
    quantization = recipe.quantization
    if quantization is None:
        return 32.0
    quantizers = [quantizer for quantizer, _ in quantization.maps]
    found = {bits_of(quantizer) for quantizer in quantizers}
    return found.pop() if len(found) == 1 else math.nan


def network_bits(recipe: Recipe, result: Mapping[str, Any]) -> float:
    """Return the bits per stored number; see `quantlab.training.records.Outcome`.

    NaN for older results of quantized networks, which do not have this number.

    Args:
        recipe: the recipe of the trial.
        result: the fields of its result.
    """
    if result.get("network_bits") is not None:
        return float(result["network_bits"])
    return 32.0 if recipe.quantization is None else math.nan


def main_metric(cells: Sequence[Cell]) -> Metric:
    """Return the main metric of the first trial's task; the accuracy without trials."""
    return cells[0].recipe.task.metrics[0] if cells else TopAccuracy()


def classes(recipe: Recipe) -> int | None:
    """Return the number of classes of the dataset; None if it depends on the images."""
    dimensions = recipe.dataset.dimensions
    return None if dimensions is None else dimensions.num_classes
