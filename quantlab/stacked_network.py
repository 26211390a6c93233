"""Networks of one architecture, computed as one with a leading trial axis."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from enum import Enum

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from quantlab.errors import (
    ConfigurationError,
    MemoryExhaustedError,
    naming_exhausted_memory,
)
from quantlab.execution import Execution


class Stacking(Enum):
    """Ways to compute several networks as one."""

    FOLDED = "folded"
    """The trial axis lies in the channels: grouped convolutions, batched matrix products, and
    normalization over the channels of all. For networks of such layers, if whatever lies between
    them keeps channels apart."""
    VMAP = "vmap"
    """`torch.func.vmap`: for any network that draws no random numbers."""


_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_NORMALIZATIONS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


class StackedNetwork:
    """K networks, whose weights are given with each forward pass as tensors (K, *shape).

    Their buffers (running statistics) are moved into tensors of that kind: those of each network
    become views of its part, and so follow.
    """

    def __init__(self, models: Sequence[nn.Module], stacking: Stacking) -> None:
        """Take over the buffers.

        Args:
            models: of one architecture; their parameters are not used.
            stacking: how to compute them; see `choose_stacking`.
        """
        buffers = _stacked_buffers(models)
        self._network: _Folded | _Mapped
        if stacking is Stacking.FOLDED:
            self._network = _Folded(models[0], len(models), buffers)
        else:
            self._network = _Mapped(models[0], buffers)

    def train(self, mode: bool = True) -> None:
        """Normalize by the statistics of the batch, or by the running ones."""
        self._network.model.train(mode)

    def __call__(
        self, weights: Mapping[str, Tensor], inputs: Tensor, execution: Execution
    ) -> Tensor:
        """One forward pass.

        Args:
            weights: parameter name -> (K, *shape).
            inputs: (K, batch, channels, height, width), each network's own.
            execution: memory format and autocast.

        Returns:
            (K, batch, num_classes) logits.
        """
        with execution.autocast(inputs.device):
            return self._network(weights, inputs, execution)


class _Folded:
    """Activations are (batch, K * channels, height, width), the channels of a network together."""

    def __init__(self, model: nn.Module, count: int, buffers: Mapping[str, Tensor]) -> None:
        self._count = count
        model = deepcopy(model)
        names = {id(parameter): name for name, parameter in model.named_parameters()}
        self._places: list[tuple[nn.Module, str, str, bool]] = []
        """(layer, attribute, name of the parameter, whether the trial axis is folded)"""
        self.model: nn.Module = model
        for path, module in list(model.named_modules()):
            layer, is_folded = _widened(module, count), not isinstance(module, nn.Linear)
            if layer is not module:
                model = _replaced(model, path, layer)
            for key, parameter in list(module.named_parameters(recurse=False)):
                del layer._parameters[key]
                self._places.append((layer, key, names[id(parameter)], is_folded))
            for key, _ in list(module.named_buffers(recurse=False)):
                stacked = buffers[f"{path}.{key}" if path else key]
                layer._buffers[key] = stacked.flatten(0, 1) if stacked.dim() > 1 else stacked
        self.model = model

    def __call__(
        self, weights: Mapping[str, Tensor], inputs: Tensor, execution: Execution
    ) -> Tensor:
        for layer, key, name, is_folded in self._places:
            setattr(layer, key, weights[name].flatten(0, 1) if is_folded else weights[name])
        folded = inputs.transpose(0, 1).flatten(1, 2)
        logits: Tensor = self.model(execution.layout(folded)).unflatten(1, (self._count, -1))
        return logits.transpose(0, 1)


class _StackedLinear(nn.Module):
    """As many linear layers as there are networks, as one batched matrix product."""

    weight: Tensor
    """(K, out, in)"""
    bias: Tensor | None

    def __init__(self, count: int) -> None:
        super().__init__()
        self._count = count
        self.register_parameter("weight", None)
        self.register_parameter("bias", None)

    def forward(self, folded: Tensor) -> Tensor:
        """(batch, K * in) to (batch, K * out)."""
        inputs = folded.unflatten(1, (self._count, -1)).transpose(0, 1)
        if self.bias is None:
            outputs = torch.bmm(inputs, self.weight.transpose(1, 2))
        else:
            outputs = torch.baddbmm(self.bias[:, None], inputs, self.weight.transpose(1, 2))
        return outputs.transpose(0, 1).flatten(1)


def _widened(module: nn.Module, count: int) -> nn.Module:
    """The layer over the channels of all; the same one, changed, where it has a place for that."""
    if isinstance(module, _CONVOLUTIONS):
        module.groups *= count
        module.in_channels *= count
        module.out_channels *= count
    elif isinstance(module, _NORMALIZATIONS):
        module.num_features *= count
    elif isinstance(module, nn.GroupNorm):
        module.num_groups *= count
        module.num_channels *= count
    elif isinstance(module, nn.Linear):
        return _StackedLinear(count)
    return module


def _replaced(model: nn.Module, path: str, layer: nn.Module) -> nn.Module:
    if not path:
        return layer
    parent, _, name = path.rpartition(".")
    setattr(model.get_submodule(parent), name, layer)
    return model


class _Mapped:
    """`torch.func.vmap` over the trial axis of everything."""

    def __init__(self, model: nn.Module, buffers: Mapping[str, Tensor]) -> None:
        self.model = deepcopy(model)
        self._buffers = dict(buffers)

    def __call__(
        self, weights: Mapping[str, Tensor], inputs: Tensor, execution: Execution
    ) -> Tensor:
        def one(weights: dict[str, Tensor], buffers: dict[str, Tensor], inputs: Tensor) -> Tensor:
            logits: Tensor = functional_call(self.model, (weights, buffers), (inputs,))
            return logits

        together: Tensor = vmap(one)(dict(weights), self._buffers, inputs)
        return together


def _stacked_buffers(models: Sequence[nn.Module]) -> dict[str, Tensor]:
    """Name -> (K, *shape), of which the models' buffers become views."""
    stacked: dict[str, Tensor] = {}
    for path, _ in models[0].named_modules():
        layers = [model.get_submodule(path) for model in models]
        for key, buffer in layers[0].named_buffers(recurse=False):
            together = torch.stack([layer.get_buffer(key) for layer in layers])
            stacked[f"{path}.{key}" if path else key] = together
            for layer, own in zip(layers, together.unbind(), strict=True):
                layer._buffers[key] = own
            assert together.shape[1:] == buffer.shape
    return stacked


def choose_stacking(model: nn.Module, image_shape: Sequence[int]) -> Stacking:
    """The first way to stack copies of a network that gives what the copies give alone.

    It is tried on two copies with random weights and a few random images: logits, gradients and
    buffers must be those of the copies, also if one of them gets images that are not finite.

    Args:
        model: of the architecture; it is not changed.
        image_shape: (channels, height, width) of its inputs.

    Raises:
        ConfigurationError: there is none; for instance, because the network draws random numbers.
    """
    name = type(model).__name__
    trial = _Trial(model, image_shape)
    if trial.draws:
        raise ConfigurationError(
            f"pack: {name} draws random numbers, which several networks in one cannot have each "
            "for itself; train its trials alone"
        )
    ways = [Stacking.FOLDED] if _is_foldable(model) else []
    for stacking in (*ways, Stacking.VMAP):
        if trial.agrees(stacking):
            return stacking
    raise ConfigurationError(
        f"pack: {name} computed as one of several networks gives something else than alone; "
        "train its trials alone"
    )


def _is_foldable(model: nn.Module) -> bool:
    known = (*_CONVOLUTIONS, *_NORMALIZATIONS, nn.GroupNorm, nn.Linear)
    return all(
        type(module) in known
        or not (any(True for _ in module.parameters(recurse=False)) or module._buffers)
        for module in model.modules()
    )


class _Trial:
    """What two copies of a network give by themselves, and whether a stack of them gives that."""

    def __init__(self, model: nn.Module, image_shape: Sequence[int]) -> None:
        generator = torch.Generator().manual_seed(0)
        self._copies = [deepcopy(model).to("cpu", torch.float64) for _ in range(2)]
        with torch.no_grad():
            for copy in self._copies:
                for parameter in copy.parameters():  # zeros, too, become something
                    noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
                    parameter.add_(noise, alpha=0.1)
                for buffer in copy.buffers():  # running variances stay positive
                    if buffer.is_floating_point():
                        buffer.mul_(1.0 + torch.rand(buffer.shape, generator=generator))
        self._images = torch.rand(2, 3, *image_shape, generator=generator, dtype=torch.float64)
        self._before = deepcopy(self._copies)
        with torch.random.fork_rng(devices=[]):
            state = torch.get_rng_state()
            self._trained = [self._forward(place, training=True) for place in (0, 1)]
            self.draws = not torch.equal(state, torch.get_rng_state())
            """Whether the network takes numbers from torch's default generator."""
            self._gradients = torch.autograd.grad(
                self._trained[0].square().sum(),
                [*self._copies[0].parameters()],
                materialize_grads=True,
                allow_unused=True,
            )
            self._evaluated = [self._forward(place, training=False) for place in (0, 1)]

    def _forward(self, place: int, *, training: bool) -> Tensor:
        logits: Tensor = self._copies[place].train(training)(self._images[place])
        return logits

    def agrees(self, stacking: Stacking) -> bool:
        """Whether a stack of the two gives the same."""
        try:
            with naming_exhausted_memory("trying how to stack networks"):
                return self._agrees(stacking)
        except MemoryExhaustedError:
            raise
        except Exception:  # whatever the network or a transformation has against it
            return False

    def _agrees(self, stacking: Stacking) -> bool:
        members = deepcopy(self._before)
        stack = StackedNetwork(members, stacking)
        weights = {
            name: torch.stack([member.get_parameter(name).detach() for member in members])
            for name, _ in members[0].named_parameters()
        }
        plain = Execution(channels_last=False)
        trained = stack(weights, self._images, plain).detach()
        stack.train(False)
        evaluated = stack(weights, self._images, plain).detach()
        buffers = [
            (own.clone(), other)
            for member, copy in zip(members, self._copies, strict=True)
            for own, other in zip(member.buffers(), copy.buffers(), strict=True)
        ]
        pairs = [(trained, torch.stack(self._trained)), (evaluated, torch.stack(self._evaluated))]
        # The second network's images are beyond all numbers; the first one must not notice.
        stack.train()
        poisoned = self._images.clone()
        poisoned[1] = torch.nan
        parameters = {name: weight.requires_grad_() for name, weight in weights.items()}
        logits = stack(parameters, poisoned, plain)
        gradients = torch.autograd.grad(
            logits.square().sum(), [*parameters.values()], materialize_grads=True, allow_unused=True
        )
        pairs.append((logits[0].detach(), self._trained[0]))
        pairs += [(own[0], other) for own, other in zip(gradients, self._gradients, strict=True)]
        return all(_close(own, other) for own, other in (*pairs, *buffers))


def _close(own: Tensor, other: Tensor) -> bool:
    other = other.detach()
    if own.shape != other.shape:
        return False
    largest = float(other.abs().max()) if other.numel() else 0.0
    return torch.allclose(own.to(other), other, rtol=0, atol=1e-9 * max(largest, 1e-3))
