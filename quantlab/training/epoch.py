"""EpochInProgress: the order, the random numbers and the progress of an epoch."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from quantlab.random_numbers import RandomNumbers, part_seed
from quantlab.recipe import Recipe


@dataclass
class EpochInProgress:
    """The progress of an epoch."""

    random: RandomNumbers
    """Random numbers of this epoch."""
    order: Tensor
    """(num_images,) int64 positions of the training images. They follow from the trial's seed."""
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
        cls,
        seed: int,
        number: int,
        num_images: int,
        device: torch.device,
        *,
        length: int | None = None,
    ) -> "EpochInProgress":
        """Create an epoch before its first step.

        Args:
            seed: seed of the trial.
            number: number of epochs before it, over both stages.
            num_images: number of training images.
            device: device of the images.
            length: number of images of every epoch, if epochs are the sections of a stream of
                passes; None if every epoch is a pass.
        """
        part = f"epoch {number}"
        random = RandomNumbers(
            device,
            seed=part_seed(seed, part),
            default_seed=part_seed(seed, f"{part}, default generators"),
        )
        if length is None:
            order = torch.randperm(num_images, generator=random.generator)
        else:
            order = _section(seed, number * length, (number + 1) * length, num_images)
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


def steps_of(recipe: Recipe, num_images: int) -> int:
    """Return the number of gradient steps of an epoch.

    Args:
        recipe: any recipe.
        num_images: number of training images.
    """
    return recipe.steps_per_epoch or math.ceil(num_images / recipe.batch_size)


def images_of(recipe: Recipe, num_images: int) -> int:
    """Return the number of images of an epoch; see `steps_of`."""
    if recipe.steps_per_epoch is None:
        return num_images
    return recipe.steps_per_epoch * recipe.batch_size


def _section(seed: int, start: int, stop: int, num_images: int) -> Tensor:
    """Return images of a stream of passes, in each of which every image occurs once.

    The order of a pass depends on the seed and the number of the pass only, so that it is the same
    wherever epochs end.

    Args:
        seed: seed of the trial.
        start: position of the first image in the stream.
        stop: position after the last image, greater than `start`.
        num_images: number of images of a pass.
    """
    first, last = start // num_images, (stop - 1) // num_images
    passes = []
    for number in range(first, last + 1):
        generator = torch.Generator().manual_seed(part_seed(seed, f"pass {number}"))
        passes.append(torch.randperm(num_images, generator=generator))
    return torch.cat(passes)[start - first * num_images : stop - first * num_images]
