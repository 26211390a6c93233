"""ProxOptimizer where torch's optimizers are used: groups, schedulers, scalers and clipping.

A rule under which training does not see the quantization must give, bit for bit, what the plain
optimizer gives in the same loop.
"""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.lr_scheduler import (
    CosineAnnealingLR,
    LambdaLR,
    LinearLR,
    OneCycleLR,
    ReduceLROnPlateau,
    SequentialLR,
)

from quantlab import Point, ProxOptimizer, Quantization
from quantlab.optim.latent_optimizer import LatentOptimizer
from quantlab.quantization_sets import BINARY, TERNARY
from quantlab.quantizers.nearest import Nearest
from quantlab.quantizers.piecewise_linear import PiecewiseLinear
from quantlab.scales.absolute_mean import AbsoluteMean
from quantlab.scales.learned_step import LearnedStep
from quantlab.schedules import Constant, Linear
from quantlab.update_rules import PROX_CONNECT, PROX_QUANT
from tests.quantlab.optim.standalone.loops import (
    CONNECTED,
    STEPS,
    UNSEEN,
    Net,
    are_equal,
    batches,
    loss_of,
    prox,
    train,
)

Loop = Callable[[Net, Optimizer], None]


def groups_of(model: Net) -> list[dict[str, Any]]:
    """Those of many scripts: weight decay for matrices only, and a rate of its own for the head."""
    matrices = [model.first.weight, model.second.weight]
    rest = [parameter for parameter in model.parameters() if parameter.dim() < 2]
    return [
        {"params": matrices, "weight_decay": 0.1},
        {"params": rest, "weight_decay": 0.0},
        {"params": [model.head.weight], "lr": 0.005},
    ]


def with_scheduler(make: Callable[[Optimizer], Any], takes_loss: bool = False) -> Loop:
    def loop(model: Net, optimizer: Optimizer) -> None:
        scheduler = make(optimizer)
        for inputs in batches(7):
            losses = train(model, optimizer, [inputs])
            scheduler.step(*(losses if takes_loss else ()))

    return loop


def clipped(model: Net, optimizer: Optimizer) -> None:
    for inputs in batches(5):
        optimizer.zero_grad()
        loss_of(model, inputs).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.1)
        optimizer.step()


def accumulated(model: Net, optimizer: Optimizer) -> None:
    for position, inputs in enumerate(batches(6), start=1):
        (loss_of(model, inputs) / 2).backward()
        if position % 2 == 0:
            optimizer.step()
            optimizer.zero_grad()


def zeroed(model: Net, optimizer: Optimizer) -> None:
    for inputs in batches(4):
        optimizer.zero_grad(set_to_none=False)
        loss_of(model, inputs).backward()
        optimizer.step()
        model.zero_grad()


def branching(model: Net, optimizer: Optimizer) -> None:
    """The second branch has gradients in some steps only."""
    for position, inputs in enumerate(batches(6)):
        optimizer.zero_grad()
        loss_of(model, inputs, both=position % 3 == 1).backward()
        optimizer.step()


def scaled(model: Net, optimizer: Optimizer) -> None:
    """Two of the steps are skipped, because their loss overflows."""
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10, growth_interval=2)
    for position, inputs in enumerate(batches(7)):
        optimizer.zero_grad()
        factor = math.inf if position in (1, 4) else 1.0
        scaler.scale(loss_of(model, inputs) * factor).backward()
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        scaler.step(optimizer)
        scaler.update()
    assert scaler.get_scale() == 2.0**10  # halved twice and doubled twice


def freezing(model: Net, optimizer: Optimizer) -> None:
    train(model, optimizer, batches(2))
    model.second.requires_grad_(False)
    train(model, optimizer, batches(3, seed=1))


def with_closure(model: Net, optimizer: Optimizer) -> None:
    for inputs in batches(3):

        def closure(inputs: torch.Tensor = inputs) -> float:
            optimizer.zero_grad()
            loss = loss_of(model, inputs)
            loss.backward()
            return loss.item()

        assert optimizer.step(closure) is not None


LOOPS: dict[str, Loop] = {
    "LambdaLR": with_scheduler(lambda of: LambdaLR(of, lambda step: 0.8**step)),
    "a function for each group": with_scheduler(
        lambda of: LambdaLR(of, [lambda step: 0.8**step, lambda step: 1.0, lambda step: 0.5])
    ),
    "OneCycleLR": with_scheduler(lambda of: OneCycleLR(of, [0.1, 0.2, 0.3], total_steps=8)),
    "SequentialLR": with_scheduler(
        lambda of: SequentialLR(
            of, [LinearLR(of, total_iters=3), CosineAnnealingLR(of, T_max=4)], milestones=[3]
        )
    ),
    "ReduceLROnPlateau": with_scheduler(
        lambda of: ReduceLROnPlateau(of, factor=0.5, patience=0, threshold=1.0), takes_loss=True
    ),
    "clipping": clipped,
    "accumulation": accumulated,
    "gradients set to zero": zeroed,
    "parameters without gradients": branching,
    "GradScaler": scaled,
    "freezing": freezing,
    "closure": with_closure,
}


@pytest.mark.parametrize("algorithm", [SGD, AdamW])
@pytest.mark.parametrize("name", LOOPS)
def test_an_unseen_quantization_gives_what_the_plain_optimizer_gives(
    name: str, algorithm: type[Optimizer]
) -> None:
    options: dict[str, Any] = {"lr": 0.05, **({"momentum": 0.9} if algorithm is SGD else {})}
    plain, model = Net(), Net()
    by_torch = algorithm(groups_of(plain), **options)
    ours = prox(model, UNSEEN, algorithm, groups_of(model), **options)
    LOOPS[name](plain, by_torch)
    LOOPS[name](model, ours)
    assert are_equal(plain, model)
    assert not are_equal(plain, Net())
    for group, other in zip(ours.param_groups, by_torch.param_groups, strict=True):
        assert {key: group[key] for key in group if key != "params"} == {
            key: other[key] for key in other if key != "params"
        }
    with ours.weights_at(Point.HARD):
        assert set(model.first.weight.flatten().tolist()) <= set(TERNARY)


@pytest.mark.parametrize("rule", [PROX_CONNECT, PROX_QUANT])
def test_it_takes_the_steps_of_a_recipes_optimizer(rule: Any) -> None:
    model, other = Net(), Net()
    quantizer = PiecewiseLinear(TERNARY)
    ours = prox(model, Quantization(rule=rule, quantizer=quantizer, sharpness=Linear(0.02)))
    names = ("first.weight", "second.weight", "head.weight")
    engine = LatentOptimizer(
        {name: (other.get_parameter(name), quantizer) for name in names},
        [parameter for name, parameter in other.named_parameters() if name not in names],
        make_base=lambda parameters: AdamW(parameters, lr=0.02),
        rule=rule,
        sharpness=lambda step: 0.02 * (1 + step / STEPS),
    )
    train(model, ours, batches(7))
    train(other, engine, batches(7))
    assert are_equal(model, other)


def test_groups_say_which_weights_are_quantized_and_how() -> None:
    model, by_model = Net(), Net()
    ours = ProxOptimizer(
        [
            {"params": model.first.weight, "quantized": True, "weight_decay": 0.1},
            {
                "params": [model.second.weight],
                "quantized": True,
                "quantizer": Nearest(BINARY),
                "scale": AbsoluteMean(per="channel"),
                "sharpness": Constant(0.3),
            },
            {"params": [p for p in model.parameters() if p.dim() < 2], "quantized": False},
            {"params": [model.head.weight]},
        ],
        AdamW,
        CONNECTED,
        steps_per_epoch=STEPS,
        lr=0.02,
    )
    train(model, ours, batches(4))
    ours.harden()
    assert set(model.first.weight.flatten().tolist()) <= set(TERNARY)
    assert all(len(row.abs().unique()) == 1 for row in model.second.weight)
    assert len(model.head.weight.unique()) == model.head.weight.numel()
    assert list(ours.levels()) == ["param_groups[0][0]", "param_groups[1][0]"]
    assert all("quantized" not in group for group in ours.param_groups)
    named = prox(by_model, params=by_model.named_parameters())
    assert named.param_groups[0]["param_names"] == [name for name, _ in by_model.named_parameters()]
    assert list(named.levels()) == ["first.weight", "second.weight", "head.weight"]


def test_a_group_is_added_as_in_torch() -> None:
    plain, model = Net(), Net()
    both = [(plain, SGD([*plain.first.parameters()], lr=0.05, momentum=0.9))]
    both.append((model, prox_of_first(model)))
    for network, optimizer in both:
        train(network, optimizer, batches(3))
        optimizer.add_param_group({"params": [*network.head.parameters()], "lr": 0.01})
        train(network, optimizer, batches(3, seed=1))
    assert are_equal(plain, model)
    optimizer = both[1][1]
    optimizer.add_param_group({"params": [model.second.weight], "quantized": True})
    before = model.second.weight.detach().clone()
    train(model, optimizer, batches(3, seed=2))
    assert not torch.equal(before, model.second.weight)
    optimizer.harden()  # type: ignore[attr-defined]
    for layer in (model.first, model.second):
        assert set(layer.weight.flatten().tolist()) <= set(TERNARY)
    with pytest.raises(ValueError, match="more than one parameter group"):
        optimizer.add_param_group({"params": [model.first.bias]})


def test_the_next_forward_pass_sees_the_map_of_a_group_that_was_added() -> None:
    model = Net()
    groups = [{"params": [model.first.weight], "quantized": True}]
    ours = ProxOptimizer(groups, SGD, CONNECTED, steps_per_epoch=STEPS, lr=0.05)
    train(model, ours, batches(2))
    raw, seen = model.head.weight.detach().clone(), model.first.weight.detach().clone()
    ours.add_param_group({"params": [model.head.weight], "quantized": True})
    expected = PiecewiseLinear(TERNARY).prox(raw, 0.02 * (1 + 2 / STEPS))
    assert torch.equal(model.head.weight, expected)
    assert not torch.equal(raw, expected)
    assert torch.equal(model.first.weight, seen)


def prox_of_first(model: Net) -> ProxOptimizer:
    groups = [
        {"params": [model.first.weight], "quantized": True},
        {"params": [model.first.bias]},
    ]
    ours = ProxOptimizer(groups, SGD, UNSEEN, steps_per_epoch=STEPS, lr=0.05, momentum=0.9)
    assert len(ours.param_groups) == 2
    return ours


def test_a_skipped_step_is_none() -> None:
    """The steps with an infinite loss leave weights, latents and schedules as they were."""
    model, other = Net(), Net()
    ours, reference = prox(model), prox(other)
    inputs = batches(7)
    scaled(model, ours)
    for position, batch in enumerate(inputs):
        if position in (1, 4):
            continue
        reference.zero_grad()
        loss_of(other, batch).backward()
        nn.utils.clip_grad_norm_(other.parameters(), 1.0)
        reference.step()
    assert ours.num_steps == reference.num_steps == 5
    assert are_equal(model, other)


def test_learned_numbers_follow_the_group_of_their_weights() -> None:
    """They have its learning rate, without weight decay; without a gradient they do not move."""
    model = Net()
    learned = Quantization(
        rule=PROX_CONNECT, quantizer=Nearest((-1.0, 0.0, 1.0)), scale=LearnedStep()
    )
    ours = prox(model, learned, SGD, groups_of(model), lr=0.05)
    scheduler = LambdaLR(ours, [lambda step: 0.1**step, lambda step: 1.0, lambda step: 1.0])
    train(model, ours, batches(1))
    scheduler.step()
    train(model, ours, batches(1))
    numbers = {id(group.learned) for group in ours.groups}
    own = [group for group in ours.base.param_groups if id(group["params"][0]) in numbers]
    assert [group["lr"] for group in own] == pytest.approx([0.05 * 0.1, 0.005])
    assert [group["weight_decay"] for group in own] == [0, 0]
    assert [group["weight_decay"] for group in ours.param_groups] == [0.1, 0, 0]
    steps = ours.levels()["second.weight"].clone()
    ours.zero_grad()
    loss_of(model, batches(1)[0], both=False).backward()
    ours.step()
    assert torch.equal(steps, ours.levels()["second.weight"])


def test_a_step_scale_is_for_latents_only() -> None:
    model, other = Net(), Net()
    doubled = Quantization(rule=PROX_CONNECT, quantizer=Nearest(TERNARY), step_scale=2.0)
    plain = Quantization(rule=PROX_CONNECT, quantizer=Nearest(TERNARY))
    ours = prox(model, doubled, SGD, lr=0.05)
    groups = [
        {"params": [p for p in other.parameters() if p.dim() == 2], "lr": 0.1},
        {"params": [p for p in other.parameters() if p.dim() < 2]},
    ]
    reference = prox(other, plain, SGD, groups, lr=0.05)
    assert len(ours.param_groups) == 1
    train(model, ours, batches(5))
    train(other, reference, batches(5))
    assert are_equal(model, other)
    assert ours.param_groups[0]["lr"] == 0.05
