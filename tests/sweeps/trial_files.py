"""Records of trials that were never trained."""

from typing import Any

from quantlab import Stage
from sweeps.storage import TrialState
from sweeps.storage.records import Epoch, Result


def ended(state: TrialState = TrialState.COMPLETE, **details: Any) -> Result:
    """A result that is made up."""
    if state is TrialState.COMPLETE:
        details = {"test_accuracy": 0.5} | details
    return Result(**({"state": state, "time": 0.0, "epochs": 0} | by_split(details)))


def by_split(details: dict[str, Any]) -> dict[str, Any]:
    """Metrics under the names that files have, as the mappings of a record."""
    kept, splits = {}, {}
    for name, value in details.items():
        split, _, metric = name.partition("_")
        if split in ("validation", "test") and metric:
            splits.setdefault(split, {}).update({} if value is None else {metric: value})
        else:
            kept[name] = value
    return kept | splits


def epoch(number: int, **details: Any) -> Epoch:
    """A line of a history that is made up."""
    settings: dict[str, Any] = {
        "stage": Stage.QUANTIZE,
        "epoch": number,
        "step": 10 * number,
        "learning_rate": 0.1,
        "sharpness": 1.0,
        "train_loss": 1 / number,
        "validation_accuracy_latent": 0.5,
        "validation_accuracy_proximal": 0.5,
        "validation_accuracy_hard": 0.5,
        "quantization_gap": 0.0,
        "seconds": 1.0,
        "time": 1000.0 + number,
    }
    return Epoch(**by_split(settings | details))
