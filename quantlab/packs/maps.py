"""Proximal maps of several trials, each with its own sharpness, in one call where possible."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from quantlab.quantizers import Quantizer
from quantlab.remembering import remembering
from quantlab.schedules import StepFunction


class StackedMap:
    """The proximal map of adjacent rows of the stack."""

    def __init__(
        self,
        *,
        quantizer: Quantizer,
        latent: Tensor,
        proximal: Tensor,
        sharpness: Sequence[StepFunction],
        column: slice | None,
        random_numbers: Callable[[], AbstractContextManager[object]],
    ) -> None:
        """Create the map.

        Args:
            quantizer: quantizer of all rows.
            latent: (rows, size) latent weights.
            proximal: (rows, size) tensor that receives the result.
            sharpness: sharpness of each row as a function of the step.
            column: positions of the rows' sharpness among the numbers of a step; None for a map
            that
                accepts only a Python number.
            random_numbers: context of the trial's random numbers, for a random map of one row.
        """
        self._quantizer = quantizer
        self._latent = latent
        self._proximal = proximal
        self._sharpness = sharpness
        self._column = column
        self._random_numbers = random_numbers if quantizer.random else nullcontext

    def __call__(self, step: int, numbers: Tensor) -> None:
        """Apply the map to the latent weights.

        Args:
            step: gradient step that uses the result.
            numbers: numbers of the step, on the device.
        """
        if self._column is not None:
            column = numbers[self._column, None].to(self._latent.dtype)
            self._proximal.copy_(self._quantizer.prox(self._latent, column))
            return
        values = [sharpness(step) for sharpness in self._sharpness]
        assert len(set(values)) == 1
        with self._random_numbers():
            self._proximal.copy_(self._quantizer.prox(self._latent, values[0]))


@remembering(256)
@torch.no_grad()
def takes_a_column(quantizer: Quantizer) -> bool:
    """Whether the map accepts a column of sharpness values, one per row.

    Every elementwise map should. A map that compares its sharpness with a number, or that uses the
    mean of the weights, does not. The map is tried on two rows.
    """
    latent = torch.stack([torch.linspace(-2, 2, 41), torch.linspace(-1, 4, 41)])
    sharpness = [0.3, 1.7]
    try:
        expected = [quantizer.prox(row, own) for row, own in zip(latent, sharpness, strict=True)]
        together = quantizer.prox(latent, torch.tensor(sharpness)[:, None])
    except Exception:  # it may accept numbers
        return False
    return torch.allclose(together, torch.stack(expected), rtol=1e-4, atol=1e-5)
