"""Where latent and proximal weights lie, and what of them the model and the base optimizer see."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from quantlab.quantizers import Quantizer
from quantlab.schedules import StepFunction
from quantlab.update_rules import Point


class QuantizedWeights:
    """Weights that share a quantizer and a sharpness.

    They are views of one flat latent and one flat proximal buffer. The model's parameters are views
    of the one at which the rule takes its gradient, so that a new value of the buffer is at once
    what the next forward pass sees.
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
        """The flat buffer cut into tensors of the parameters' shapes."""
        return _views(buffer, self.parameters)


@dataclass
class Moved:
    """A tensor that the base optimizer moves, and the model's parameters it stands for."""

    target: nn.Parameter
    sources: Sequence[nn.Parameter]
    gradients: Sequence[Tensor] | None = None
    """Where the sources' gradients accumulate: views of the target's; None with one source."""
    group: QuantizedWeights | None = None
    """Of which it is all latents; None for weights in full precision, and for one tensor of
    several."""

    @property
    def seen(self) -> Tensor:
        """What the forward pass sees."""
        return self.target.data if self.group is None else self.group.evaluation

    @property
    def hidden(self) -> Tensor | None:
        """The other one of latent and proximal weights, if there are both."""
        if self.group is None:
            return None
        at_latent = self.group.evaluation is self.group.latent
        return self.group.proximal if at_latent else self.group.latent

    def move(self, seen: Tensor, hidden: Tensor | None) -> None:
        """Lie in other memory from now on, that of a `StackedOptimizer`, which then does the steps.

        Args:
            seen: where the weights are copied to, as the forward pass sees them.
            hidden: where the other ones are copied to.
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
    """One latent a parameter, of its shape: exact for every torch optimizer."""
    for group in groups:
        for parameter, view in zip(group.parameters, group.views(group.latent), strict=True):
            yield Moved(nn.Parameter(view), [parameter])
    for other in others:
        yield Moved(other, [other])


def flat_moved(
    groups: Sequence[QuantizedWeights], others: Sequence[nn.Parameter]
) -> Iterator[Moved]:
    """One flat latent a group, and one flat tensor for the other parameters of a kind."""
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
