"""BestNetwork: the network of the best epoch so far, for recipes that select it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from quantlab.training.checkpoint import own_copy


@dataclass(frozen=True)
class BestNetwork:
    """The finished network of the epoch with the best main metric on the validation images."""

    epoch: int
    """Number of the epoch, counted from 1 over both stages."""
    value: float
    """The metric of the network on the validation images."""
    weights: Mapping[str, Tensor]
    """State dict of the network: its hard weights, or those of training in full precision, with the
    statistics of batch normalization that belong to them."""

    @classmethod
    def taken_from(cls, model: nn.Module, epoch: int, value: float) -> "BestNetwork":
        """Copy the network that a model is now."""
        return cls(epoch, value, own_copy(model.state_dict()))

    def state_dict(self) -> dict[str, Any]:
        """Return the fields for a checkpoint."""
        return {"epoch": self.epoch, "value": self.value, "weights": dict(self.weights)}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> "BestNetwork":
        """Return the network of `state_dict`. Earlier releases call the value an accuracy."""
        value = state["accuracy"] if "accuracy" in state else state["value"]
        return cls(state["epoch"], value, state["weights"])
