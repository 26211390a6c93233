"""BestNetwork: the network of the best epoch so far, for recipes that select it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from quantlab.training.checkpoint import own_copy


@dataclass(frozen=True)
class BestNetwork:
    """The finished network of the epoch with the highest accuracy on the validation images."""

    epoch: int
    """Number of the epoch, counted from 1 over both stages."""
    accuracy: float
    """Accuracy of the network on the validation images, in [0, 1]."""
    weights: Mapping[str, Tensor]
    """State dict of the network: its hard weights, or those of training in full precision, with the
    statistics of batch normalization that belong to them."""

    @classmethod
    def taken_from(cls, model: nn.Module, epoch: int, accuracy: float) -> "BestNetwork":
        """Copy the network that a model is now."""
        return cls(epoch, accuracy, own_copy(model.state_dict()))

    def state_dict(self) -> dict[str, Any]:
        """Return the fields for a checkpoint."""
        return {"epoch": self.epoch, "accuracy": self.accuracy, "weights": dict(self.weights)}
