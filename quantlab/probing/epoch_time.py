"""Measurement of the time of an epoch, by training a part of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch

from quantlab.execution import DEFAULT_EXECUTION, Execution
from quantlab.packs.run import PackedRun
from quantlab.probing.pack_sizes import seconds_a_step
from quantlab.probing.untrained import without_trained_weights
from quantlab.recipe import Recipe
from quantlab.training.records import Stage
from quantlab.training.run import VALIDATED

EVALUATION = 1 / 3
"""Time of an evaluated image as a share of that of a trained one, which has a backward pass too."""


@dataclass(frozen=True)
class EpochTime:
    """The time of an epoch in the first stage."""

    seconds: float
    """Seconds of each trial of the pack, evaluation included."""
    steps: int
    """Gradient steps of the epoch."""
    images: int
    """Number of training images."""


def measure_epoch(
    recipes: Sequence[Recipe],
    *,
    data_dir: Path = Path("data"),
    device: str = "cpu",
    execution: Execution = DEFAULT_EXECUTION,
    seconds: float = 1.0,
) -> EpochTime:
    """Train steps of a pack for a short time, and return the time of an epoch.

    An epoch that takes no longer than the measurement is trained to its end. The evaluation of a
    longer one is estimated from its gradient steps. This sets torch's number of threads in the
    process, and the modes of `Execution.prepare`.

    Args:
        recipes: recipes that can be trained as one pack; a single one is trained alone.
        data_dir: folder of datasets and weights.
        device: a torch device.
        execution: options of the computation.
        seconds: duration of the measurement, without its start.

    Raises:
        ConfigurationError: data is missing, or see `PackedRun`.
        NonFiniteLossError: if a trial diverges.
    """
    torch.set_num_threads(execution.threads)
    # Weights of other networks may not exist yet, and do not change the speed.
    fresh = [without_trained_weights(recipe) for recipe in recipes]

    def pack() -> PackedRun:
        return PackedRun(fresh, data_dir=data_dir, device=device, execution=execution)

    first = pack()
    run = first.members[0]
    points = len(VALIDATED) if run.is_quantizing else 1
    evaluated = EVALUATION * points * len(run.splits.validation) / run.recipe.batch_size
    whole = seconds_a_step(first, seconds) * (run.steps_per_epoch + evaluated)
    taken = whole / len(fresh)
    if whole <= seconds:
        taken = _second_epoch(pack()) or taken
    return EpochTime(taken, run.steps_per_epoch, len(run.splits.train))


def _second_epoch(pack: PackedRun) -> float | None:
    """Return the seconds of the second epoch for each trial; the first one has the start in it."""
    found = None
    for event in islice(pack, 2 * len(pack.members)):
        if event.record is not None and event.record.stage is Stage.QUANTIZE:
            found = event.record.seconds
    return found
