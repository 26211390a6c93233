"""Clipping by the norm of the whole gradient, alone, in parts and in packs."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from quantlab import ConfigurationError, OptimizerSpec, Recipe, TrainingRun
from quantlab.backward_maps import Jacobian
from quantlab.mirror_maps.shifted_tanh import ShiftedTanh
from quantlab.mirror_maps.softmax import Softmax
from quantlab.models.mlp import MLP
from quantlab.optim.latent_optimizer import LatentOptimizer
from quantlab.packs.compatibility import pack_key
from quantlab.packs.rows.clipping import clip_rows
from quantlab.quantization_sets import TERNARY
from quantlab.quantizers.nearest import Nearest
from quantlab.scales.learned_step import LearnedStep
from quantlab.schedules import Constant
from quantlab.update_rules import POST_TRAINING, PROX_CONNECT, PROX_QUANT
from tests.quantlab.packs.test_packs import (
    DOUBLE_DIGITS,
    Double,
    alone,
    assert_alike,
    method,
    packed,
)
from tests.quantlab.recipes import SGD

LIMIT = 0.3
CLIPPED = replace(SGD, clip_norm=LIMIT)


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 2)).double()


def loss_of(model: nn.Module, step: int) -> Tensor:
    """Its gradient is now larger than the limit, now smaller."""
    inputs = torch.linspace(-1, 1, 15, dtype=torch.float64).view(3, 5) + step / 10
    loss: Tensor = (model(inputs) - 1).square().sum() * 10 ** (step % 3 - 1.5)
    return loss


@pytest.mark.parametrize("flat", [True, False])
def test_in_full_precision_it_is_torchs_loop(flat: bool) -> None:
    own, other = network(), network()
    optimizer = LatentOptimizer(
        {},
        own.parameters(),
        make_base=lambda parameters: torch.optim.SGD(parameters, lr=0.1, momentum=0.9),
        rule=POST_TRAINING,
        sharpness=lambda step: 0.0,
        clip_norm=LIMIT,
        flat=flat,
    )
    plain = torch.optim.SGD(other.parameters(), lr=0.1, momentum=0.9)
    norms = []
    for step in range(12):
        optimizer.zero_grad()
        loss_of(own, step).backward()
        optimizer.step()
        plain.zero_grad()
        loss_of(other, step).backward()
        norms.append(float(clip_grad_norm_(other.parameters(), LIMIT)))
        plain.step()
    assert min(norms) < LIMIT < max(norms)
    for ours, theirs in zip(own.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


class Spy(torch.optim.SGD):
    """Remembers the gradients that it receives."""

    received: list[Tensor]

    def step(self, closure: Any = None) -> Any:
        loss = None if closure is None else closure()
        tensors = [one.grad for group in self.param_groups for one in group["params"]]
        self.received = [one.detach().clone() for one in tensors if one is not None]
        return loss


def received(recipe: Recipe, clip_norm: float | None) -> list[Tensor]:
    """The gradients that the base optimizer receives in the first step of a recipe."""
    spec = OptimizerSpec(algorithm=Spy, learning_rate=Constant(0.1), clip_norm=clip_norm)
    run = TrainingRun(replace(recipe, optimizer=spec))
    next(run.train(pause_steps=1))
    base = run.optimizer.base
    assert isinstance(base, Spy)
    return base.received


CASES = {
    "full precision": replace(method(0), quantization=None, batchnorm_epochs=0),
    "ProxConnect": method(1),
    "ProxQuant": method(2, PROX_QUANT),
    "a backward map": method(3, quantizer=ShiftedTanh(), rho0=2.0, backward=Jacobian()),
    "lifted latents": method(4, quantizer=Softmax(TERNARY), rho0=1.0),
    "learned numbers": method(5, quantizer=Nearest(TERNARY), scale=LearnedStep()),
}


@pytest.mark.parametrize("recipe", CASES.values(), ids=CASES)
def test_the_base_optimizer_receives_a_gradient_of_the_norm(recipe: Recipe) -> None:
    """All of its parts together, and in the direction of the whole one."""
    whole = received(recipe, None)
    norm = float(torch.cat([one.flatten() for one in whole]).norm())
    assert norm > LIMIT
    clipped = received(recipe, LIMIT)
    together = torch.cat([one.flatten() for one in clipped]).norm()
    assert float(together) == pytest.approx(LIMIT, rel=1e-5)
    for own, other in zip(clipped, whole, strict=True):
        torch.testing.assert_close(own, other * (LIMIT / norm), rtol=1e-5, atol=1e-12)
    for own, other in zip(received(recipe, 2 * norm), whole, strict=True):
        assert torch.equal(own, other)


def test_proxconnect_by_hand() -> None:
    """The latents go against the clipped gradient at the quantized weights."""
    model, plain = network(), network()
    latents = [one.detach().clone() for one in plain.parameters()]
    quantizer = Nearest(TERNARY)
    optimizer = LatentOptimizer(
        {name: (one, quantizer) for name, one in model.named_parameters()},
        [],
        make_base=lambda parameters: torch.optim.SGD(parameters, lr=0.1),
        rule=PROX_CONNECT,
        sharpness=lambda step: 0.0,
        clip_norm=LIMIT,
        flat=True,
    )
    for step in range(9):
        optimizer.zero_grad()
        loss_of(model, step).backward()
        optimizer.step()
        for own, latent in zip(plain.parameters(), latents, strict=True):
            own.data = quantizer.hard(latent)
            own.grad = None
        loss_of(plain, step).backward()
        clip_grad_norm_(plain.parameters(), LIMIT)
        for own, latent in zip(plain.parameters(), latents, strict=True):
            assert own.grad is not None
            latent -= 0.1 * own.grad
    flat = torch.cat([latent.flatten() for latent in latents])
    torch.testing.assert_close(optimizer.groups[0].latent, flat, rtol=1e-12, atol=1e-12)


def test_parts_of_a_batch_have_the_norm_of_the_whole() -> None:
    whole = replace(method(0, optimizer=CLIPPED), model=Double(MLP(hidden=())), epochs=2)
    whole = replace(whole, batchnorm_epochs=0, dataset=replace(DOUBLE_DIGITS, train_images=96))
    networks = []
    for recipe in (whole, replace(whole, accumulation=5)):
        run = TrainingRun(recipe)
        list(run)
        networks.append(run.final_weights())
    for name, own in networks[0].items():
        torch.testing.assert_close(own, networks[1][name], rtol=1e-9, atol=1e-9)


def test_members_of_packs_are_clipped_by_their_own_norms() -> None:
    limits = (None, LIMIT, 0.1, LIMIT, 1.0, LIMIT)
    own = (method(9), *list(CASES.values())[1:4], method(6), method(7))
    recipes = [
        replace(one, optimizer=replace(one.optimizer, clip_norm=limit), epochs=2)
        for one, limit in zip(own, limits, strict=True)
    ]
    for found, recipe in zip(packed(recipes), recipes, strict=True):
        assert_alike(found, alone(recipe), 1e-9)
    learned = [replace(CASES["learned numbers"], optimizer=CLIPPED, seed=seed) for seed in (0, 1)]
    for found, recipe in zip(packed(learned), learned, strict=True):
        assert_alike(found, alone(recipe), 1e-9)
    assert pack_key(recipes[0]) == pack_key(recipes[1])


def test_rows_are_scaled_apart() -> None:
    one = torch.tensor([[3.0, 0.0], [0.3, 0.0], [torch.nan, 1.0], [0.0, 0.0]])
    other = torch.tensor([[[4.0]], [[0.4]], [[1.0]], [[0.0]]])
    clip_rows([one, None, other], 1.0)
    assert torch.cat([one, other[:, 0]], dim=1)[[0, 1, 3]].tolist() == [
        pytest.approx([0.6, 0.0, 0.8], rel=1e-5),
        pytest.approx([0.3, 0.0, 0.4]),
        [0.0, 0.0, 0.0],
    ]


@pytest.mark.parametrize("limit", [0, -1.0, float("inf"), float("nan"), "1"])
def test_the_limit_is_checked(limit: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"OptimizerSpec\.clip_norm = .*must be"):
        replace(SGD, clip_norm=limit)


def test_the_second_stage_is_clipped_too() -> None:
    run = TrainingRun(replace(method(0, optimizer=CLIPPED), epochs=1))
    list(run)
    assert run.optimizer.clip_norm == LIMIT


def test_a_network_is_that_of_another_limit_if_no_gradient_reaches_it() -> None:
    recipe = replace(method(0), epochs=1, batchnorm_epochs=0)
    networks = []
    for limit in (None, 1e9):
        run = TrainingRun(replace(recipe, optimizer=replace(SGD, clip_norm=limit)))
        list(run)
        networks.append(run.final_weights())
    assert all(torch.equal(own, networks[1][name]) for name, own in networks[0].items())
