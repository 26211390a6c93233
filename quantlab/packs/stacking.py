"""Choice of a stacking: it is tried whether stacked networks give the results of single ones."""

from collections.abc import Sequence
from copy import deepcopy

import torch
from torch import Tensor, nn

from quantlab.errors import (
    ConfigurationError,
    MemoryExhaustedError,
    described,
    naming_exhausted_memory,
)
from quantlab.execution import Execution
from quantlab.packs.network import FOLDABLE, StackedNetwork, Stacking


def choose_stacking(
    model: nn.Module, image_shape: Sequence[int], num_symbols: int | None = None
) -> Stacking:
    """Return the first stacking that gives the same results as single networks.

    Each stacking is tried on two copies with random weights and a few random images. Logits,
    gradients and buffers must equal those of the copies, also if the images of one copy are not
    finite.

    Args:
        model: a network of the architecture; it is not changed.
        image_shape: shape of an input, such as (channels, height, width).
        num_symbols: number of symbols, if inputs are symbols; None for floating-point inputs.

    Raises:
        ConfigurationError: if no stacking works, for example because the network draws random
            numbers.
    """
    name = type(model).__name__
    try:
        with naming_exhausted_memory("trying how to stack networks"):
            trial = _Trial(model, image_shape, num_symbols)
    except MemoryExhaustedError:
        raise
    except Exception as error:  # such as a network that only works in single precision
        raise ConfigurationError(
            f"pack: {name} cannot be tried in a stack of networks in double precision, where it "
            f"raised {described(error)}; train its trials without packs"
        ) from error
    if trial.draws:
        raise ConfigurationError(
            f"pack: {name} draws random numbers, which stacked networks cannot draw separately; "
            "train its trials without packs"
        )
    ways = [Stacking.FOLDED] if _is_foldable(model) else []
    for stacking in (*ways, Stacking.VMAP):
        if trial.agrees(stacking):
            return stacking
    raise ConfigurationError(
        f"pack: {name} gives different results in a stack of networks than alone; "
        "train its trials without packs"
    )


def _is_foldable(model: nn.Module) -> bool:
    return all(
        type(module) in FOLDABLE
        or not (any(True for _ in module.parameters(recurse=False)) or module._buffers)
        for module in model.modules()
    )


class _Trial:
    """The results of two copies of a network, to compare with those of a stack of both."""

    def __init__(
        self, model: nn.Module, image_shape: Sequence[int], num_symbols: int | None
    ) -> None:
        generator = torch.Generator().manual_seed(0)
        self._copies = [deepcopy(model).to("cpu", torch.float64) for _ in range(2)]
        with torch.no_grad():
            for copy in self._copies:
                for parameter in copy.parameters():  # no parameter remains 0
                    noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
                    parameter.add_(noise, alpha=0.1)
                    parameter.requires_grad_()  # those that the model froze as well
                for buffer in copy.buffers():  # running variances stay positive
                    if buffer.is_floating_point():
                        buffer.mul_(1.0 + torch.rand(buffer.shape, generator=generator))
        shape = (2, 3, *image_shape)
        if num_symbols is None:
            self._images = torch.rand(*shape, generator=generator, dtype=torch.float64)
        else:
            self._images = torch.randint(num_symbols, shape, generator=generator)
        self._before = deepcopy(self._copies)
        with torch.random.fork_rng(devices=[]):
            state = torch.get_rng_state()
            self._trained = [self._forward(place, training=True) for place in (0, 1)]
            self.draws = not torch.equal(state, torch.get_rng_state())
            """Whether the network draws from torch's default generator."""
            self._gradients = [
                _gradients(outputs, [*copy.parameters()])
                for outputs, copy in zip(self._trained, self._copies, strict=True)
            ]
            self._evaluated = [self._forward(place, training=False) for place in (0, 1)]

    def _forward(self, place: int, *, training: bool) -> Tensor:
        logits: Tensor = self._copies[place].train(training)(self._images[place])
        return logits

    def agrees(self, stacking: Stacking) -> bool:
        """Whether a stack of the two copies gives the same results."""
        try:
            with naming_exhausted_memory("trying how to stack networks"):
                return self._agrees(stacking)
        except MemoryExhaustedError:
            raise
        except Exception:  # a network may raise anything
            return False

    def _agrees(self, stacking: Stacking) -> bool:
        members = deepcopy(self._before)
        stack, weights = StackedNetwork(members, stacking), self._weights()
        plain = Execution(channels_last=False)
        trained = stack(weights, self._images, plain)
        gradients = _gradients(trained, [*weights.values()])
        stack.train(False)
        evaluated = stack(weights, self._images, plain)
        pairs = [(trained, torch.stack(self._trained)), (evaluated, torch.stack(self._evaluated))]
        pairs += [
            (own, torch.stack(others))
            for own, *others in zip(gradients, *self._gradients, strict=True)
        ]
        pairs += [  # running statistics and the like
            (own, other)
            for member, copy in zip(members, self._copies, strict=True)
            for own, other in zip(member.buffers(), copy.buffers(), strict=True)
        ]
        # A forward pass must not write to the weights, which are views in a stack.
        pairs += zip(weights.values(), self._weights().values(), strict=True)
        # Other images of the second network, which may be NaN, must not change the first network.
        poisoned = self._images.clone()
        poisoned[1] = torch.nan if poisoned.is_floating_point() else poisoned[1].flip(0)
        stack, weights = StackedNetwork(deepcopy(self._before), stacking), self._weights()
        logits = stack(weights, poisoned, plain)
        pairs.append((logits[0], self._trained[0]))
        pairs += [
            (own[0], other)
            for own, other in zip(
                _gradients(logits, [*weights.values()]), self._gradients[0], strict=True
            )
        ]
        return all(_close(own, other) for own, other in pairs)

    def _weights(self) -> dict[str, Tensor]:
        """Return the stacked parameters of the networks before their first forward pass."""
        return {
            name: torch.stack(
                [member.get_parameter(name).detach() for member in self._before]
            ).requires_grad_()
            for name, _ in self._before[0].named_parameters()
        }


def _gradients(outputs: Tensor, parameters: Sequence[Tensor]) -> Sequence[Tensor]:
    """Return the gradients of some function of the outputs."""
    found: Sequence[Tensor] = torch.autograd.grad(
        outputs.square().sum(), parameters, materialize_grads=True, allow_unused=True
    )
    return found


def _close(own: Tensor, other: Tensor) -> bool:
    if own.shape != other.shape:
        return False
    own, other = own.detach().double(), other.detach().double()
    finite = other[other.isfinite()]
    largest = float(finite.abs().max()) if finite.numel() else 0.0
    return torch.allclose(own, other, rtol=0, atol=1e-9 * max(largest, 1e-3))
