"""LossTally: what the losses of steps have come to, kept on the device until it is asked for."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class TalliedLosses:
    """Of one network."""

    loss_sum: float
    """Sum of the losses of all images."""
    last_loss: float
    """Of the last step whose loss was finite; NaN before the first."""
    bad_step: int | None
    """The first step whose loss was not finite; None if there is none."""


class LossTally:
    """The losses of several networks, step after step.

    Nothing waits for the device but `read`. From a network's first loss on that is not finite, none
    of its losses counts any more.
    """

    def __init__(
        self,
        last_losses: Sequence[float],
        loss_sums: Sequence[float],
        step: int,
        device: torch.device,
    ) -> None:
        """Go on from the steps before.

        Args:
            last_losses: of each network.
            loss_sums: of each network.
            step: the next one.
            device: where losses are computed.
        """
        count = len(last_losses)
        self._loss_sums = torch.tensor(loss_sums, dtype=torch.float64, device=device)
        self._last_losses = torch.tensor(last_losses, dtype=torch.float64, device=device)
        self._bad_steps = torch.full((count,), -1, device=device)
        self._this_step = torch.full((1,), step, device=device)

    def add(self, losses: Tensor, images: int) -> Tensor:
        """Count a step; its operations can be recorded.

        Args:
            losses: (count,) mean losses of the step's images.
            images: of each network.

        Returns:
            (count,) bool: for which of the networks this is the first loss that is not finite.
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
        """Wait for the device; sums begin anew at 0."""
        table = torch.stack((self._loss_sums, self._last_losses, self._bad_steps.double()))
        self._loss_sums.zero_()
        return [
            TalliedLosses(loss_sum, last_loss, None if bad_step < 0 else int(bad_step))
            for loss_sum, last_loss, bad_step in table.T.tolist()
        ]
