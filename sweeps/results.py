"""From trial folders to the tables of `analysis.schema`."""

import math
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import pandas as pd

from analysis.schema import AXIS_PREFIX, HISTOGRAMS, HISTORY, RECIPE_PREFIX, TRIALS, TRIALS_MAY_HAVE
from quantlab import Recipe, flatten
from quantlab.quantization_sets import set_name
from quantlab.quantizers.growth import takes_a_clock
from quantlab.schedules import Constant
from sweeps.sealed_json import plain
from sweeps.spec import Cell, SweepSpec
from sweeps.storage import Storage, TrialState


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
    """Bits a quantized weight; see `quantlab.records.Outcome`.

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
    """Bits of a number that the network stores; see `quantlab.records.Outcome`.

    NaN of a quantized network whose result does not say.
    """
    if result.get("network_bits") is not None:
        return float(result["network_bits"])
    return 32.0 if recipe.quantization is None else math.nan


def classes(recipe: Recipe) -> int | None:
    """Classes of the dataset, as far as it can tell without its images."""
    dimensions = recipe.dataset.dimensions
    return None if dimensions is None else dimensions.num_classes


_OF_RESULTS = ("training_images", "pack", "execution", "device")
"""What a result tells of itself and tables show; missing in those of earlier releases."""


def trials_frame(sweep: SweepSpec, storage: Storage) -> pd.DataFrame:
    """One row for every cell of a sweep, finished or not."""
    core = ("method", "set", "rho0", "seed")
    rows = []
    for cell in sweep.cells:
        folder = storage.trial(cell.fingerprint)
        state = folder.state()
        result = folder.result.read()
        values = {} if result is None else result.as_mapping()
        history = folder.read_history()
        rows.append(
            {
                "sweep": sweep.name,
                "trial_id": cell.fingerprint,
                "configuration_id": cell.configuration_id,
                "name": cell.name,
                "dataset": cell.recipe.dataset.name,
                "model": cell.recipe.model.name,
                "regime": regime(cell),
                "method": cell.method,
                "set": level_set(cell),
                "rho0": rho0(cell),
                "seed": cell.recipe.seed,
                "state": state.value,
                "validation_accuracy": result and result.validation_accuracy,
                "test_accuracy": result and result.test_accuracy,
                "epochs": history.leading if result is None else result.epochs,
                "seconds": history.seconds,
                "git_commit": "" if result is None else result.git_commit,
                "bits": bits(cell.recipe, values),
                "network_bits": network_bits(cell.recipe, values),
                "classes": values.get("classes") or classes(cell.recipe),
                **{name: values.get(name) for name in _OF_RESULTS},
                **{
                    f"{AXIS_PREFIX}{axis}": label
                    for axis, label in cell.coordinates.items()
                    if axis not in core or (axis == "rho0" and rho0(cell) is None)
                },
                **{f"{RECIPE_PREFIX}{key}": value for key, value in flatten(cell.recipe).items()},
            }
        )
    frame = pd.DataFrame(rows)
    known = {**TRIALS, **TRIALS_MAY_HAVE}
    numbers = [name for name, (kind, _) in known.items() if kind != "text" and name in frame]
    numbers.remove("seed")  # whole, and not exact as a float if it is very large
    frame[numbers] = frame[numbers].astype(float)
    axes = [column for column in frame.columns if column.startswith(AXIS_PREFIX)]
    frame[axes] = frame[axes].fillna("")
    return frame


def history_frame(sweep: SweepSpec, storage: Storage) -> pd.DataFrame:
    """One row for every epoch of every trial of a sweep."""
    rows = [
        {"trial_id": cell.fingerprint, **plain(record)}
        for cell in sweep.cells
        for record in storage.trial(cell.fingerprint).read_history()
    ]
    return pd.DataFrame(rows, columns=list(HISTORY))


def histograms_frame(
    sweep: SweepSpec, storage: Storage, configurations: Collection[str]
) -> pd.DataFrame:
    """Each configuration's weights after each epoch with a histogram, of its first COMPLETE trial.

    Args:
        sweep: whose trials.
        storage: where they are.
        configurations: ids of those that are wanted.
    """
    wanted = set(configurations)
    frames = []
    for cell in sweep.cells:
        if cell.configuration_id not in wanted:
            continue
        folder = storage.trial(cell.fingerprint)
        if folder.state() is not TrialState.COMPLETE:
            continue
        wanted.remove(cell.configuration_id)
        for record in folder.read_history():
            if (histogram := record.weight_histogram) is None:
                continue
            counts = np.array(histogram.counts, dtype=float)
            weights = np.linspace(histogram.low, histogram.high, len(counts))
            frames.append(
                pd.DataFrame(
                    {
                        "configuration_id": cell.configuration_id,
                        "trial_id": cell.fingerprint,
                        "epoch": record.epoch,
                        "weight": weights,
                        "fraction": counts / max(counts.sum(), 1),
                    }
                )
            )
    return pd.concat(frames) if frames else pd.DataFrame(columns=list(HISTOGRAMS))
