"""Proximal maps of several trials, each with its own sharpness, as one call where that works."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from quantlab.quantizers import Quantizer
from quantlab.remembering import remembering
from quantlab.schedules import StepFunction


class StackedMap:
    """The proximal map of some rows."""

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
        """Of neighbours.

        Args:
            quantizer: of all rows.
            latent: (rows, size).
            proximal: where the result goes.
            sharpness: of each row.
            column: where its values are among the numbers of a step; None for a map that takes its
                sharpness as one Python number.
            random_numbers: of the only row, if the map draws.
        """
        self._quantizer = quantizer
        self._latent = latent
        self._proximal = proximal
        self._sharpness = sharpness
        self._column = column
        self._random_numbers = random_numbers if quantizer.random else nullcontext

    def __call__(self, step: int, numbers: Tensor) -> None:
        """Map.

        Args:
            step: at which the result is seen.
            numbers: of the step, on the device.
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
    """Whether the map gives the same for two rows at once, each with its own sharpness.

    Every map should; one that compares its sharpness with a number, or looks at the mean of the
    weights, does not.
    """
    latent = torch.stack([torch.linspace(-2, 2, 41), torch.linspace(-1, 4, 41)])
    sharpness = [0.3, 1.7]
    try:
        expected = [quantizer.prox(row, own) for row, own in zip(latent, sharpness, strict=True)]
        together = quantizer.prox(latent, torch.tensor(sharpness)[:, None])
    except Exception:  # it may well take numbers
        return False
    return torch.allclose(together, torch.stack(expected), rtol=1e-4, atol=1e-5)
