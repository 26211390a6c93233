"""Evaluation: the closure that a base optimizer receives."""

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor


class Proximal(Protocol):
    """The part of an optimizer of latent weights that an evaluation needs."""

    def refresh(self) -> None:
        """Recompute the proximal weights from the latents."""

    def prepare_base(self, *, starts: bool = True) -> None:
        """Give the base optimizer the model's gradients."""


class Evaluation:
    """The closure of the base optimizer, which may evaluate the loss several times per step.

    Each evaluation takes the gradient at the rule's point. If the base optimizer has moved the
    latent weights since the last evaluation, as in a line search, the point is recomputed first.
    """

    def __init__(self, optimizer: Proximal, closure: Callable[[], float | Tensor]) -> None:
        self._optimizer = optimizer
        self._closure = closure
        self._is_first = True

    def __call__(self) -> float | Tensor:
        if not self._is_first:
            self._optimizer.refresh()
        with torch.enable_grad():
            loss = self._closure()
        self._optimizer.prepare_base(starts=self._is_first)
        self._is_first = False
        return loss
