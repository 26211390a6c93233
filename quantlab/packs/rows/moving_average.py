"""Moving averages of the networks of several trials, updated together."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from quantlab.schedules import StepFunction
from quantlab.training.networks.averaged import AveragedNetwork


class StackedMovingAverage:
    """Averages of rows of common tensors. The averages of the trials become views of them."""

    def __init__(
        self,
        averages: Sequence[AveragedNetwork],
        latents: Sequence[Sequence[Tensor]],
        buffers: Mapping[str, Tensor],
        add_number: Callable[[StepFunction], int],
    ) -> None:
        """Take over the averages of trials.

        Args:
            averages: average of each row.
            latents: for each tensor that the optimizers update, its rows (some, ...) in their
                order, in one or several tensors.
            buffers: names with the buffers (rows, ...) of the networks.
            add_number: adds a function of the step to the numbers of a step, and returns its
                position.
        """
        places = [add_number(average.share) for average in averages]
        self._shares = slice(places[0], places[-1] + 1)
        self._averages = averages
        self._pairs: list[tuple[Tensor, Tensor, slice]] = []
        """(averages, what they are averages of, their rows)"""
        for slot, parts in enumerate(latents):
            start = 0
            for part in parts:
                rows = slice(start, start + len(part))
                own = torch.stack([average.weights[slot] for average in averages[rows]])
                for average, row in zip(averages[rows], own.unbind(), strict=True):
                    average.weights[slot] = row
                self._pairs.append((own, part, rows))
                start = rows.stop
        for name in averages[0].buffers:
            own = torch.stack([average.buffers[name] for average in averages])
            for average, row in zip(averages, own.unbind(), strict=True):
                average.buffers[name] = row
            self._pairs.append((own, buffers[name], slice(0, len(averages))))

    @torch.no_grad()
    def __call__(self, numbers: Tensor) -> None:
        """Add the weights after a step.

        Args:
            numbers: numbers of the step, on the device.
        """
        shares = numbers[self._shares]
        for own, current, rows in self._pairs:
            column = shares[rows].to(own.dtype).view(-1, *[1] * (own.dim() - 1))
            own.lerp_(current, column)
