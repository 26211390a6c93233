"""Buffers of latent and proximal weights, and the tensors that the base optimizer updates."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from quantlab.quantizers import Quantizer
from quantlab.schedules import StepFunction
from quantlab.update_rules import Point


class QuantizedWeights:
    """Weights that share a quantizer and a sharpness, in flat buffers.

    One flat buffer holds the latent weights and one the proximal weights. The model's parameters
    are views of the buffer at which the rule takes the gradient, so that the next forward pass uses
    the values of the buffer without a copy.
    """

    def __init__(
        self,
        quantizer: Quantizer,
        sharpness: StepFunction,
        parameters: Sequence[nn.Parameter],
        gradient_at: Point,
    ) -> None:
        self.quantizer = quantizer
        self.sharpness = sharpness
        self.parameters = parameters
        self.average: Tensor | None = None
        self.latent = _flat([p.data for p in parameters])
        self.proximal = self.latent.clone()
        self.evaluation = self.latent if gradient_at is Point.LATENT else self.proximal
        for parameter, view in zip(parameters, self.views(self.evaluation), strict=True):
            parameter.data = view

    def views(self, buffer: Tensor) -> list[Tensor]:
        """Return views of a flat buffer with the shapes of the parameters."""
        return _views(buffer, self.parameters)


@dataclass
class Moved:
    """A tensor that the base optimizer updates, and the model's parameters that it represents."""

    target: nn.Parameter
    """The tensor that the base optimizer updates."""
    sources: Sequence[nn.Parameter]
    """Parameters of the model whose gradients `target` receives."""
    gradients: Sequence[Tensor] | None = None
    """Views of the target's gradient in which the sources' gradients accumulate; None with one
    source."""
    group: QuantizedWeights | None = None
    """Quantized weights whose latents are all in `target`; None for weights in full precision, and
    for the latents of a single parameter."""

    @property
    def seen(self) -> Tensor:
        """The weights that the forward pass uses."""
        return self.target.data if self.group is None else self.group.evaluation

    @property
    def hidden(self) -> Tensor | None:
        """The latent or proximal weights that the forward pass does not use; None without both."""
        if self.group is None:
            return None
        at_latent = self.group.evaluation is self.group.latent
        return self.group.proximal if at_latent else self.group.latent

    def move(self, seen: Tensor, hidden: Tensor | None) -> None:
        """Move the weights to the memory of a `StackedOptimizer`, which then updates them.

        Args:
            seen: memory for the weights that the forward pass uses.
            hidden: memory for the others; None if there are none.
        """
        seen.copy_(self.seen)
        latent = seen
        if self.group is not None and hidden is not None and self.hidden is not None:
            hidden.copy_(self.hidden)
            latent, proximal = seen, hidden
            if self.group.evaluation is self.group.proximal:
                latent, proximal = hidden, seen
            self.group.latent, self.group.proximal, self.group.evaluation = latent, proximal, seen
        self.target.data, self.target.grad, self.gradients = latent, None, None
        for source, view in zip(self.sources, _views(seen, self.sources), strict=True):
            source.data, source.grad = view, None


def _flat(tensors: Sequence[Tensor]) -> Tensor:
    return torch.cat([tensor.reshape(-1) for tensor in tensors])


def _views(buffer: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    pieces = buffer.split([tensor.numel() for tensor in like])
    return [piece.view(tensor.shape) for piece, tensor in zip(pieces, like, strict=True)]


def shaped_moved(
    groups: Sequence[QuantizedWeights], others: Sequence[nn.Parameter]
) -> Iterator[Moved]:
    """Yield one latent tensor per parameter, of its shape. This is exact for every optimizer."""
    for group in groups:
        for parameter, view in zip(group.parameters, group.views(group.latent), strict=True):
            yield Moved(nn.Parameter(view), [parameter])
    for other in others:
        yield Moved(other, [other])


def flat_moved(
    groups: Sequence[QuantizedWeights], others: Sequence[nn.Parameter]
) -> Iterator[Moved]:
    """Yield one flat latent tensor per group, and one per dtype and device of other parameters."""
    tensors: list[tuple[Tensor, Sequence[nn.Parameter], QuantizedWeights | None]] = [
        (group.latent, group.parameters, group) for group in groups
    ]
    kinds: dict[tuple[torch.dtype, torch.device], list[nn.Parameter]] = {}
    for other in others:
        kinds.setdefault((other.dtype, other.device), []).append(other)
    for alike in kinds.values():
        flat = _flat([other.data for other in alike])
        for other, view in zip(alike, _views(flat, alike), strict=True):
            other.data = view
        tensors.append((flat, alike, None))
    for tensor, sources, owner in tensors:
        target = nn.Parameter(tensor)
        target.grad = torch.zeros_like(target)
        gradients = _views(target.grad, sources)
        for source, gradient in zip(sources, gradients, strict=True):
            source.grad = gradient
        yield Moved(target, sources, gradients, owner)
