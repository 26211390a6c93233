"""Buffers of latent and proximal weights."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from quantlab.backward_maps import BackwardMap, StraightThrough
from quantlab.optim.placed import KeptLevels, Placed, WeightMap
from quantlab.quantization_sets import nearest_level
from quantlab.quantizers import Quantizer
from quantlab.remembering import are_equal
from quantlab.scales import Scale
from quantlab.scales.placement import SMALLEST
from quantlab.schedules import StepFunction
from quantlab.update_rules import Point


class QuantizedWeights:
    """Weights that share a map and a sharpness, in flat buffers.

    One flat buffer holds the latents and one the proximal weights. The model's parameters are views
    of the buffer at which the rule takes the gradient, so that the next forward pass uses the
    values of the buffer without a copy. Latents of n weights have the shape (n,), or
    (num_latents, n) in a lifted space, where only the proximal weights can be that buffer. With a
    scale, all parameters have rows of one length, which lie one after the other.
    """

    def __init__(
        self,
        weight_map: WeightMap,
        sharpness: StepFunction,
        parameters: Sequence[nn.Parameter],
        gradient_at: Point,
    ) -> None:
        self.map = weight_map
        self.quantizer = quantizer = weight_map.quantizer
        self.sharpness = sharpness
        self.parameters = parameters
        self.average: Tensor | None = None
        weights = flattened([p.data for p in parameters])
        self.latent = quantizer.lift(weights)
        self.learned: nn.Parameter | None = None
        """Learned numbers of all rows, flat; None if the scale has none."""
        if weight_map.num_learned:
            self.learned = nn.Parameter(weight_map.initial(weights))
            assert weight_map.scale is not None
            weight_map.scale.require_learns_in_every_step(quantizer.levels)
        self.kept: KeptLevels | None = None
        """Levels of the proximal weights; None if they are placed in every step, or if no step
        needs the proximal weights."""
        self.proximal = weights.clone()
        self.evaluation = self.latent if gradient_at is Point.LATENT else self.proximal
        for parameter, view in zip(parameters, self.views(self.evaluation), strict=True):
            parameter.data = view

    def views(self, buffer: Tensor) -> list[Tensor]:
        """Return views of a buffer, one per parameter and of its shape.

        Args:
            buffer: (n,) weights, or (num_latents, n) latents, whose views have an axis more.
        """
        return views_of(buffer, self.parameters)

    def refresh(self, step: int) -> None:
        """Recompute the proximal weights for the forward pass of a step."""
        if self.kept is not None:
            self.kept.place(self.latent, step)
        elif self.map.keeps_levels:
            self.kept = KeptLevels(self.map, self.latent.clone())
        self.proximal.copy_(self.weights(step))

    def weights(self, step: int) -> Tensor:
        """Compute the proximal weights from the latents, with the sharpness of a step."""
        here = self.map_at(self.latent) if self.kept is None else self.kept.quantizer
        return here.weights(self.latent, self.sharpness(step))

    @property
    def placed_at(self) -> Tensor | None:
        """Latents for which the kept levels were placed; None if none are kept."""
        return None if self.kept is None else self.kept.placed_at

    def carried_back(
        self,
        gradient: Tensor,
        latent: Tensor,
        backward: BackwardMap,
        step: int,
        start: int = 0,
    ) -> Tensor:
        """Return the gradient of latents, and set that of their learned numbers.

        Args:
            gradient: gradient of the weights of these latents.
            latent: all latents, or those of one parameter in its shape.
            backward: backward map.
            step: gradient step.
            start: position of the first latent in the buffer.
        """
        if self.map.scale is not None:
            return self._carried_back_to_scale(gradient, latent, backward, step, start)
        if self.quantizer.num_latents == 1:
            return backward.apply(gradient, latent, self.sharpness(step), self.quantizer)
        flat = latent.reshape(len(latent), gradient.numel())
        back = backward.apply(gradient.flatten(), flat, self.sharpness(step), self.quantizer)
        return back.reshape(latent.shape)

    def _carried_back_to_scale(
        self, gradient: Tensor, latent: Tensor, backward: BackwardMap, step: int, start: int
    ) -> Tensor:
        if type(backward) is StraightThrough and self.learned is None:
            return gradient  # without placing the levels
        flat, of_weights, learned = latent.flatten(), gradient.flatten(), None
        if self.learned is not None:
            learned = self.learned_part(self.learned.detach(), start, len(flat))
        if self.kept is None:
            here = self.map.at(flat, learned)
        elif len(flat) == len(self.latent):
            here = self.kept.quantizer
        else:
            here = self.map.at(self.kept.placed_at[start : start + len(flat)])
        back = backward.apply(of_weights, flat, self.sharpness(step), here)
        if learned is not None:
            assert self.learned is not None
            if self.learned.grad is None:
                self.learned.grad = torch.zeros_like(self.learned)
            assert isinstance(here, Placed)
            weights = self.proximal[start : start + len(flat)]
            weights = here.moving(flat, weights, self.sharpness(step))
            self.learned_part(self.learned.grad, start, len(flat)).copy_(
                self.map.learned_gradient(of_weights, back, flat, weights, learned)
            )
        return back.view_as(latent)

    def forget_learned_gradient(self, start: int, count: int) -> None:
        """Set the gradient of the learned numbers of some weights to 0, if they have one."""
        if self.learned is not None and self.learned.grad is not None:
            self.learned_part(self.learned.grad, start, count).zero_()

    def learned_part(self, learned: Tensor, start: int, count: int) -> Tensor:
        """Return the learned numbers, or values like them, of the rows of some of the weights."""
        each, length = self.map.num_learned, self.map.row_length
        return learned[start // length * each : (start + count) // length * each]

    def map_at(self, latent: Tensor) -> Quantizer:
        """Return the map with the levels that weights have."""
        return self.map.at(latent, None if self.learned is None else self.learned.detach())

    def pull(self, share: float, step: int) -> None:
        """Move the latents to (1 - share) z + share P(z), where a step starts."""
        if share == 1:
            self.latent.copy_(self._pulled(step))
        elif share:
            self.latent.lerp_(self._pulled(step), share)

    def hard(self, share: float, step: int) -> Tensor:
        """Return the weights of the final network: a projection onto the quantization set.

        The average of the iterates is projected if there is one, otherwise the point that the next
        step starts from. If that is not the latents, they are only an intermediate result of a
        step. A map that is random, or that moves weights past the middle of a gap, then gives a
        network that differs from the projection of the latents.

        Args:
            share: pull of the next step.
            step: the next step.
        """
        final = self._final(share, step)
        if self.average is not None and self.quantizer.num_latents != 1:
            return nearest_level(final, self.quantizer.levels)
        return self.map_at(final).hard(final)

    def levels(self, share: float, step: int) -> Iterator[tuple[nn.Parameter, Tensor]]:
        """Yield each parameter with the levels of its rows, (rows, number of levels).

        They are those of the final network. Without a scale, a parameter is one row. The arguments
        are those of `hard`.
        """
        placement = self.map_at(self._final(share, step)).placement
        if placement is None:
            levels = self.latent.new_tensor(self.quantizer.levels)[None]
            yield from ((parameter, levels) for parameter in self.parameters)
            return
        levels = placement.levels(self.quantizer.levels).to(self.latent.dtype)
        rows = [parameter.numel() // self.map.row_length for parameter in self.parameters]
        yield from zip(self.parameters, levels.split(rows), strict=True)

    def shown_range(self, weights: Tensor, share: float, step: int) -> tuple[float, float]:
        """Return the lowest and the highest level of a histogram of the weights.

        Args:
            weights: the weights.
            share: see `hard`.
            step: see `hard`.
        """
        if self.map.scale is None:
            return self.quantizer.shown_range(weights)
        levels = [own for _, own in self.levels(share, step)]
        return min(float(own.min()) for own in levels), max(float(own.max()) for own in levels)

    def clip(self, bound: float | None) -> None:
        """Clip latents to [-bound, bound], and learned numbers to the smallest scale."""
        if bound is not None:
            self.latent.clamp_(-bound, bound)
        if self.learned is not None:
            self.learned.data.clamp_(min=SMALLEST)

    def _final(self, share: float, step: int) -> Tensor:
        """Return the point that `hard` projects."""
        if self.average is not None:
            return self.average
        if share == 0:
            return self.latent
        pulled = self._pulled(step)
        return pulled if share == 1 else self.latent.lerp(pulled, share)

    def _pulled(self, step: int) -> Tensor:
        """Return the proximal point in the space of the latents."""
        if self.quantizer.num_latents == 1:
            return self.proximal
        return self.quantizer.prox(self.latent, self.sharpness(step))


def grouped(
    weights: Mapping[str, tuple[nn.Parameter, Quantizer]],
    gradient_at: Point,
    sharpness: StepFunction,
    own_sharpness: Mapping[str, StepFunction],
    scales: Mapping[str, Scale],
    places: Mapping[int, int],
) -> list[QuantizedWeights]:
    """Put weights with the same quantizer, sharpness, dtype and device into common buffers.

    Weights of different option groups are in different buffers. So are weights with a scale whose
    rows differ in length.

    Args:
        weights: names with the parameter and its quantizer.
        gradient_at: weights at which the rule takes the gradient.
        sharpness: sharpness as a function of the gradient step.
        own_sharpness: names with the sharpness of weights that do not use the common one.
        scales: names with the scale of weights that have one.
        places: ids of parameters with the position of their option group, if they have one.

    Raises:
        ValueError: if the gradient is taken at latents that are not weights.
        ConfigurationError: if the rows of a scale do not divide a parameter.
    """
    members: list[tuple[tuple[Any, ...], list[nn.Parameter]]] = []
    for name, (parameter, quantizer) in weights.items():
        if quantizer.num_latents != 1 and gradient_at is Point.LATENT:
            raise ValueError(
                "rule.gradient_at = Point.LATENT: must be Point.PROXIMAL for "
                f"{type(quantizer).__name__}, whose latents are not weights"
            )
        annealing = own_sharpness.get(name, sharpness)
        place = places.get(id(parameter))
        scale = scales.get(name)
        length = 1 if scale is None else scale.row_length(parameter.shape, name)
        own = WeightMap(quantizer, scale, length)
        key = (own, annealing, parameter.dtype, parameter.device, place)
        for known, parameters in members:
            if are_equal(known, key):  # a quantizer need not be hashable
                parameters.append(parameter)
                break
        else:
            members.append((key, [parameter]))
    return [
        QuantizedWeights(weight_map, annealing, parameters, gradient_at)
        for (weight_map, annealing, *_), parameters in members
    ]


def flattened(tensors: Sequence[Tensor]) -> Tensor:
    """Return the entries of all tensors as one flat tensor."""
    return torch.cat([tensor.reshape(-1) for tensor in tensors])


def views_of(buffer: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    """Return views of a buffer (..., n), one for each tensor and of its shape."""
    pieces = buffer.split([tensor.numel() for tensor in like], dim=-1)
    lead = buffer.shape[:-1]
    return [piece.view((*lead, *tensor.shape)) for piece, tensor in zip(pieces, like, strict=True)]
