"""EpochInProgress: the order, the random numbers and the progress of an epoch."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from quantlab.random_numbers import RandomNumbers, part_seed


@dataclass
class EpochInProgress:
    """The progress of an epoch."""

    random: RandomNumbers
    """Random numbers of this epoch."""
    order: Tensor
    """(num_images,) int64 positions of the training images. They follow from the epoch's seed."""
    batches: int = 0
    """Number of finished gradient steps of this epoch."""
    loss_sum: float = 0.0
    """Sum of the losses of all images so far."""
    seconds: float = 0.0
    """Wall time so far."""
    first_levels: list[Tensor] | None = None
    """Levels of the hard weights before the first step, see `quantlab.optim.flips.levels_of`; None
    if they are not known."""

    @classmethod
    def start(
        cls, seed: int, number: int, num_images: int, device: torch.device
    ) -> "EpochInProgress":
        """Create an epoch before its first step.

        Args:
            seed: seed of the trial.
            number: number of epochs before it, over both stages.
            num_images: number of training images.
            device: device of the images.
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
        """Return the progress. The order is not included, because it follows from the seed."""
        return {
            "batches": self.batches,
            "loss_sum": self.loss_sum,
            "seconds": self.seconds,
            "random": self.random.state_dict(),
            "first_levels": self.first_levels,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from the progress that `state_dict` returned."""
        self.batches = state["batches"]
        self.loss_sum = state["loss_sum"]
        self.seconds = state["seconds"]
        self.random.load_state_dict(state["random"])
        self.first_levels = state.get("first_levels")  # not in checkpoints of earlier releases
