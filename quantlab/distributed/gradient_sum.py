"""Sums of gradients, losses and statistics over replicas, and the check that weights are equal."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from quantlab.distributed.data_parallel import Replicas

_INTEGERS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
"""Types of the integers that have the bits of numbers of a size in bytes."""


class GradientSum:
    """Computes the gradients of a batch from those of its shares."""

    def __init__(self, model: nn.Module, replicas: Replicas) -> None:
        """Find the network's buffers.

        Running statistics become the mean over the replicas, weighted by their images. Other
        buffers of floating-point numbers become those of the leading replica. Buffers of integers
        are expected to change in the same way on all replicas.

        Args:
            model: the network.
            replicas: the processes that compute the shares.
        """
        self._model = model
        self._replicas = replicas
        if replicas.size == 1:
            return
        self._statistics = [
            buffer
            for module in model.modules()
            if isinstance(module, _NormBase)
            for buffer in (module.running_mean, module.running_var)
            if buffer is not None
        ]
        averaged = {id(buffer) for buffer in self._statistics}
        self._others = [
            buffer
            for buffer in model.buffers()
            if buffer.is_floating_point() and id(buffer) not in averaged
        ]

    def backward(self, loss: Tensor, weight: float) -> Tensor:
        """Compute the gradients of the whole batch, on all replicas.

        A parameter that the network has used on one of them has a gradient on all.

        Args:
            loss: mean loss of this replica's share.
            weight: see `SharedBatch.weight`.

        Returns:
            The mean loss of the whole batch.
        """
        if self._replicas.size == 1:
            loss.backward()
            return loss
        trained = [weights for weights in self._model.parameters() if weights.requires_grad]
        # Flat optimizers set all gradients beforehand. It is the same on all replicas.
        may_lack_some = any(weights.grad is None for weights in trained)
        weighted = loss * weight
        weighted.backward()
        total = weighted.detach().clone()
        gradients = [
            torch.zeros_like(weights) if weights.grad is None else weights.grad
            for weights in trained
        ]
        self._add([total, *gradients], weight)
        if may_lack_some:
            has_one = torch.tensor([weights.grad is not None for weights in trained])
            counts = has_one.to(total.device, torch.int32)
            self._replicas.add(counts)
            for weights, gradient, count in zip(trained, gradients, counts.tolist(), strict=True):
                if count and weights.grad is None:
                    weights.grad = gradient
        return total

    def average_statistics(self, weight: float) -> None:
        """Replace running statistics by their mean over the replicas.

        Args:
            weight: see `SharedBatch.weight`.
        """
        self._add([], weight)

    @torch.no_grad()
    def _add(self, tensors: Sequence[Tensor], weight: float) -> None:
        for buffer in self._statistics:
            buffer.mul_(weight)
        if not self._replicas.is_leading:
            for buffer in self._others:
                buffer.zero_()
        kinds: dict[torch.dtype, list[Tensor]] = {}
        for tensor in (*tensors, *self._statistics, *self._others):
            kinds.setdefault(tensor.dtype, []).append(tensor)
        for alike in kinds.values():
            flat = torch.cat([tensor.reshape(-1) for tensor in alike])
            self._replicas.add(flat)
            pieces = flat.split([tensor.numel() for tensor in alike])
            for tensor, piece in zip(alike, pieces, strict=True):
                tensor.copy_(piece.view(tensor.shape))


@torch.no_grad()
def require_equal(tensors: Iterable[Tensor], replicas: Replicas) -> None:
    """Check that all replicas have the same weights, bit for bit.

    Args:
        tensors: weights of this replica.
        replicas: the processes that should have the same.

    Raises:
        RuntimeError: if they differ.
    """
    if replicas.size == 1:
        return
    sums = [
        tensor.detach()
        .contiguous()
        .view(-1)
        .view(_INTEGERS[tensor.element_size()])
        .sum(dtype=torch.int64)
        for tensor in tensors
    ]
    gathered = replicas.gather(torch.stack(sums).cpu())
    if not (gathered == gathered[0]).all():
        raise RuntimeError(
            "the weights of the processes that train this trial together differ; use processors of "
            "one type, and layers that compute the same from the same numbers"
        )
