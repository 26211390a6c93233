"""The four update rules compared to recursions by hand, and the interface of torch optimizers."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from quantlab import Point, Quantizer, UpdateRule
from quantlab.optim.latent_optimizer import LatentOptimizer
from quantlab.quantization_sets import BINARY, QUATERNARY, TERNARY
from quantlab.quantizers.base import Sharpness
from quantlab.quantizers.nearest import Nearest
from quantlab.quantizers.piecewise_linear import PiecewiseLinear
from quantlab.update_rules import POST_TRAINING, PROX_CONNECT, PROX_QUANT, REVERSE_PROX_CONNECT

RULES = {
    "PC": PROX_CONNECT,
    "PQ": PROX_QUANT,
    "rPC": REVERSE_PROX_CONNECT,
    "PTQ": POST_TRAINING,
}
every_rule = pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
flat_or_not = pytest.mark.parametrize("flat", [False, True], ids=["shaped", "flat"])
BASES: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "sgd": lambda parameters: torch.optim.SGD(parameters, lr=0.1),
    "momentum": lambda parameters: torch.optim.SGD(
        parameters, lr=0.05, momentum=0.9, weight_decay=1e-3
    ),
    "adam": lambda parameters: torch.optim.Adam(parameters, lr=0.02),
}
every_base = pytest.mark.parametrize("base", BASES.values(), ids=BASES)


@dataclass(frozen=True)
class SoftThreshold(Quantizer):
    """The prox of 0.4 |w|, whatever the sharpness."""

    def prox(self, latent: Tensor, sharpness: Sharpness) -> Tensor:
        return torch.nn.functional.softshrink(latent, 0.4)


def vector(*values: float) -> nn.Parameter:
    return nn.Parameter(torch.tensor(values, dtype=torch.float64))


def optimizer_of(
    weight: nn.Parameter,
    quantizer: Quantizer,
    rule: UpdateRule,
    *,
    make_base: Callable[[Any], torch.optim.Optimizer] = BASES["sgd"],
    sharpness: Callable[[int], float] = lambda step: 0.01 * (1 + step / 5),
    **options: Any,
) -> LatentOptimizer:
    return LatentOptimizer(
        {"weight": (weight, quantizer)},
        [],
        make_base=make_base,
        rule=rule,
        sharpness=sharpness,
        **options,
    )


def descend(optimizer: LatentOptimizer, weight: nn.Parameter, target: Tensor) -> None:
    optimizer.zero_grad()
    (0.5 * (weight - target).square().sum()).backward()
    optimizer.step()


def weights_at(optimizer: LatentOptimizer, weight: nn.Parameter, point: Point) -> Tensor:
    with optimizer.weights_at(point):
        return weight.detach().clone()


@pytest.mark.parametrize(
    ("rule", "latent", "proximal"),
    [
        (POST_TRAINING, 3.0, 2.6),
        (PROX_CONNECT, 3.4, 3.0),
        (PROX_QUANT, 2.6, 2.2),
        (REVERSE_PROX_CONNECT, 2.2, 1.8),
    ],
    ids=["PTQ", "PC", "PQ", "rPC"],
)
@flat_or_not
def test_t19_four_limits_of_the_toy_problem(
    rule: UpdateRule, latent: float, proximal: float, flat: bool
) -> None:
    """l = (w - 3)^2 / 2 with the soft threshold 0.4: each cell has its own fixed point."""
    weight = vector(0.0)
    optimizer = optimizer_of(
        weight,
        SoftThreshold(),
        rule,
        make_base=lambda parameters: torch.optim.SGD(parameters, lr=0.5),
        flat=flat,
    )
    for _ in range(200):
        descend(optimizer, weight, torch.tensor(3.0))
    assert weights_at(optimizer, weight, Point.LATENT).item() == pytest.approx(latent, abs=1e-12)
    assert weights_at(optimizer, weight, Point.PROXIMAL).item() == pytest.approx(
        proximal, abs=1e-12
    )


@every_rule
@every_base
@flat_or_not
@pytest.mark.parametrize("levels", [BINARY, TERNARY, QUATERNARY], ids=["2", "3", "4"])
def test_equals_the_recursion_by_hand(
    rule: UpdateRule,
    base: Callable[[Any], torch.optim.Optimizer],
    flat: bool,
    levels: tuple[float, ...],
) -> None:
    """w_t = P(w*_t), w*_{t+1} = base step from one of the two, with the gradient at one of them."""
    torch.manual_seed(1)
    start = torch.randn(12, dtype=torch.float64)
    target = torch.randn(12, dtype=torch.float64)
    quantizer = PiecewiseLinear(levels=levels)

    def sharpness(step: int) -> float:
        return 0.01 * (1 + step / 5)

    weight = nn.Parameter(start.clone())
    optimizer = optimizer_of(
        weight, quantizer, rule, make_base=base, sharpness=sharpness, flat=flat
    )
    latent = nn.Parameter(start.clone())
    by_hand = base([latent])
    for step in range(40):
        descend(optimizer, weight, target)
        with torch.no_grad():
            proximal = quantizer.prox(latent, sharpness(step))
            at = proximal if rule.gradient_at is Point.PROXIMAL else latent.clone()
            latent.grad = at - target
            if rule.update_from is Point.PROXIMAL:
                latent.copy_(proximal)
        by_hand.step()
        torch.testing.assert_close(
            weights_at(optimizer, weight, Point.LATENT), latent.detach(), atol=1e-14, rtol=0
        )
    after = quantizer.prox(latent.detach(), sharpness(40))
    torch.testing.assert_close(
        weights_at(optimizer, weight, Point.PROXIMAL), after, atol=1e-14, rtol=0
    )
    expected = after if rule.gradient_at is Point.PROXIMAL else latent.detach()
    torch.testing.assert_close(weight.detach(), expected, atol=1e-14, rtol=0)


@pytest.mark.parametrize("levels", [BINARY, TERNARY, QUATERNARY], ids=["2", "3", "4"])
def test_t20_binaryconnect_is_dual_averaging(levels: tuple[float, ...]) -> None:
    """w_t minimizes <w, sum of eta g> + ||w - w*_0||^2 / 2 over Q, at every step."""
    torch.manual_seed(2)
    weight = nn.Parameter(torch.randn(9, dtype=torch.float64))
    start = weight.detach().clone()
    optimizer = optimizer_of(weight, Nearest(levels=levels), PROX_CONNECT)
    total = torch.zeros(9, dtype=torch.float64)
    choices = torch.tensor(levels, dtype=torch.float64)[:, None]
    for _ in range(60):
        gradient = torch.randn(9, dtype=torch.float64) + weight.detach()
        optimizer.zero_grad()
        weight.grad = gradient.clone()
        optimizer.step()
        total += 0.1 * gradient
        objective = choices * total + 0.5 * (choices - start).square()
        assert torch.equal(weight.detach(), choices[objective.argmin(dim=0), 0])


def test_t21_proxconnect_is_binaryconnect_from_the_half_gap_on() -> None:
    torch.manual_seed(3)
    start, target = torch.randn(2, 20, dtype=torch.float64)
    pc, bc = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    saturated = optimizer_of(
        pc, PiecewiseLinear(levels=TERNARY), PROX_CONNECT, sharpness=lambda step: 0.5
    )
    binaryconnect = optimizer_of(bc, Nearest(levels=TERNARY), PROX_CONNECT)
    for _ in range(50):
        descend(saturated, pc, target)
        descend(binaryconnect, bc, target)
        assert torch.equal(pc, bc)


@every_rule
@every_base
def test_t21_without_shifts_every_rule_is_the_plain_optimizer(
    rule: UpdateRule, base: Callable[[Any], torch.optim.Optimizer]
) -> None:
    torch.manual_seed(4)
    start, target = 0.5 * torch.rand(2, 20, dtype=torch.float64)
    weight, plain = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    optimizer = optimizer_of(
        weight, PiecewiseLinear(levels=BINARY), rule, make_base=base, sharpness=lambda step: 0.0
    )
    reference = base([plain])
    for _ in range(50):
        descend(optimizer, weight, target)
        reference.zero_grad()
        (0.5 * (plain - target).square().sum()).backward()
        reference.step()
        assert torch.equal(weight, plain)


def test_t22_post_training_does_not_see_the_quantizer() -> None:
    torch.manual_seed(5)
    start, target = torch.randn(2, 20, dtype=torch.float64)
    trajectories = []
    for quantizer in (Nearest(levels=BINARY), PiecewiseLinear(levels=QUATERNARY), SoftThreshold()):
        weight = nn.Parameter(start.clone())
        optimizer = optimizer_of(weight, quantizer, POST_TRAINING)
        for _ in range(30):
            descend(optimizer, weight, target)
        trajectories.append(weight.detach().clone())
    assert torch.equal(trajectories[0], trajectories[1])
    assert torch.equal(trajectories[0], trajectories[2])


def test_t23_proxquant_with_the_projector_is_stuck_where_binaryconnect_is_not() -> None:
    """l = (w - 1)^2 / 2 from w = -1 with lr 0.1."""
    stuck, free = vector(-1.0), vector(-1.0)
    proxquant = optimizer_of(stuck, Nearest(levels=BINARY), PROX_QUANT)
    binaryconnect = optimizer_of(free, Nearest(levels=BINARY), PROX_CONNECT)
    reached = None
    for step in range(1, 101):
        descend(proxquant, stuck, torch.tensor(1.0))
        descend(binaryconnect, free, torch.tensor(1.0))
        assert stuck.item() == -1
        if reached is None and free.item() == 1:
            reached = step
    assert reached == 6
    latent = weights_at(binaryconnect, free, Point.LATENT).item()
    assert latent == pytest.approx(0.2, abs=1e-12)


@flat_or_not
def test_t13_weight_groups_are_the_product_map(flat: bool) -> None:
    torch.manual_seed(6)
    first, second = (nn.Parameter(torch.randn(3, 4)) for _ in range(2))
    alone = copy.deepcopy(first)
    quantizers = (Nearest(levels=BINARY), PiecewiseLinear(levels=QUATERNARY))
    together = LatentOptimizer(
        {"first": (first, quantizers[0]), "second": (second, quantizers[1])},
        [],
        make_base=BASES["momentum"],
        rule=PROX_CONNECT,
        sharpness=lambda step: 0.05,
        flat=flat,
    )
    single = optimizer_of(alone, quantizers[0], PROX_CONNECT, make_base=BASES["momentum"])
    for _ in range(10):
        together.zero_grad()
        (first.square().sum() + (second - 0.2).square().sum()).backward()
        together.step()
        single.zero_grad()
        alone.square().sum().backward()
        single.step()
    assert torch.equal(first, alone)
    assert set(first.detach().flatten().tolist()) <= set(BINARY)
    latent = weights_at(together, second, Point.LATENT)
    assert torch.equal(second.detach(), quantizers[1].prox(latent, 0.05))


def small_model() -> nn.Module:
    torch.manual_seed(7)
    return nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 3))


def model_optimizer(model: nn.Module, **options: Any) -> LatentOptimizer:
    quantizer = PiecewiseLinear(levels=TERNARY)
    weights = {f"{i}.weight": (model[i].weight, quantizer) for i in (0, 3)}  # type: ignore[index]
    members = {id(weight) for weight, _ in weights.values()}
    settings: dict[str, Any] = {
        "make_base": BASES["adam"],
        "rule": PROX_CONNECT,
        "sharpness": lambda step: 0.02 * (1 + step),
    }
    return LatentOptimizer(
        weights, [p for p in model.parameters() if id(p) not in members], **(settings | options)
    )


def train(model: nn.Module, optimizer: LatentOptimizer, steps: int, seed: int = 0) -> None:
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        optimizer.zero_grad()
        inputs = torch.randn(16, 6, generator=generator)
        nn.functional.cross_entropy(model(inputs), inputs[:, :3].argmax(dim=1)).backward()
        optimizer.step()


@every_rule
@every_base
def test_flat_and_shaped_are_the_same(
    rule: UpdateRule, base: Callable[[Any], torch.optim.Optimizer]
) -> None:
    states = []
    for flat in (False, True):
        model = small_model()
        train(model, model_optimizer(model, rule=rule, make_base=base, flat=flat), 20)
        states.append(model.state_dict())
    for name, value in states[0].items():
        torch.testing.assert_close(value, states[1][name], atol=1e-6, rtol=1e-5)


@every_rule
@flat_or_not
def test_t32_state_dict_continues_bit_for_bit(rule: UpdateRule, flat: bool) -> None:
    model = small_model()
    optimizer = model_optimizer(model, rule=rule, flat=flat)
    train(model, optimizer, 7)
    saved = copy.deepcopy((model.state_dict(), optimizer.state_dict()))
    train(model, optimizer, 7, seed=1)
    resumed = small_model()
    fresh = model_optimizer(resumed, rule=rule, flat=flat)
    resumed.load_state_dict(saved[0])
    fresh.load_state_dict(saved[1])
    train(resumed, fresh, 7, seed=1)
    for name, value in model.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name])


def test_t33_a_closure_is_called_at_the_point_of_the_gradient() -> None:
    for rule in RULES.values():
        weight, twin = vector(0.3, -0.7), vector(0.3, -0.7)
        optimizer = optimizer_of(weight, PiecewiseLinear(), rule)
        stepped = optimizer_of(twin, PiecewiseLinear(), rule)

        def closure(
            weight: nn.Parameter = weight, optimizer: LatentOptimizer = optimizer
        ) -> Tensor:
            optimizer.zero_grad()
            loss = 0.5 * (weight - 1).square().sum()
            loss.backward()
            return loss

        for _ in range(10):
            optimizer.step(closure)  # type: ignore[arg-type]
            descend(stepped, twin, torch.tensor(1.0))
            assert torch.equal(weight, twin)


def test_a_line_search_sees_the_proximal_weights() -> None:
    weight = vector(0.9, -0.6)
    optimizer = optimizer_of(
        weight,
        Nearest(levels=BINARY),
        PROX_CONNECT,
        make_base=lambda parameters: torch.optim.LBFGS(parameters, lr=0.5, max_iter=4),
    )
    seen = []

    def closure() -> Tensor:
        optimizer.zero_grad()
        seen.append(weight.detach().clone())
        loss = (weight - 0.5).square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)  # type: ignore[arg-type]
    assert len(seen) > 1
    assert all(set(values.tolist()) <= set(BINARY) for values in seen)


def test_t34_a_late_gradient_leaves_the_weight_alone_until_it_comes() -> None:
    early, late = vector(0.3), vector(0.4)
    quantizer = PiecewiseLinear(levels=BINARY)
    optimizer = LatentOptimizer(
        {"early": (early, quantizer), "late": (late, quantizer)},
        [],
        make_base=BASES["adam"],
        rule=PROX_CONNECT,
        sharpness=lambda step: 0.0,
    )
    for step in range(4):
        optimizer.zero_grad()
        loss = early.square().sum() + (late.square().sum() if step >= 2 else 0)
        loss.backward()
        optimizer.step()
        assert (late.item() == 0.4) is (step < 2)


def test_flat_names_the_weight_without_a_gradient() -> None:
    """A gradient that was set to None is an error; one that autograd leaves out is zero."""
    model = small_model()
    optimizer = model_optimizer(model, flat=True)
    optimizer.zero_grad()
    model[0].weight.grad = None  # type: ignore[index]
    with pytest.raises(ValueError, match=r"flat=True.*0\.weight has none"):
        optimizer.step()


def test_flat_survives_a_model_that_forgets_its_gradients() -> None:
    model, twin = small_model(), small_model()
    optimizer, reference = model_optimizer(model, flat=True), model_optimizer(twin, flat=True)
    for seed in range(3):
        model.zero_grad()  # sets the gradients to None, behind the optimizer's back
        inputs = torch.randn(8, 6, generator=torch.Generator().manual_seed(seed))
        model(inputs).square().sum().backward()
        optimizer.step()
        reference.zero_grad()
        twin(inputs).square().sum().backward()
        reference.step()
    assert torch.equal(model[0].weight, twin[0].weight)  # type: ignore[index]


def test_t35_nothing_to_quantize_is_plain_training() -> None:
    model, plain = small_model(), small_model()
    optimizer = LatentOptimizer(
        {},
        list(model.parameters()),
        make_base=BASES["momentum"],
        rule=PROX_CONNECT,
        sharpness=lambda step: 1.0,
    )
    base = BASES["momentum"](plain.parameters())
    for seed in range(5):
        inputs = torch.randn(8, 6, generator=torch.Generator().manual_seed(seed))
        for network, stepper in ((model, optimizer), (plain, base)):
            stepper.zero_grad()
            network(inputs).square().sum().backward()
            stepper.step()
    assert optimizer.quantization_gap() == 0
    assert torch.equal(model[0].weight, plain[0].weight)  # type: ignore[index]


def test_learning_rate_schedulers_work() -> None:
    weight = vector(0.5)
    optimizer = optimizer_of(weight, PiecewiseLinear(), PROX_CONNECT)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.1)
    rates = []
    for _ in range(5):
        descend(optimizer, weight, torch.tensor(0.0))
        scheduler.step()
        rates.append(optimizer.base.param_groups[0]["lr"])
    assert rates == pytest.approx([0.1, 0.01, 0.01, 0.001, 0.001])


def test_latents_are_clipped_only_where_asked() -> None:
    for bound, expected in ((None, 3.0), (1.0, 1.0)):
        weight = vector(0.0)
        optimizer = optimizer_of(weight, Nearest(levels=BINARY), PROX_CONNECT, latent_bound=bound)
        for _ in range(10):
            optimizer.zero_grad()
            weight.grad = torch.tensor([-3.0], dtype=torch.float64)
            optimizer.step()
        assert weights_at(optimizer, weight, Point.LATENT).item() == pytest.approx(expected)


@every_rule
@flat_or_not
def test_the_three_points_and_back(rule: UpdateRule, flat: bool) -> None:
    model = small_model()
    optimizer = model_optimizer(model, rule=rule, flat=flat)
    train(model, optimizer, 5)
    weight = model[0].weight  # type: ignore[index]
    before = weight.detach().clone()
    latent = weights_at(optimizer, weight, Point.LATENT)
    quantizer = PiecewiseLinear(levels=TERNARY)
    assert torch.equal(weights_at(optimizer, weight, Point.HARD), quantizer.hard(latent))
    if rule.update_from is Point.LATENT:  # else the latents have not been projected since
        expected = quantizer.prox(latent, 0.02 * 6)
        assert torch.equal(weights_at(optimizer, weight, Point.PROXIMAL), expected)
    with pytest.raises(KeyError), optimizer.weights_at(Point.HARD):
        raise KeyError
    assert torch.equal(weight, before)
    named = {Point.LATENT: latent, Point.PROXIMAL: before}
    assert torch.equal(named[rule.gradient_at], before)
