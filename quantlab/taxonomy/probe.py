"""Probe: tensors that the optimizer of a recipe trains, at any latents and any step."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from quantlab.optim.of_recipe import optimizer_of
from quantlab.recipe import OptimizerSpec, Recipe
from quantlab.schedules import Constant
from quantlab.update_rules import Point

_PLAIN = OptimizerSpec(algorithm=torch.optim.SGD, learning_rate=Constant(1.0))


@dataclass(frozen=True)
class Move:
    """One step of a probe."""

    is_of_prox_connect: bool
    """Whether the gradient is taken at P(w*), and all latents move against it: with plain gradient
    steps by one positive number times the gradient, otherwise by its sign."""
    passes: int
    """How many times the network was evaluated."""


class Probe:
    """The quantization of a recipe on some tensors in float64, at a learning rate of 1.

    The quantizer is that of the layers in no group. A scale is applied to every tensor as one row,
    and places its levels in every step. Random maps draw the same numbers at each call.
    """

    def __init__(
        self, recipe: Recipe, start: Tensor, steps_per_epoch: int, *, plain: bool = True
    ) -> None:
        """Build the optimizer.

        Args:
            recipe: recipe with a quantization.
            start: (t, n) initial weights of t tensors in float64, of which learned numbers are
                derived.
            steps_per_epoch: number of gradient steps per epoch, for the schedules.
            plain: whether plain gradient steps replace the recipe's optimizer, which otherwise has
                no weight decay.
        """
        assert recipe.quantization is not None
        own = replace(recipe.quantization, exclude=(), include=(), groups=())
        if own.scale is not None:
            # A tensor is a row in any case; some rules allow only one kind of rows.
            per = own.scale.per if isinstance(own.scale.per, str) else start.shape[1]
            own = replace(own, scale=replace(own.scale, per=per, every=1))
        self.quantization = own
        self._is_plain = plain
        used = replace(
            recipe,
            quantization=self.quantization,
            optimizer=_PLAIN if plain else _without_decay(recipe.optimizer),
            batchnorm_epochs=0,
        )
        self._rest = torch.zeros_like(start)
        layers = [nn.Linear(start.shape[1], 1, bias=False, dtype=start.dtype) for _ in start]
        for layer, weights in zip(layers, start, strict=True):
            layer.weight.data.copy_(weights)
        self._weights = [layer.weight for layer in layers]
        self._optimizer = optimizer_of(used, nn.ModuleList(layers), steps_per_epoch)
        (self._group,) = self._optimizer.groups
        learned = self._group.learned
        self._learned = None if learned is None else learned.detach().clone()

    @property
    def learns(self) -> bool:
        """Whether the map has learned numbers."""
        return self._learned is not None

    def levels(self) -> tuple[float, ...]:
        """Return the levels of the first tensor at the latents of the last call.

        Of an unbounded set, they are some adjacent levels.
        """
        if not self.quantization.quantizer.is_bounded:
            return self.quantization.quantizer.some_levels
        return tuple(next(iter(self._optimizer.levels().values()))[0].tolist())

    def image(self, weights: Tensor, step: int) -> Tensor:
        """Return P of the latents that belong to weights (t, m), where m is at most n."""
        with self._at(weights, step):
            image = self._group.weights(step).view_as(self._rest)
            return image[:, : weights.shape[1]].clone()

    def step(self, weights: Tensor, step: int) -> Move:
        """Take one step from given weights (t, n), with a gradient that differs between them."""
        gradient = torch.linspace(1, -2, self._rest.numel(), dtype=weights.dtype)
        gradient = gradient.roll(len(gradient) // 3)
        direction = self._group.quantizer.spread(gradient)
        passes = 0

        def evaluate() -> float:
            nonlocal passes
            passes += 1
            for parameter, own in zip(self._weights, gradient.view_as(self._rest), strict=True):
                parameter.grad = own.clone().view_as(parameter)
            return 0.0

        with self._at(weights, step):
            self._optimizer.refresh()
            before = self._group.latent.clone()
            self._optimizer.step(evaluate)
            moved = self._group.latent - before
        if self._is_plain:
            rate = float(-(moved * direction).sum() / direction.square().sum())
            is_against = rate > 0 and torch.allclose(moved, -rate * direction, rtol=1e-9)
        else:
            is_against = torch.equal(moved.sign(), -direction.sign())
        is_at_proximal = self._optimizer.rule.gradient_at is Point.PROXIMAL
        return Move(is_at_proximal and is_against, passes)

    @contextmanager
    def _at(self, weights: Tensor, step: int) -> Iterator[None]:
        """Set the tensors to weights, and learned numbers to their initial values."""
        self._optimizer.num_steps = step
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(0)
            flat = self._whole(weights).flatten()
            self._group.latent.copy_(self._group.quantizer.lift(flat))
            if self._learned is not None:
                assert self._group.learned is not None
                self._group.learned.copy_(self._learned)
            yield

    def _whole(self, weights: Tensor) -> Tensor:
        """Return weights (t, m) with zeros after them, (t, n)."""
        return torch.cat([weights, self._rest[:, weights.shape[1] :]], dim=1)


def _without_decay(spec: OptimizerSpec) -> OptimizerSpec:
    """Return an optimizer at a learning rate of 1, without weight decay and groups."""
    options = {name: value for name, value in spec.options.items() if name != "weight_decay"}
    return replace(spec, learning_rate=Constant(1.0), options=options, groups=())
