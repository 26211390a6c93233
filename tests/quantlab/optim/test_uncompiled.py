"""Optimizers that do not import torch's compiler compute the same."""

import copy
import inspect
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from quantlab.optimizer_spec import uncompiled
from tests.quantlab.optim.test_optimizer_spec import ALGORITHMS

TRAINS = """
import sys

from quantlab import TrainingRun
from quantlab.packs.run import PackedRun
from tests.quantlab.recipes import quantized

recipe = quantized(epochs=2)
first = TrainingRun(recipe)
next(iter(first))
again = TrainingRun(recipe)
again.load_state_dict(first.state_dict())
list(again)
list(PackedRun([quantized(seed=seed, epochs=1) for seed in range(2)]))
print(*sys.modules)
"""


def trained(algorithm: type[Optimizer], options: dict[str, Any]) -> tuple[Optimizer, list[Tensor]]:
    """An optimizer after five steps, half of them continued from its state dict; and parameters."""
    torch.manual_seed(0)
    # Of two dimensions, which Muon requires.
    parameters = [nn.Parameter(torch.randn(4, 3)), nn.Parameter(torch.randn(2, 2))]
    takes_closures = issubclass(algorithm, torch.optim.LBFGS)  # and has a single group
    first = parameters if takes_closures else parameters[:1]
    optimizer = algorithm(first, lr=0.01, **options)  # type: ignore[call-arg]
    if not takes_closures:
        optimizer.add_param_group({"params": parameters[1:], "lr": 0.02})

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = torch.stack([(parameter**4).sum() for parameter in parameters]).sum()
        value.backward()
        if issubclass(algorithm, torch.optim.SparseAdam):
            for parameter in parameters:
                assert parameter.grad is not None
                parameter.grad = parameter.grad.to_sparse()
        return value

    for step in range(5):
        if step == 2:
            optimizer.load_state_dict(optimizer.state_dict())
        if takes_closures:
            optimizer.step(loss)
        else:
            loss()
            optimizer.step()
    return optimizer, [parameter.detach() for parameter in parameters]


@pytest.mark.parametrize(
    ("algorithm", "options"),
    [
        (algorithm, options)
        for algorithm in ALGORITHMS
        for options in ({}, {"fused": True}, {"foreach": True})
        if options.keys() <= inspect.signature(algorithm).parameters.keys()
    ],
)
def test_each_optimizer_of_torch_takes_the_same_steps(
    algorithm: type[Optimizer], options: dict[str, Any]
) -> None:
    expected, weights = trained(algorithm, options)
    found, same = trained(uncompiled(algorithm), options)
    assert all(torch.equal(one, other) for one, other in zip(weights, same, strict=True))
    assert isinstance(found, algorithm)
    assert repr(found) == repr(expected)
    assert repr(found.state_dict()) == repr(expected.state_dict())


def test_a_step_can_be_differentiated() -> None:
    """As with ``differentiable=True`` of torch."""
    rate = torch.tensor(0.1, requires_grad=True)
    weight = torch.ones(1, requires_grad=True)
    moved = weight * 1.0
    moved.retain_grad()
    optimizer = uncompiled(torch.optim.SGD)([nn.Parameter(torch.ones(1))], differentiable=True)  # type: ignore[call-arg]
    optimizer.param_groups[0].update(params=[moved], lr=rate)
    moved.grad = torch.ones(1)
    optimizer.step()
    (slope,) = torch.autograd.grad(moved.sum(), rate)
    assert slope == -1


@pytest.mark.parametrize("algorithm", [torch.optim.SGD, torch.optim.AdamW, torch.optim.LBFGS])
def test_an_optimizer_can_be_pickled_and_copied(algorithm: type[Optimizer]) -> None:
    optimizer, _ = trained(uncompiled(algorithm), {})
    for again in (pickle.loads(pickle.dumps(optimizer)), copy.deepcopy(optimizer)):
        assert type(again) is type(optimizer)
        assert repr(again.state_dict()) == repr(optimizer.state_dict())


def test_optimizers_of_users_stay_as_they_are() -> None:
    class Own(torch.optim.SGD):
        pass

    assert uncompiled(Own) is Own
    assert uncompiled(torch.optim.SGD) is uncompiled(torch.optim.SGD)


def test_training_does_not_import_the_compiler() -> None:
    done = subprocess.run(
        [sys.executable, "-c", TRAINS],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    modules = set(done.stdout.split())
    assert "torch" in modules
    assert not modules & {"torch._dynamo", "torch._inductor", "sympy"}
