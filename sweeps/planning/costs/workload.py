"""Workload: the settings of a trial on which its time depends."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import Any

from sweeps.cell import Cell, fact
from sweeps.storage.folder import TrialFolder
from sweeps.storage.record_files import read_text
from sweeps.storage.sealed_json import DamagedError


@dataclass(frozen=True, kw_only=True)
class Workload:
    """The settings of a trial on which its time depends, as plain values."""

    what: str
    """Model and dataset, such as ``"ConvNet on Digits"``."""
    network: str
    """Digest of the network, the dataset, the batch size and the teacher: of all that the time of a
    gradient step depends on most."""
    is_quantized: bool
    """Whether weights are quantized."""
    epochs: int
    """Epochs of the first stage."""
    batchnorm_epochs: int
    """Epochs of the second stage."""
    steps_per_epoch: int | None
    """Gradient steps of an epoch; None for a pass over the training images."""
    batch_size: int
    """Images of a gradient step."""

    @property
    def length(self) -> str:
        """The number of epochs, such as ``"30 + 10 epochs of 500 steps"``."""
        epochs = f"{self.epochs} epoch{'s' * (self.epochs != 1)}"
        if self.batchnorm_epochs:
            epochs = f"{self.epochs} + {self.batchnorm_epochs} epochs"
        steps = self.steps_per_epoch
        return epochs if steps is None else f"{epochs} of {steps} step{'s' * (steps != 1)}"


def workload_of(cell: Cell) -> Workload:
    """Return the workload of a trial.

    Args:
        cell: a trial of a sweep or a study.
    """
    return Workload(**_values(cell))


@fact
def _values(cell: Cell) -> dict[str, Any]:
    """Return the values of the workload of a trial."""
    from quantlab.canonical import canonical

    recipe = cell.recipe
    data = {name: canonical(getattr(recipe, name)) for name in _FIELDS}
    return asdict(_workload(data, f"{recipe.model.name} on {recipe.dataset.name}"))


def recorded_workload(folder: TrialFolder) -> Workload | None:
    """Return the workload of a trial by the recipe in its folder; None if it cannot be read.

    Args:
        folder: the folder of the trial, which may be of another sweep.
    """
    try:
        data = json.loads(read_text(folder.recipe) or "")["recipe"]
        return _workload(_IN_OLDER_RECIPES | data, "another trial")
    except (DamagedError, ValueError, KeyError, TypeError):
        return None


_FIELDS = (
    "model",
    "dataset",
    "batch_size",
    "accumulation",
    "distillation",
    "quantization",
    "epochs",
    "batchnorm_epochs",
    "steps_per_epoch",
)
"""Fields of a recipe on which its workload depends."""
_IN_OLDER_RECIPES = {"accumulation": 1, "distillation": None, "steps_per_epoch": None}
"""Values of fields that older recipes do not have."""


def _workload(data: Mapping[str, Any], what: str) -> Workload:
    """Return the workload of a recipe whose fields have their canonical form."""
    teacher = data["distillation"] and (data["distillation"]["model"] or data["model"])
    settings = [data[name] for name in ("model", "dataset", "batch_size", "accumulation")]
    key = json.dumps([*settings, teacher], sort_keys=True)
    return Workload(
        what=what,
        network=sha256(key.encode()).hexdigest()[:16],
        is_quantized=data["quantization"] is not None,
        epochs=data["epochs"],
        batchnorm_epochs=data["batchnorm_epochs"],
        steps_per_epoch=data["steps_per_epoch"],
        batch_size=data["batch_size"],
    )
