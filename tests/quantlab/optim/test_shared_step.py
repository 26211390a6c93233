"""The step that all methods share, written out by hand in float64."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from quantlab import ConfigurationError
from quantlab.backward_maps import (
    BackwardMap,
    BiReal,
    ClippedIdentity,
    Jacobian,
    ReSTE,
    SignSwishDerivative,
    SoftmaxShortcut,
    StraightThrough,
)
from quantlab.mirror_maps.shifted_tanh import ShiftedTanh
from quantlab.mirror_maps.softmax import Softmax
from quantlab.optim.latent_optimizer import LatentOptimizer
from quantlab.quantization_sets import BINARY, QUATERNARY, TERNARY
from quantlab.quantizers import Quantizer
from quantlab.quantizers.nearest import Nearest
from quantlab.quantizers.piecewise_linear import PiecewiseLinear
from quantlab.quantizers.sign_swish import SignSwish
from quantlab.update_rules import POST_TRAINING, PROX_CONNECT, PROX_QUANT, REVERSE_PROX_CONNECT

STEPS = 50
TARGET = torch.linspace(-0.9, 1.3, 7, dtype=torch.float64)
CURVATURE = torch.linspace(0.4, 1.6, 7, dtype=torch.float64)
START = torch.tensor([0.5, -0.3, 1.4, -1.2, 0.05, 0.7, -0.8], dtype=torch.float64)

Function = Callable[[int], float]


def rho(step: int) -> float:
    return 0.3 * (1 + step / 20)


def theta(step: int) -> float:
    return 0.4 / (1 + step)


def sigma(step: int) -> float:
    return 1.02**step


def gradient_of(weights: Tensor) -> Tensor:
    """Of the loss sum_i c_i (w_i - t_i)^2 / 2, with a coupling of the weights."""
    return CURVATURE * (weights - TARGET) + 0.1 * weights.sum()


class ByHand:
    """SGD with momentum, or Adam, on one tensor."""

    def __init__(self, kind: str, rate: float) -> None:
        self.kind, self.rate, self.count = kind, rate, 0
        self.first: Tensor | float = 0.0
        self.second: Tensor | float = 0.0

    def step(self, start: Tensor, gradient: Tensor) -> Tensor:
        self.count += 1
        if self.kind == "sgd":
            self.first = 0.9 * self.first + gradient if self.count > 1 else gradient
            return start - self.rate * self.first
        self.first = 0.9 * self.first + 0.1 * gradient
        self.second = 0.999 * self.second + 0.001 * gradient**2
        mean = self.first / (1 - 0.9**self.count)
        root = (self.second / (1 - 0.999**self.count)) ** 0.5
        return start - self.rate * mean / (root + 1e-8)


MAKERS: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "sgd": lambda parameters: torch.optim.SGD(parameters, lr=0.05, momentum=0.9),
    "adam": lambda parameters: torch.optim.Adam(parameters, lr=0.05),
}


def build(
    quantizer: Quantizer,
    *,
    kind: str = "sgd",
    flat: bool = True,
    parts: tuple[int, ...] = (7,),
    **options: Any,
) -> tuple[list[nn.Parameter], LatentOptimizer]:
    parameters = [nn.Parameter(part.clone()) for part in START.split(parts)]
    optimizer = LatentOptimizer(
        {f"w{place}": (own, quantizer) for place, own in enumerate(parameters)},
        [],
        make_base=MAKERS[kind],
        sharpness=rho,
        flat=flat,
        **options,
    )
    return parameters, optimizer


def train(parameters: list[nn.Parameter], optimizer: LatentOptimizer, count: int) -> None:
    for _ in range(count):
        optimizer.zero_grad()
        gradient = gradient_of(torch.cat([own.detach() for own in parameters]))
        loss = sum(
            (own * part).sum()
            for own, part in zip(
                parameters, gradient.split([own.numel() for own in parameters]), strict=True
            )
        )
        assert isinstance(loss, Tensor)
        loss.backward()
        optimizer.step()


def tanh_of(z: Tensor, beta: float) -> Tensor:
    return torch.tanh(beta * z)


CASES: dict[str, tuple[Quantizer, BackwardMap, Callable[[Tensor, Tensor, float], Tensor]]] = {
    "straight-through": (ShiftedTanh(BINARY), StraightThrough(), lambda g, z, s: g),
    "GD-tanh": (
        ShiftedTanh(BINARY),
        Jacobian(),
        lambda g, z, s: g * s * (1 - torch.tanh(s * z) ** 2),
    ),
    "GD-tanh ternary": (
        ShiftedTanh(TERNARY),
        Jacobian(),
        lambda g, z, s: (
            g * s * 0.5 * (2 - torch.tanh(s * (z + 0.5)) ** 2 - torch.tanh(s * (z - 0.5)) ** 2)
        ),
    ),
    "BNN": (Nearest(BINARY), ClippedIdentity(), lambda g, z, s: torch.where(z.abs() <= 1, g, 0)),
    "BNN+": (
        Nearest(BINARY),
        SignSwishDerivative(5.0),
        lambda g, z, s: g * 5 * (2 - 5 * z * torch.tanh(2.5 * z)) / (1 + torch.cosh(5 * z)),
    ),
    "BNN++": (
        SignSwish(BINARY),
        Jacobian(),
        lambda g, z, s: g * s * (2 - s * z * torch.tanh(s * z / 2)) / (1 + torch.cosh(s * z)),
    ),
    "Bi-Real": (
        Nearest(BINARY),
        BiReal(),
        lambda g, z, s: torch.where(z.abs() < 1, g * (2 - 2 * z.abs()), 0),
    ),
    "ReSTE": (
        Nearest(BINARY),
        ReSTE(cap=3.0),
        lambda g, z, s: (
            g * torch.minimum(z.abs() ** (1 / max(s, 1) - 1) / max(s, 1), torch.tensor(3.0))
        ),
    ),
}


@pytest.mark.parametrize("kind", ["sgd", "adam"])
@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("shape", [("flat", (7,)), ("flat", (3, 4)), ("shaped", (3, 4))], ids=str)
def test_a_step_is_its_formula(name: str, kind: str, shape: tuple[str, tuple[int, ...]]) -> None:
    quantizer, backward, carried_back = CASES[name]
    parameters, optimizer = build(
        quantizer,
        kind=kind,
        flat=shape[0] == "flat",
        parts=shape[1],
        rule=PROX_CONNECT,
        pull=theta,
        backward=backward,
        step_scale=sigma,
    )
    train(parameters, optimizer, STEPS)

    z, base = START.clone(), ByHand(kind, 0.05)
    for step in range(STEPS):
        w = quantizer.prox(z, rho(step))
        g = carried_back(gradient_of(w), z, rho(step))
        z0 = (1 - theta(step)) * z + theta(step) * w
        base.rate = 0.05 * sigma(step)
        z = base.step(z0, g)
    (group,) = optimizer.groups
    tolerance = 1e-12 if kind == "sgd" else 1e-8
    torch.testing.assert_close(group.latent, z, rtol=0, atol=tolerance)
    torch.testing.assert_close(
        torch.cat([own.detach() for own in parameters]),
        quantizer.prox(z, rho(STEPS)),
        rtol=0,
        atol=tolerance,
    )


@pytest.mark.parametrize("levels", [BINARY, TERNARY, QUATERNARY], ids=str)
@pytest.mark.parametrize("backward", [StraightThrough(), Jacobian(), SoftmaxShortcut()], ids=repr)
@pytest.mark.parametrize("shape", [("flat", (7,)), ("shaped", (3, 4))], ids=str)
def test_a_lifted_step_is_its_formula(
    levels: tuple[float, ...], backward: BackwardMap, shape: tuple[str, tuple[int, ...]]
) -> None:
    parameters, optimizer = build(
        Softmax(levels),
        flat=shape[0] == "flat",
        parts=shape[1],
        rule=PROX_CONNECT,
        pull=theta,
        backward=backward,
        step_scale=sigma,
    )
    train(parameters, optimizer, STEPS)

    q = torch.tensor(levels, dtype=torch.float64)
    z = torch.stack([level * START - level**2 / 2 for level in levels])
    z = z + (q**2).mean() / 2
    base = ByHand("sgd", 0.05)
    for step in range(STEPS):
        beta = rho(step)
        u = torch.softmax(beta * z, dim=0)
        g = q[:, None] * gradient_of(q @ u)
        if isinstance(backward, Jacobian):
            g = beta * torch.stack([u[k] * (g[k] - (u * g).sum(dim=0)) for k in range(len(q))])
        elif isinstance(backward, SoftmaxShortcut):
            g = beta * torch.stack([g[k] - u[k] * (u * g).sum(dim=0) for k in range(len(q))])
        base.rate = 0.05 * sigma(step)
        z = base.step((1 - theta(step)) * z + theta(step) * u, g)
    (group,) = optimizer.groups
    torch.testing.assert_close(group.latent, z, rtol=0, atol=1e-12)
    weights = torch.cat([own.detach() for own in parameters])
    torch.testing.assert_close(weights, q @ torch.softmax(rho(STEPS) * z, dim=0))
    optimizer.harden()
    end = theta(STEPS)
    iterate = (1 - end) * z + end * torch.softmax(rho(STEPS) * z, dim=0)
    hard = torch.cat([own.detach() for own in parameters])
    torch.testing.assert_close(hard, q[iterate.argmax(dim=0)])


@pytest.mark.parametrize("kind", ["sgd", "adam"])
@pytest.mark.parametrize(
    ("pulled", "rule", "pull"),
    [
        (PROX_CONNECT, PROX_CONNECT, 0.0),
        (PROX_CONNECT, PROX_QUANT, 1.0),
        (POST_TRAINING, POST_TRAINING, 0.0),
        (POST_TRAINING, REVERSE_PROX_CONNECT, 1.0),
    ],
    ids=["ProxConnect", "ProxQuant", "post-training", "reverseProxConnect"],
)
def test_the_ends_of_the_pull_are_the_four_rules_to_the_bit(
    kind: str, pulled: Any, rule: Any, pull: float
) -> None:
    pairs = [
        build(PiecewiseLinear(TERNARY), kind=kind, rule=pulled, pull=pull),
        build(PiecewiseLinear(TERNARY), kind=kind, rule=pulled, pull=lambda step: pull),
        build(PiecewiseLinear(TERNARY), kind=kind, rule=rule),
    ]
    for pair in pairs:
        train(*pair, STEPS)
    states = [optimizer.state_dict() for _, optimizer in pairs]
    for state in states[:-1]:
        assert torch.equal(state["latent"][0], states[-1]["latent"][0])
        if rule.uses_prox:
            assert torch.equal(state["proximal"][0], states[-1]["proximal"][0])
    for _, optimizer in pairs:
        optimizer.harden()
    for parameters, _ in pairs:
        assert torch.equal(parameters[0], pairs[-1][0][0])


@pytest.mark.parametrize("quantizer", [Softmax(TERNARY), ShiftedTanh(TERNARY)], ids=repr)
def test_a_step_continues_from_a_checkpoint(quantizer: Quantizer) -> None:
    options: dict[str, Any] = {
        "kind": "adam",
        "parts": (3, 4),
        "rule": PROX_CONNECT,
        "pull": theta,
        "backward": Jacobian(),
        "step_scale": sigma,
    }
    whole = build(quantizer, **options)
    train(*whole, STEPS)
    first, second = build(quantizer, **options), build(quantizer, **options)
    train(*first, STEPS // 2)
    second[1].load_state_dict(first[1].state_dict())
    train(*second, STEPS - STEPS // 2)
    for own, other in zip(second[0], whole[0], strict=True):
        assert torch.equal(own, other)


def test_a_closure_that_is_evaluated_several_times_has_the_backward_map() -> None:
    """LBFGS evaluates within a step; with the identity as map it is plain LBFGS."""
    point = nn.Parameter(START.clone())
    optimizer = LatentOptimizer(
        {"w": (point, ShiftedTanh(BINARY))},
        [],
        make_base=lambda parameters: torch.optim.LBFGS(parameters, lr=0.5, max_iter=5),
        rule=PROX_CONNECT,
        sharpness=lambda step: 1.0,
        backward=Jacobian(),
    )
    plain = START.clone().requires_grad_()
    reference = torch.optim.LBFGS([plain], lr=0.5, max_iter=5)

    def loss_at(weights: Tensor) -> Tensor:
        return ((weights - TARGET) ** 2).sum()

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = loss_at(point)
        loss.backward()
        return loss

    def plain_closure() -> Tensor:
        reference.zero_grad()
        loss = loss_at(torch.tanh(plain))
        loss.backward()
        return loss

    for _ in range(5):
        optimizer.step(closure)
        reference.step(plain_closure)
    torch.testing.assert_close(optimizer.groups[0].latent, plain.detach(), rtol=0, atol=1e-10)


def test_latents_that_are_no_weights_need_the_gradient_at_the_weights() -> None:
    with pytest.raises(ValueError, match=r"must be Point\.PROXIMAL for Softmax"):
        build(Softmax(BINARY), rule=POST_TRAINING)


def test_a_map_without_a_derivative_says_what_to_use() -> None:
    parameters, optimizer = build(PiecewiseLinear(TERNARY), rule=PROX_CONNECT, backward=Jacobian())
    with pytest.raises(ConfigurationError, match=r"override pullback, or use .* StraightThrough"):
        train(parameters, optimizer, 1)


@pytest.mark.parametrize("quantizer", [ShiftedTanh(TERNARY), Softmax(TERNARY)], ids=repr)
@pytest.mark.parametrize("flat", [False, True], ids=["shaped", "flat"])
@pytest.mark.parametrize("backward", [StraightThrough(), Jacobian()], ids=repr)
def test_a_parameter_may_be_a_single_number(
    quantizer: Quantizer, flat: bool, backward: BackwardMap
) -> None:
    """Quantized or not, it is trained as a tensor of one number is."""
    found = []
    for shape in ((), (1,)):
        weight, scale = (nn.Parameter(torch.full(shape, own)) for own in (0.4, 0.7))
        optimizer = LatentOptimizer(
            {"weight": (weight, quantizer)},
            [scale],
            make_base=MAKERS["adam"],
            rule=PROX_CONNECT,
            sharpness=rho,
            backward=backward,
            step_scale=sigma,
            pull=theta,
            flat=flat,
        )
        for _ in range(5):
            optimizer.zero_grad()
            (weight * scale - 1).square().sum().backward()
            optimizer.step()
        assert weight.shape == scale.shape == shape
        found.append((weight.item(), scale.item()))
    assert found[0] == found[1]
    assert found[0][1] > 0.7  # the weights are positive and below 1
