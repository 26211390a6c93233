"""LossTally: sums of losses over gradient steps, which stay on the device until they are read."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class TalliedLosses:
    """Losses of one network."""

    loss_sum: float
    """Sum of the losses of all images."""
    last_loss: float
    """Loss of the last step with a finite loss; NaN before the first."""
    bad_step: int | None
    """First step whose loss was not finite; None if there is none."""


class LossTally:
    """Sums of the losses of several networks over gradient steps.

    Only `read` waits for the device. From a network's first loss that is not finite on, its losses
    are ignored.
    """

    def __init__(
        self,
        last_losses: Sequence[float],
        loss_sums: Sequence[float],
        step: int,
        device: torch.device,
    ) -> None:
        """Continue from earlier steps.

        Args:
            last_losses: loss of the last step of each network.
            loss_sums: sum of losses of each network.
            step: number of the next step.
            device: device of the losses.
        """
        count = len(last_losses)
        self._loss_sums = torch.tensor(loss_sums, dtype=torch.float64, device=device)
        self._last_losses = torch.tensor(last_losses, dtype=torch.float64, device=device)
        self._bad_steps = torch.full((count,), -1, device=device)
        self._this_step = torch.full((1,), step, device=device)

    def add(self, losses: Tensor, images: int) -> Tensor:
        """Add the losses of a step. The operations can be recorded in a CUDA graph.

        Args:
            losses: (count,) mean loss of the step's images, per network.
            images: number of images per network.

        Returns:
            (count,) bool: networks for which this is the first loss that is not finite.
        """
        is_bad = ~losses.isfinite() & (self._bad_steps < 0)
        self._bad_steps.copy_(torch.where(is_bad, self._this_step, self._bad_steps))
        self._this_step.add_(1)
        is_good = self._bad_steps < 0
        self._loss_sums += torch.where(is_good, losses * images, 0)
        last_losses = torch.where(is_good, losses.to(self._last_losses), self._last_losses)
        self._last_losses.copy_(last_losses)
        return is_bad

    def read(self) -> list[TalliedLosses]:
        """Wait for the device, return the losses of each network, and reset the sums to 0."""
        table = torch.stack((self._loss_sums, self._last_losses, self._bad_steps.double()))
        self._loss_sums.zero_()
        return [
            TalliedLosses(loss_sum, last_loss, None if bad_step < 0 else int(bad_step))
            for loss_sum, last_loss, bad_step in table.T.tolist()
        ]
