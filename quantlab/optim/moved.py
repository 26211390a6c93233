"""Moved: the tensors that the base optimizer updates, and the parameters of the model in them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from quantlab.optim.buffers import QuantizedWeights, flattened, views_of


@dataclass
class Moved:
    """A tensor that the base optimizer updates, and the model's parameters that it represents."""

    target: nn.Parameter
    """The tensor that the base optimizer updates."""
    sources: Sequence[nn.Parameter]
    """Parameters of the model whose gradients `target` receives."""
    gradient: Tensor | None = None
    """Flat gradient of all sources; None if there is one source, whose own gradient is used."""
    gradients: Sequence[Tensor] | None = None
    """Views of `gradient` in which the sources' gradients accumulate; None with one source."""
    group: QuantizedWeights | None = None
    """Quantized weights whose latents, or a part of them, are in `target`; None for weights in full
    precision."""
    start: int = 0
    """Position of the first latent of `target` in the buffer of the group."""
    learned_of: QuantizedWeights | None = None
    """Quantized weights whose learned numbers are in `target`, which then has no sources."""

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

    def gathered(self, names: Mapping[int, str]) -> Tensor | None:
        """Return the gradient of the sources, as a flat tensor if there are several.

        Args:
            names: name of each quantized parameter by its id, for the message.

        Returns:
            The gradient; None if the only source has none. Learned numbers have the gradient that
            `QuantizedWeights.carried_back` has set.

        Raises:
            ValueError: if one of several sources has no gradient.
        """
        if self.learned_of is not None:
            return self.target.grad
        if self.gradients is None:
            (source,) = self.sources
            return source.grad
        for source, gradient in zip(self.sources, self.gradients, strict=True):
            if source.grad is gradient:
                continue
            if source.grad is None:
                name = names.get(id(source), "a full-precision parameter")
                raise ValueError(
                    "flat=True needs a gradient for every parameter at every step, but "
                    f"{name} has none; build the optimizer with flat=False"
                )
            gradient.copy_(source.grad)  # the caller had set the gradient to None
        return self.gradient

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
            if self.group.kept is not None:
                self.group.kept.move(torch.empty_like(self.group.kept.placed_at))
        self.target.data, self.target.grad = latent, None
        self.gradient, self.gradients = None, None
        if self.sources:
            for source, view in zip(self.sources, views_of(seen, self.sources), strict=True):
                source.data, source.grad = view, None


def shaped_moved(
    groups: Sequence[QuantizedWeights], others: Sequence[nn.Parameter], places: Mapping[int, int]
) -> Iterator[Moved]:
    """Yield one latent tensor per parameter, of its shape. This is exact for every optimizer."""
    for group in groups:
        start = 0
        for parameter, view in zip(group.parameters, group.views(group.latent), strict=True):
            yield Moved(nn.Parameter(view), [parameter], group=group, start=start)
            start += parameter.numel()
    yield from _learned_moved(groups)
    for other in others:
        yield Moved(other, [other])


def flat_moved(
    groups: Sequence[QuantizedWeights], others: Sequence[nn.Parameter], places: Mapping[int, int]
) -> Iterator[Moved]:
    """Yield one flat latent tensor per group, and flat tensors of the other parameters.

    Parameters in one tensor have the same dtype, device and option group; see `grouped`.
    """
    for group in groups:
        yield _flat_tensor(group.latent, group.parameters, group)
    yield from _learned_moved(groups)
    kinds: dict[tuple[torch.dtype, torch.device, int | None], list[nn.Parameter]] = {}
    for other in others:
        kinds.setdefault((other.dtype, other.device, places.get(id(other))), []).append(other)
    for alike in kinds.values():
        flat = flattened([other.data for other in alike])
        for other, view in zip(alike, views_of(flat, alike), strict=True):
            other.data = view
        yield _flat_tensor(flat, alike, None)


def _flat_tensor(
    tensor: Tensor, sources: Sequence[nn.Parameter], group: QuantizedWeights | None
) -> Moved:
    target = nn.Parameter(tensor)
    target.grad = torch.zeros_like(target)
    lifted = group is not None and group.quantizer.num_latents != 1
    gradient = torch.zeros_like(tensor[0]) if lifted else target.grad
    gradients = views_of(gradient, sources)
    for source, view in zip(sources, gradients, strict=True):
        source.grad = view
    return Moved(target, sources, gradient, gradients, group)


def _learned_moved(groups: Sequence[QuantizedWeights]) -> Iterator[Moved]:
    for group in groups:
        if group.learned is not None:
            yield Moved(group.learned, [], learned_of=group)
