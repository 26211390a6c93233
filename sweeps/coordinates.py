"""Coordinates of a trial in tables: its rho0, regime, quantization set, and bits."""

import math
from collections.abc import Mapping
from typing import Any

from quantlab import Recipe
from quantlab.quantization_sets import set_name
from quantlab.quantizers.growth import takes_a_clock
from quantlab.schedules import Constant
from sweeps.spec import Cell


def rho0(cell: Cell) -> float | None:
    """How strongly weights are drawn to the set: the rho0 that sensitivity is about.

    It is what the sweep's axis ``rho0`` says, if there is one of numbers; else the schedule's field
    of that name, or its constant. None where nothing is annealed while training, where the schedule
    has no rho0, and where the map takes it as a clock for laws of its own.
    """
    if (own := _number(cell.coordinates.get("rho0"))) is not None:
        return own
    quantization = cell.recipe.quantization
    if (
        quantization is None
        or not quantization.quantizer.annealed
        or not quantization.rule.uses_prox
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
    """A finite number >= 0, also as a label has it; None for anything else."""
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return number if 0 <= number < math.inf else None


def regime(cell: Cell) -> str:
    """As the ProxConnect paper has them: fine-tuning starts from trained weights."""
    return "end-to-end" if cell.recipe.initial_weights is None else "fine-tuning"


def level_set(cell: Cell) -> str:
    """The name of the quantization set, as the sweep has it; empty in full precision.

    Where groups of layers have others than the rest, no set has a name for all: it is ``by layer``.
    """
    quantization = cell.recipe.quantization
    if quantization is None:
        return ""
    if own := cell.coordinates.get("set"):
        return own
    sets = {group.quantizer.levels for group in quantization.groups}
    sets.add(quantization.quantizer.levels)
    return set_name(sets.pop()) if len(sets) == 1 else "by layer"


def bits(recipe: Recipe, result: Mapping[str, Any]) -> float:
    """Bits a quantized weight; see `quantlab.training.records.Outcome`.

    NaN where layers have sets of different sizes, and the trial's result does not say what share
    each has of the network.
    """
    if result.get("bits") is not None:
        return float(result["bits"])
    quantization = recipe.quantization
    if quantization is None:
        return 32.0
    quantizers = [quantization.quantizer, *(group.quantizer for group in quantization.groups)]
    sizes = {len(quantizer.levels) for quantizer in quantizers}
    return math.log2(sizes.pop()) if len(sizes) == 1 else math.nan


def network_bits(recipe: Recipe, result: Mapping[str, Any]) -> float:
    """Bits of a number that the network stores; see `quantlab.training.records.Outcome`.

    NaN of a quantized network whose result does not say.
    """
    if result.get("network_bits") is not None:
        return float(result["network_bits"])
    return 32.0 if recipe.quantization is None else math.nan


def classes(recipe: Recipe) -> int | None:
    """Classes of the dataset, as far as it can tell without its images."""
    dimensions = recipe.dataset.dimensions
    return None if dimensions is None else dimensions.num_classes
