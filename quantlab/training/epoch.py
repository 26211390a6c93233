"""An epoch that is under way: its order, its random numbers, and how far it is."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from quantlab.random_numbers import RandomNumbers, part_seed


@dataclass
class EpochInProgress:
    """How far an epoch has come."""

    random: RandomNumbers
    """Of this epoch alone."""
    order: Tensor
    """Positions of the training images, which follow from the epoch's seed."""
    batches: int = 0
    """Gradient steps of this epoch that are done."""
    loss_sum: float = 0.0
    """Sum of the losses of the images so far."""
    seconds: float = 0.0

    @classmethod
    def start(
        cls, seed: int, number: int, num_images: int, device: torch.device
    ) -> "EpochInProgress":
        """An epoch of which nothing is done.

        Args:
            seed: the trial's.
            number: epochs before it, over both stages.
            num_images: to be brought in an order.
            device: where they lie.
        """
        part = f"epoch {number}"
        random = RandomNumbers(
            device,
            seed=part_seed(seed, part),
            default_seed=part_seed(seed, f"{part}, default generators"),
        )
        order = torch.randperm(num_images, generator=random.generator)
        return cls(random, order.to(device))

    def state_dict(self) -> dict[str, Any]:
        """How far it is; the order follows from the seed."""
        return {
            "batches": self.batches,
            "loss_sum": self.loss_sum,
            "seconds": self.seconds,
            "random": self.random.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there."""
        self.batches = state["batches"]
        self.loss_sum = state["loss_sum"]
        self.seconds = state["seconds"]
        self.random.load_state_dict(state["random"])
