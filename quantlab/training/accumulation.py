"""Gradient accumulation: the gradients of a batch, computed in parts that need less memory."""

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from quantlab.errors import ConfigurationError


def accumulate(
    model: nn.Module,
    mean_loss: Callable[[Tensor, Tensor], Tensor],
    inputs: Tensor,
    labels: Tensor,
    parts: int,
) -> Tensor:
    """Add the gradients of a batch's mean loss to those of the parameters, one part at a time.

    The batch is cut at the positions k n / parts, rounded down, as into the shards of
    `Recipe.batchnorm_shards`. Batch normalization normalizes each part by its own statistics, and
    its running statistics get one update, with the mean over the parts, weighted by their images.
    So do those of instance normalization. Up to rounding, this is a step with as many shards, and
    without batch normalization a step with the whole batch. Layers that draw random numbers draw
    them for one part after another.

    Args:
        model: the network in training mode.
        mean_loss: computes the mean loss of images and labels with the network.
        inputs: (n, ...) images.
        labels: (n,) labels.
        parts: number of parts; without images, they are left out.

    Returns:
        The mean loss of the batch, without its graph.
    """
    statistics = _RunningStatistics(model)
    total = torch.zeros((), device=labels.device)
    cuts = [place * len(labels) // parts for place in range(parts + 1)]
    for start, stop in pairwise(cuts):
        if start == stop:
            continue
        share = (stop - start) / len(labels)
        statistics.restore()
        loss = mean_loss(inputs[start:stop], labels[start:stop]) * share
        loss.backward()
        statistics.add(share)
        total = total + loss.detach()
    statistics.finish()
    return total


def require_one_process(parts: int, replicas: int) -> None:
    """Check that gradients are not accumulated by several processes.

    Args:
        parts: `Recipe.accumulation`.
        replicas: number of processes that train the recipe together.

    Raises:
        ConfigurationError: if they would be.
    """
    if parts > 1 and replicas > 1:
        raise ConfigurationError(
            f"Recipe.accumulation = {parts}: must be 1 if {replicas} processes share a batch, "
            "because each already computes a part of it; use one process, or batchnorm_shards"
        )


class _RunningStatistics:
    """The running statistics of normalization before a step, and their mean over parts."""

    @torch.no_grad()
    def __init__(self, model: nn.Module) -> None:
        self._buffers = [
            buffer
            for layer in model.modules()
            if isinstance(layer, _NormBase)
            for buffer in layer.buffers(recurse=False)
        ]
        self._before = [buffer.clone() for buffer in self._buffers]
        self._mean = [torch.zeros_like(buffer) for buffer in self._buffers]

    @torch.no_grad()
    def restore(self) -> None:
        """Set the buffers back to what they were before the step."""
        for buffer, before in zip(self._buffers, self._before, strict=True):
            buffer.copy_(before)

    @torch.no_grad()
    def add(self, share: float) -> None:
        """Add the statistics that a part has led to."""
        for buffer, mean in zip(self._buffers, self._mean, strict=True):
            if buffer.is_floating_point():
                mean.add_(buffer, alpha=share)

    @torch.no_grad()
    def finish(self) -> None:
        """Set the buffers to the mean. The count of batches has grown by one."""
        for buffer, mean in zip(self._buffers, self._mean, strict=True):
            if buffer.is_floating_point():
                buffer.copy_(mean)
