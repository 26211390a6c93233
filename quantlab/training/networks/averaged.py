"""AveragedNetwork: the moving average of a network's weights during training."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from quantlab.optim.latent_optimizer import LatentOptimizer
from quantlab.random_numbers import RandomNumbers, part_seed
from quantlab.settings.moving_average import MovingAverage


class AveragedNetwork:
    """The averages of all tensors that an optimizer updates, and of floating-point buffers."""

    def __init__(
        self,
        model: nn.Module,
        optimizer: LatentOptimizer,
        *,
        settings: MovingAverage,
        start: int,
        seed: int,
    ) -> None:
        """Begin with the current weights.

        Args:
            model: network with its buffers.
            optimizer: optimizer of the network in this stage.
            settings: decay of the average.
            start: first step of the optimizer after which the average may differ from the weights.
            seed: seed of the trial, for random maps.
        """
        self._model = model
        self._optimizer = optimizer
        self._decay, self._start, self._seed = settings.decay, start, seed
        self.weights = [moved.target.detach().clone() for moved in optimizer.moved]
        """Averages of the latents, the learned numbers and the other parameters, for each tensor
        that the optimizer updates."""
        self.buffers = {name: buffer.clone() for name, buffer in self._current_buffers()}
        """Averages of the buffers by their names."""

    def share(self, step: int) -> float:
        """Return the share of the weights after a step in the average: 1 before it begins."""
        return 1.0 if step < self._start else 1.0 - self._decay

    @torch.no_grad()
    def update(self) -> None:
        """Add the weights after the optimizer's last step."""
        share = self.share(self._optimizer.num_steps - 1)
        for average, current in self._pairs():
            average.lerp_(current, share)

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Set the network and the optimizer to the average for a `with` block."""
        kept = [own.clone() for own in self._state()]
        self.take_over()
        try:
            yield
        finally:
            with torch.no_grad():
                for own, before in zip(self._state(), kept, strict=True):
                    own.copy_(before)

    @torch.no_grad()
    def take_over(self) -> None:
        """Set the network and the optimizer to the average, as if it had been trained.

        Levels that are kept for several steps are placed for the average. Random maps draw from
        random numbers of their own, so that the result depends on the trial and its step only.
        """
        for average, current in self._pairs():
            current.copy_(average)
        for group in self._optimizer.groups:
            if group.placed_at is not None:
                group.placed_at.copy_(group.latent)
        if not any(group.quantizer.random for group in self._optimizer.groups):
            self._optimizer.refresh()
            return
        device = self.weights[0].device
        seed = part_seed(self._seed, f"moving average, step {self._optimizer.num_steps}")
        with RandomNumbers(device, seed=seed, default_seed=seed).in_use():
            self._optimizer.refresh()

    def set_aside(self) -> None:
        """Keep copies of the averages, which then no longer follow a stack."""
        self.weights = [own.clone() for own in self.weights]
        self.buffers = {name: own.clone() for name, own in self.buffers.items()}

    def state_dict(self) -> dict[str, Any]:
        """Return the averages."""
        return {"weights": self.weights, "buffers": self.buffers}

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from the averages that `state_dict` returned."""
        for own, values in zip(self.weights, state["weights"], strict=True):
            own.copy_(values)
        for name, own in self.buffers.items():
            own.copy_(state["buffers"][name])

    def _current_buffers(self) -> Iterator[tuple[str, Tensor]]:
        for name, buffer in self._model.named_buffers():
            if buffer.is_floating_point():
                yield name, buffer

    def _pairs(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield each average with the tensor that it is the average of."""
        for average, moved in zip(self.weights, self._optimizer.moved, strict=True):
            yield average, moved.target.detach()
        for name, buffer in self._current_buffers():
            yield self.buffers[name], buffer

    def _state(self) -> Iterator[Tensor]:
        """Yield all tensors that `take_over` changes."""
        for _, current in self._pairs():
            yield current
        for group in self._optimizer.groups:
            yield group.proximal
            if group.placed_at is not None:
                yield group.placed_at
