"""Batch normalization whose statistics are those of shards, or of several processes together."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.modules.batchnorm import _BatchNorm

from quantlab.distributed.data_parallel import Replicas
from quantlab.distributed.shared_batch import SharedBatch
from quantlab.errors import ConfigurationError
from quantlab.models.weights import type_of_layer


class SharedBatchNorm(_BatchNorm):
    """Batch normalization of the current `SharedBatch`, for any number of dimensions.

    With one shard, the statistics are those of the batch, of which each replica has a share. With
    several, each shard is normalized by its own statistics, and the running statistics are updated
    with the mean over the shards, weighted by their images. With as many shards as processes, this
    is batch normalization in data-parallel training without synchronization; on a single device,
    it is also called ghost batch normalization. In evaluation mode, it is torch's.
    """

    def __init__(self, layer: _BatchNorm, batch: SharedBatch) -> None:
        """Take over the parameters and buffers of a layer.

        Args:
            layer: the layer to replace.
            batch: the current batch.
        """
        super().__init__(
            layer.num_features,
            layer.eps,
            layer.momentum,
            affine=False,
            track_running_stats=False,
        )
        self.affine = layer.affine
        self.track_running_stats = layer.track_running_stats
        self.weight, self.bias = layer.weight, layer.bias
        self.running_mean, self.running_var = layer.running_mean, layer.running_var
        self.num_batches_tracked = layer.num_batches_tracked
        self.training = layer.training
        self.stands_for = type_of_layer(layer)
        self._batch = batch

    def _check_input_dim(self, input: Tensor) -> None:
        if input.dim() < 2:
            raise ValueError(f"expected an input of at least 2 dimensions, not {input.dim()}")

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def forward(self, input: Tensor) -> Tensor:
        """Normalize (images, channels, ...)."""
        batch = self._batch
        is_plain = len(batch.shard_sizes) == 1 and not batch.is_synchronized
        if not self.training or is_plain:
            output: Tensor = super().forward(input)
            return output
        self._check_input_dim(input)
        factor = self._update_factor()
        if batch.is_synchronized:
            normalized: Tensor
            normalized, mean, variance = _Synchronized.apply(
                input, self.weight, self.bias, self.eps, batch.replicas
            )
            self._update(mean, variance, factor)
            return normalized
        if len(input) != sum(batch.shard_sizes):
            raise ConfigurationError(
                f"Recipe.batchnorm_shards: a layer received {len(input)} rows for "
                f"{sum(batch.shard_sizes)} images; must be 1 for this network, because its rows "
                "are not images"
            )
        return self._of_shards(input, factor)

    def _of_shards(self, input: Tensor, factor: float) -> Tensor:
        outputs = []
        total_mean = total_variance = torch.zeros(())
        for shard in input.split(self._batch.shard_sizes):
            mean = variance = None
            if self.running_mean is not None and self.running_var is not None:
                mean, variance = self.running_mean.clone(), self.running_var.clone()
            outputs.append(
                F.batch_norm(shard, mean, variance, self.weight, self.bias, True, factor, self.eps)
            )
            if mean is not None and variance is not None:
                part = len(shard) / len(input)
                total_mean = mean * part + total_mean.to(mean)
                total_variance = variance * part + total_variance.to(variance)
        if self.running_mean is not None and self.running_var is not None:
            with torch.no_grad():
                self.running_mean.copy_(total_mean)
                self.running_var.copy_(total_variance)
        return torch.cat(outputs)

    def _update_factor(self) -> float:
        """Return the weight of this batch in the running statistics, as torch computes it."""
        if self.num_batches_tracked is None:
            return 0.0
        self.num_batches_tracked.add_(1)
        return 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum

    @torch.no_grad()
    def _update(self, mean: Tensor, variance: Tensor, factor: float) -> None:
        if self.running_mean is not None and self.running_var is not None:
            self.running_mean.lerp_(mean.to(self.running_mean), factor)
            self.running_var.lerp_(variance.to(self.running_var), factor)


class _Synchronized(torch.autograd.Function):
    """Normalization by the statistics of the shares of all replicas."""

    @staticmethod
    def forward(
        ctx: Any,
        input: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        eps: float,
        replicas: Replicas,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the output, and the mean and the unbiased variance of each channel."""
        axes = [0, *range(2, input.dim())]
        values = input if input.dtype == torch.float64 else input.float()
        own_variance, own_mean = torch.var_mean(values, axes, correction=0)
        own_count = own_mean.new_full((1,), values.numel() // values.shape[1])
        table = replicas.gather(torch.cat((own_mean, own_variance, own_count)).double())
        means, variances, counts = table.split([len(own_mean), len(own_mean), 1], dim=1)
        count = counts.sum()
        mean = (counts * means).sum(0) / count
        variance = (counts * (variances + (means - mean).square())).sum(0) / count
        scale = (variance + eps).rsqrt().to(values)
        centre = mean.to(values)
        shape = [1, -1, *[1] * (input.dim() - 2)]
        output = (values - centre.view(shape)) * scale.view(shape)
        if weight is not None:
            output = output * weight.view(shape)
        if bias is not None:
            output = output + bias.view(shape)
        unbiased = variance * count / (count - 1)
        ctx.save_for_backward(input, weight, centre, scale, count)
        ctx.replicas = replicas
        ctx.mark_non_differentiable(mean, unbiased)
        return output.to(input.dtype), mean, unbiased

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, *others: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of the input and of this replica's part of weight and bias."""
        input, weight, centre, scale, count = ctx.saved_tensors
        axes = [0, *range(2, input.dim())]
        shape = [1, -1, *[1] * (input.dim() - 2)]
        values, upstream = input.to(centre), gradient.to(centre)
        standard = (values - centre.view(shape)) * scale.view(shape)
        of_bias = upstream.sum(axes)
        of_weight = (upstream * standard).sum(axes)
        sums = torch.cat((of_bias, of_weight))
        ctx.replicas.add(sums)
        mean, mean_product = (sums / count.to(sums)).chunk(2)
        of_input = upstream - mean.view(shape) - standard * mean_product.view(shape)
        of_input = of_input * (scale if weight is None else scale * weight).view(shape)
        needs = ctx.needs_input_grad
        return (
            of_input.to(input.dtype) if needs[0] else None,
            of_weight if needs[1] else None,
            of_bias if needs[2] else None,
            None,
            None,
        )


def share_batch_norm(model: nn.Module, batch: SharedBatch, shards: int) -> nn.Module:
    """Replace the batch normalization of a network, if its statistics are not those of a process.

    Args:
        model: the network, which is changed in place.
        batch: the current batch.
        shards: `Recipe.batchnorm_shards`.

    Returns:
        The network; its replacement if it is a layer of batch normalization itself.

    Raises:
        ConfigurationError: if a layer has a forward pass of its own.
    """
    if shards == 1 and batch.replicas.size == 1:
        return model
    made: dict[int, nn.Module] = {}

    def replaced(module: nn.Module) -> nn.Module:
        if id(module) in made:
            return made[id(module)]
        made[id(module)] = module
        if isinstance(module, _BatchNorm):
            if type(module).forward is not _BatchNorm.forward:
                raise ConfigurationError(
                    f"{type(module).__name__}: its statistics cannot be shared by processes or "
                    "taken of shards, because its forward pass is not that of torch's BatchNorm; "
                    "train it in one process with batchnorm_shards = 1"
                )
            made[id(module)] = SharedBatchNorm(module, batch)
        for name, child in module._modules.items():
            if child is not None:
                module._modules[name] = replaced(child)
        return made[id(module)]

    return replaced(model)
