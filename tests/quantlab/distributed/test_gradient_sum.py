"""Gradients of a whole batch, where the network of a replica may not use all parameters."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from quantlab.distributed.gradient_sum import GradientSum


class Threads:
    """Replicas that are threads of one process."""

    def __init__(self, rank: int, barrier: Barrier, given: list[Any]) -> None:
        self.rank, self.size, self.barrier, self.given = rank, len(given), barrier, given
        self.is_leading = rank == 0

    def add(self, tensor: Tensor) -> None:
        self.given[self.rank] = tensor.clone()
        self.barrier.wait(20)
        tensor.copy_(sum(self.given))
        self.barrier.wait(20)


class Branches(nn.Module):
    """A network that uses one of its layers for inputs above 0, another one below, and none of the
    third."""

    def __init__(self) -> None:
        super().__init__()
        self.above, self.below, self.unused = (nn.Linear(2, 1, bias=False) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        parts = [
            layer(x[where])
            for layer, where in ((self.above, x[:, 0] > 0), (self.below, x[:, 0] <= 0))
            if where.any()
        ]
        return torch.cat(parts)


def gradients(network: nn.Module) -> list[Tensor | None]:
    return [weights.grad for weights in network.parameters()]


@pytest.mark.parametrize("preset", [False, True])
def test_a_parameter_that_one_replica_has_used_has_a_gradient_on_all(preset: bool) -> None:
    inputs = torch.tensor([[1.0, 2.0], [3.0, -1.0], [-1.0, 0.5], [-2.0, 4.0]])
    barrier = Barrier(2)
    given: list[Any] = [None, None]

    def one(rank: int) -> list[Tensor | None]:
        network = Branches()
        for weights in network.parameters():
            nn.init.constant_(weights, 0.5)
            weights.grad = torch.zeros_like(weights) if preset else None
        replicas: Any = Threads(rank, barrier, given)
        share = inputs[2 * rank : 2 * rank + 2]
        GradientSum(network, replicas).backward(network(share).square().mean(), 0.5)
        return gradients(network)

    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(one, range(2)))
    network = Branches()
    for weights in network.parameters():
        nn.init.constant_(weights, 0.5)
    network(inputs).square().mean().backward()
    for found in both:
        for own, expected in zip(found, gradients(network), strict=True):
            if expected is None:
                assert own is None or (preset and not own.any())
            else:
                assert own is not None
                torch.testing.assert_close(own, expected)
