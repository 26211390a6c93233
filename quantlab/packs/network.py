"""Several networks of one architecture, computed as one network with a trial axis."""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from enum import Enum
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.func import functional_call, vmap
from torch.nn.functional import scaled_dot_product_attention
from torch.overrides import TorchFunctionMode

from quantlab.execution import Execution
from quantlab.kernels.grouped_convolution import GroupedConvolution, is_fitting


class Stacking(Enum):
    """Ways to compute several networks as one."""

    FOLDED = "folded"
    """The trial axis is folded into the channels: convolutions become grouped convolutions, linear
    layers batched matrix products, and normalization acts on the channels of all networks. It
    requires that the operations between these layers do not mix channels."""
    VMAP = "vmap"
    """`torch.func.vmap` over whole networks, for any network that draws no random numbers."""


_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_NORMALIZATIONS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
FOLDABLE = (*_CONVOLUTIONS, *_NORMALIZATIONS, nn.GroupNorm, nn.Linear)
"""Layers with weights whose trial axis can be folded into the channels."""


class StackedNetwork:
    """K networks, whose weights are passed to each forward pass as tensors (K, *shape).

    The buffers of the networks, such as running statistics, are moved to such tensors as well. The
    buffers of each network become views of them.
    """

    def __init__(
        self, models: Sequence[nn.Module], stacking: Stacking, *, own_kernels: bool = False
    ) -> None:
        """Take over the buffers of the networks.

        Args:
            models: networks of one architecture. Their parameters are not used.
            stacking: way to compute them; see `quantlab.packs.stacking`.
            own_kernels: whether convolutions use `quantlab.kernels` where possible.
        """
        self.buffers: Mapping[str, Tensor] = _stacked_buffers(models)
        """Names with the buffers (K, *shape) of the networks."""
        self._network: _Folded | _Mapped
        if stacking is Stacking.FOLDED:
            self._network = _Folded(models[0], len(models), self.buffers, own_kernels)
        else:
            self._network = _Mapped(models[0], self.buffers)

    def train(self, mode: bool = True) -> None:
        """Set the networks to training mode, or to evaluation mode if `mode` is False."""
        self._network.model.train(mode)

    def __call__(
        self,
        weights: Mapping[str, Tensor],
        inputs: Tensor,
        execution: Execution,
        *,
        compiled: bool = False,
    ) -> Tensor:
        """Compute one forward pass.

        Args:
            weights: parameter names with tensors (K, *shape).
            inputs: (K, batch, channels, height, width), with the inputs of each network.
            execution: memory format and autocast.
            compiled: whether to use `torch.compile`, which compiles again for every new shape of
                the inputs, and for training and evaluation separately.

        Returns:
            (K, batch, num_classes) logits.
        """
        with execution.autocast(inputs.device):
            return self._network(weights, inputs, execution, compiled)


class _Folded:
    """Activations are (batch, K * channels, height, width), grouped by network."""

    def __init__(
        self, model: nn.Module, count: int, buffers: Mapping[str, Tensor], own_kernels: bool
    ) -> None:
        self._count = count
        model = deepcopy(model)
        names = {id(parameter): name for name, parameter in model.named_parameters()}
        self._places: list[tuple[nn.Module, str, str, bool]] = []
        """(layer, attribute, name of the parameter, whether the trial axis is folded)"""
        self.model: nn.Module = model
        for path, module in list(model.named_modules()):
            layer, is_folded = (
                _widened(module, count, own_kernels),
                not isinstance(module, nn.Linear),
            )
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
        self, weights: Mapping[str, Tensor], inputs: Tensor, execution: Execution, compiled: bool
    ) -> Tensor:
        model = self._compiled if compiled else self.model
        for layer, key, name, is_folded in self._places:
            setattr(layer, key, weights[name].flatten(0, 1) if is_folded else weights[name])
        folded = inputs.transpose(0, 1).flatten(1, 2)
        logits: Tensor = model(execution.layout(folded)).unflatten(1, (self._count, -1))
        return logits.transpose(0, 1)

    @cached_property
    def _compiled(self) -> Callable[[Tensor], Tensor]:
        """The compiled network. It is made on first use, because it costs 55 MiB and a second."""
        compiled: Callable[[Tensor], Tensor] = torch.compile(self.model, dynamic=False)
        return compiled


class _StackedLinear(nn.Module):
    """The linear layers of all networks as one batched matrix product."""

    weight: Tensor
    """(K, out, in)"""
    bias: Tensor | None

    def __init__(self, count: int) -> None:
        super().__init__()
        self._count = count
        self.register_parameter("weight", None)
        self.register_parameter("bias", None)

    def forward(self, folded: Tensor) -> Tensor:
        """Map (batch, K * in) to (batch, K * out)."""
        inputs = folded.unflatten(1, (self._count, -1)).transpose(0, 1)
        if self.bias is None:
            outputs = torch.bmm(inputs, self.weight.transpose(1, 2))
        else:
            outputs = torch.baddbmm(self.bias[:, None], inputs, self.weight.transpose(1, 2))
        return outputs.transpose(0, 1).flatten(1)


def _widened(module: nn.Module, count: int, own_kernels: bool) -> nn.Module:
    """Return the layer for the channels of all networks. It may be the given layer, changed."""
    if own_kernels and isinstance(module, nn.Conv2d) and is_fitting(module):
        return GroupedConvolution(count, module.stride[0])
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
        for module in self.model.modules():
            if isinstance(module, _NORMALIZATIONS):
                module.register_forward_pre_hook(_at_full_precision)

    def __call__(
        self, weights: Mapping[str, Tensor], inputs: Tensor, execution: Execution, compiled: bool
    ) -> Tensor:
        def one(weights: dict[str, Tensor], buffers: dict[str, Tensor], inputs: Tensor) -> Tensor:
            logits: Tensor = functional_call(self.model, (weights, buffers), (inputs,))
            return logits

        if compiled:
            mapped = torch.compile(vmap(one), dynamic=False)
            compiled_together: Tensor = mapped(dict(weights), self._buffers, inputs)
            return compiled_together
        with _AttentionOfAll():
            together: Tensor = vmap(one)(dict(weights), self._buffers, inputs)
        return together


_ARGUMENTS = ("query", "key", "value", "attn_mask", "dropout_p", "is_causal")
"""Arguments of `scaled_dot_product_attention` that may have no name in a call."""


class _AttentionOfAll(TorchFunctionMode):
    """Computes the attention of all networks in one call, where vmap on a CPU makes many."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func is scaled_dot_product_attention:
            given = {**dict(zip(_ARGUMENTS, args, strict=False)), **(kwargs or {})}
            tensors = [given.pop(name) for name in _ARGUMENTS[:3]]
            options = {key: value for key, value in given.items() if value is not None}
            if not options.get("dropout_p"):
                options.pop("dropout_p", None)
            if options.keys() <= {"is_causal", "scale", "enable_gqa"} and tensors[0].dim() > 2:
                return _StackedAttention.apply(*tensors, options)
        return func(*args, **(kwargs or {}))


class _StackedAttention(Function):
    """Attention of the networks that vmap maps over, as that of a larger batch."""

    @staticmethod
    def forward(*args: Any) -> Tensor:
        raise AssertionError("is called within vmap")

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Nothing is stored, because autograd differentiates the operations in `vmap`."""

    @staticmethod
    def vmap(
        info: Any,
        in_dims: tuple[int | None, ...],
        query: Tensor,
        key: Tensor,
        value: Tensor,
        options: Mapping[str, Any],
    ) -> tuple[Tensor, int]:
        """Return the result with its mapped axis."""
        count = info.batch_size

        def joined(tensor: Tensor, axis: int | None) -> Tensor:
            whole = tensor.expand(count, *tensor.shape) if axis is None else tensor.movedim(axis, 0)
            return whole.flatten(0, 1)

        mixed = scaled_dot_product_attention(
            joined(query, in_dims[0]), joined(key, in_dims[1]), joined(value, in_dims[2]), **options
        )
        return mixed.unflatten(0, (count, -1)), 0


def _at_full_precision(layer: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Convert inputs to the dtype of the running statistics, which vmap needs under autocast."""
    buffers = [buffer for buffer in layer.buffers() if buffer.is_floating_point()]
    return tuple(one.to(buffers[0].dtype) if buffers else one for one in inputs)


def _stacked_buffers(models: Sequence[nn.Module]) -> dict[str, Tensor]:
    """Return names with tensors (K, *shape), and make the models' buffers views of them."""
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
