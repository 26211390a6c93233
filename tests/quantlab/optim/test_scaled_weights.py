"""Levels that come from the weights or are learned, in the optimizer and in packs."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import SGD

from quantlab import (
    ConfigurationError,
    OptimizerSpec,
    ProxOptimizer,
    Quantization,
    Quantizer,
    Recipe,
)
from quantlab.backward_maps import ClippedIdentity, InsideLevels, Jacobian
from quantlab.mirror_maps.softmax import Softmax
from quantlab.models.convnet import ConvNet
from quantlab.optim.bits import bits_by_weight
from quantlab.optim.latent_optimizer import LatentOptimizer
from quantlab.packs import PackedRun
from quantlab.packs.compatibility import pack_key
from quantlab.quantization_sets import BINARY, TERNARY
from quantlab.quantizers.binary_relax import BinaryRelax
from quantlab.quantizers.nearest import Nearest
from quantlab.quantizers.piecewise_linear import PiecewiseLinear
from quantlab.recipe import ParameterGroup, WeightGroup
from quantlab.scales import Scale
from quantlab.scales.learned_step import LearnedStep
from quantlab.scales.placement import SMALLEST, Proportional
from quantlab.scales.trained_ternary import TrainedTernary
from quantlab.schedules import Constant, Linear
from quantlab.training.run import TrainingRun
from quantlab.update_rules import POST_TRAINING, PROX_CONNECT, PROX_QUANT, Point, UpdateRule
from tests.quantlab.packs.test_packs import DOUBLE_DIGITS, Double, alone, assert_alike, packed


@dataclass(frozen=True, kw_only=True)
class Mean(Scale):
    """s = mean |w*|."""

    def place(
        self, latent: Tensor, levels: tuple[float, ...], learned: Tensor | None = None
    ) -> Proportional:
        scale = latent.abs().mean(-1, keepdim=True).clamp(min=SMALLEST)
        return Proportional(scale, scale)


@dataclass(frozen=True, kw_only=True)
class Learned(Scale):
    """A learned s, whose gradient is the chain rule with the backward map as Jacobian."""

    def place(
        self, latent: Tensor, levels: tuple[float, ...], learned: Tensor | None = None
    ) -> Proportional:
        assert learned is not None
        return Proportional(learned, learned)

    def num_learned(self, levels: tuple[float, ...]) -> int:
        return 1

    def initial(self, latent: Tensor, levels: tuple[float, ...]) -> Tensor:
        return 1.5 * latent.abs().mean(-1, keepdim=True).clamp(min=SMALLEST)

    def gradient(
        self,
        gradient: Tensor,
        carried: Tensor,
        latent: Tensor,
        weights: Tensor,
        levels: tuple[float, ...],
        learned: Tensor,
    ) -> Tensor:
        return ((gradient * weights - carried * latent) / learned).mean(-1, keepdim=True)


KEPT = [Mean(per="channel", every=4), Mean(every=3)]
SCALES = [scale for kind in (Mean, Learned) for scale in (kind(), kind(per="channel"), kind(per=9))]
IMAGES = torch.randn(24, 3, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
LABELS = torch.arange(24) % 5


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Conv2d(6, 6, 3), nn.Flatten(), nn.Linear(24, 5)
    ).double()


def of_network(model: nn.Module, scale: Scale) -> dict[str, Scale]:
    return {name: scale for name in weights_of(model, Nearest()) if not name.startswith("4")}


def weights_of(model: nn.Module, quantizer: Quantizer) -> dict[str, tuple[nn.Parameter, Quantizer]]:
    return {
        name: (parameter, quantizer)
        for name, parameter in model.named_parameters()
        if parameter.dim() > 1
    }


def optimizer(
    model: nn.Module,
    scale: Scale,
    *,
    quantizer: Quantizer = PiecewiseLinear(),  # noqa: B008
    rule: UpdateRule = PROX_CONNECT,
    flat: bool = True,
    **options: Any,
) -> LatentOptimizer:
    return LatentOptimizer(
        weights_of(model, quantizer),
        [parameter for parameter in model.parameters() if parameter.dim() == 1],
        make_base=lambda groups: torch.optim.SGD(groups, lr=0.02, momentum=0.9, weight_decay=0.01),
        rule=rule,
        sharpness=lambda step: 0.02 * step,
        scales=of_network(model, scale),
        backward=ClippedIdentity(2.0),
        flat=flat,
        **options,
    )


def train(model: nn.Module, optimizer: LatentOptimizer, steps: int) -> None:
    for _ in range(steps):
        optimizer.zero_grad()
        F.cross_entropy(model(IMAGES), LABELS).backward()
        optimizer.step()


def weights_by_hand(scale: Scale, steps: int) -> Mapping[str, Tensor]:
    """Every row alone, with SGD, momentum and weight decay written out."""
    model = network()
    quantized = weights_of(model, Nearest())
    scaled = of_network(model, scale)
    latents = {name: p.detach().clone() for name, p in model.named_parameters()}
    moments: dict[tuple[str, str], Tensor] = {}
    learned: dict[str, Tensor] = {}

    def rows(name: str, tensor: Tensor) -> Tensor:
        if scale.per == "tensor":
            return tensor.reshape(1, -1)
        return tensor.reshape(len(tensor), -1) if scale.per == "channel" else tensor.reshape(-1, 9)

    if isinstance(scale, Learned):
        learned = {
            name: torch.stack([1.5 * row.abs().mean() for row in rows(name, latents[name])])
            for name in scaled
        }

    placed_at = dict(latents)

    def scales(name: str) -> Tensor:
        if name not in scaled:
            return torch.ones(1, 1, dtype=torch.float64)
        found = rows(name, placed_at[name]).abs().mean(1) if not learned else learned[name]
        return found[:, None]

    def parts(name: str) -> Tensor:
        latent = latents[name]
        return rows(name, latent) if name in scaled else latent.reshape(1, -1)

    def moved(key: tuple[str, str], value: Tensor, gradient: Tensor) -> Tensor:
        moments[key] = 0.9 * moments[key] + gradient if key in moments else gradient
        return value - 0.02 * moments[key]

    for step in range(steps):
        placed_at = placed_at if step % scale.every else dict(latents)
        values = {}
        for name, latent in latents.items():
            values[name] = latent
            if name in quantized:
                image = PiecewiseLinear().prox(parts(name) / scales(name), 0.02 * step)
                values[name] = (image * scales(name)).reshape(latent.shape)
            values[name] = values[name].clone().requires_grad_()
        loss = F.cross_entropy(torch.func.functional_call(model, values, IMAGES), LABELS)
        gradients = torch.autograd.grad(loss, list(values.values()))
        for name, gradient in zip(values, gradients, strict=True):
            latent = latents[name]
            if name in quantized:
                unit = parts(name) / scales(name)
                back = gradient.reshape(unit.shape) * (unit.abs() <= 2)
                if name in learned:
                    image = PiecewiseLinear().prox(unit, 0.02 * step)
                    own = (gradient.reshape(unit.shape) * image - back * unit).mean(1)
                    learned[name] = moved((name, "scale"), learned[name], own)
                gradient = back.reshape(latent.shape)
            latents[name] = moved((name, ""), latent, gradient + 0.01 * latent)
    return latents


@pytest.mark.parametrize("scale", [*SCALES, *KEPT], ids=repr)
@pytest.mark.parametrize("flat", [True, False])
def test_steps_with_a_scale_are_those_written_out_by_hand(scale: Scale, flat: bool) -> None:
    model = network()
    own = optimizer(model, scale, flat=flat)
    train(model, own, 50)
    expected = weights_by_hand(scale, 50)
    for group in own.groups:
        for parameter, latent in zip(group.parameters, group.views(group.latent), strict=True):
            name = next(name for name, p in model.named_parameters() if p is parameter)
            torch.testing.assert_close(latent, expected[name], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("scale", [*SCALES, *KEPT], ids=repr)
@pytest.mark.parametrize("rule", [PROX_CONNECT, PROX_QUANT], ids=str)
def test_hard_weights_are_levels_of_their_row_to_the_last_bit(
    scale: Scale, rule: UpdateRule
) -> None:
    model = network().float()
    own = optimizer(model, scale, rule=rule)
    for _ in range(5):
        own.zero_grad()
        F.cross_entropy(model(IMAGES.float()), LABELS).backward()
        own.step()
    levels = own.levels()
    own.harden()
    for name in weights_of(model, Nearest()):
        of_rows = levels[name]
        rows = model.get_parameter(name).reshape(len(of_rows), -1)
        assert (rows[..., None] == of_rows[:, None, :]).any(-1).all()
        assert (of_rows.diff(dim=-1) > 0).all()
    assert levels["4.weight"].tolist() == [[-1, 0, 1]]


@pytest.mark.parametrize(
    ("scale", "steps"),
    [(Mean(per="channel"), 5), (Learned(per=9), 5), *((KEPT[0], steps) for steps in range(3, 9))],
    ids=repr,
)
def test_an_interrupted_run_with_a_scale_goes_on_bit_for_bit(scale: Scale, steps: int) -> None:
    whole, parts = network(), network()
    train(whole, optimizer(whole, scale), 12)
    first = optimizer(parts, scale)
    train(parts, first, steps)
    state = {name: value.clone() for name, value in parts.state_dict().items()}
    second = network()
    second.load_state_dict(state)
    own = optimizer(second, scale)
    own.load_state_dict(first.state_dict())
    train(second, own, 12 - steps)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, second.state_dict()[name]), name


def test_levels_are_kept_between_placements_but_hard_weights_have_new_ones() -> None:
    scale = Mean(every=4)
    own = optimizer(model := network(), scale, quantizer=Nearest(BINARY))
    group = own.groups[0]
    kept, hard = [], []
    for step in range(9):
        mean = group.latent.abs().mean()
        if step % 4 == 0:
            placed = mean
        kept.append(group.proximal.abs())
        hard.append(own._at(group, Point.HARD).abs())
        torch.testing.assert_close(kept[-1], placed.expand_as(kept[-1]), rtol=1e-15, atol=0)
        torch.testing.assert_close(hard[-1], mean.expand_as(hard[-1]), rtol=1e-15, atol=0)
        train(model, own, 1)
    assert len({float(sizes[0]) for sizes in kept}) == 3
    assert len({float(sizes[0]) for sizes in hard}) == 9


def test_post_training_places_levels_when_weights_are_evaluated() -> None:
    own = optimizer(
        model := network(), Mean(every=4), rule=POST_TRAINING, quantizer=Nearest(BINARY)
    )
    train(model, own, 2)
    group = own.groups[0]
    sizes = own._at(group, Point.PROXIMAL).abs()
    torch.testing.assert_close(sizes, group.latent.abs().mean().expand_as(sizes))


def test_learned_numbers_stay_positive_and_do_not_decay() -> None:
    model = network()
    own = optimizer(model, Learned())
    learned = [group.learned for group in own.groups if group.learned is not None]
    assert [len(numbers) for numbers in learned] == [1, 1]
    decays = {
        id(parameter): group["weight_decay"]
        for group in own.param_groups
        for parameter in group["params"]
    }
    assert [decays[id(numbers)] for numbers in learned] == [0, 0]
    assert sorted(set(decays.values())) == [0, 0.01]
    for numbers in learned:
        numbers.data.fill_(SMALLEST)
    train(model, own, 3)
    assert all((numbers >= SMALLEST).all() for numbers in learned)


def recipe(scale: Any, seed: int = 0, **options: Any) -> Recipe:
    quantization = Quantization(
        rule=PROX_CONNECT,
        quantizer=PiecewiseLinear(TERNARY),
        sharpness=Linear(0.02),
    )
    options = {"scale": scale, **options}
    return Recipe(
        model=Double(ConvNet(width=3)),
        dataset=DOUBLE_DIGITS,
        optimizer=OptimizerSpec(
            algorithm=torch.optim.SGD, learning_rate=Constant(0.05), options={"momentum": 0.9}
        ),
        quantization=replace(quantization, **options),
        epochs=3,
        batchnorm_epochs=1,
        batch_size=32,
        seed=seed,
    )


@pytest.mark.parametrize("kind", [Mean, Learned])
def test_a_pack_with_scales_trains_each_member_as_alone(kind: type[Scale]) -> None:
    scale = kind(per="channel")
    members = [
        recipe(scale),
        recipe(scale, 1, sharpness=Linear(0.1), backward=ClippedIdentity()),
        recipe(scale, 2, rule=PROX_QUANT, quantizer=Nearest(BINARY)),
        recipe(scale, 3, pull=0.3, latent_bound=0.5),
        recipe(scale, 4, quantizer=PiecewiseLinear(BINARY)),
    ]
    if kind is Mean:
        members += [
            recipe(replace(scale, every=3), 5),
            recipe(replace(scale, every=3), 6, backward=ClippedIdentity()),
            recipe(replace(scale, every=7), 7, backward=ClippedIdentity(), rule=PROX_QUANT),
        ]
    for found, own in zip(packed(members), members, strict=True):
        assert_alike(found, alone(own), 1e-12)


def test_a_pack_with_learned_levels_has_the_derivatives_of_each_sharpness() -> None:
    """The share of the latents in a weight of BinaryRelax does not move with TTQ's levels."""
    options = {"quantizer": BinaryRelax(TERNARY), "sharpness": Linear(0.5)}
    members = [
        recipe(TrainedTernary(), **options),
        recipe(TrainedTernary(), 1, **{**options, "sharpness": Linear(0.1)}),
        recipe(TrainedTernary(), 2, **options, backward=Jacobian()),
        recipe(TrainedTernary(), 3, **{**options, "sharpness": 0.3}, backward=Jacobian()),
    ]
    for found, own in zip(packed(members), members, strict=True):
        assert_alike(found, alone(own), 1e-12)


def test_members_that_keep_levels_go_on_in_another_pack_and_alone() -> None:
    scales = [Mean(per="channel", every=every) for every in (4, 1, 4, 5)]
    members = [recipe(scale, seed) for seed, scale in enumerate(scales)]
    pack = PackedRun(members)
    training = pack.train(pause_steps=1)
    for _ in range(6):  # in the middle of an epoch, and between two placements
        next(training)
    states = [member.state_dict() for member in pack.members]
    shapes = [len(state["optimizer"]["placed_at"]) for state in states]
    assert shapes[1] == 0 < shapes[0] == shapes[3]
    runs = [TrainingRun(own) for own in members]
    others = PackedRun(members[1:])
    for run, other, state in zip(runs, [None, *others.members], states, strict=True):
        run.load_state_dict(state)
        if other is not None:
            other.load_state_dict(state)
    list(others)
    for run, other, own in zip(runs, [None, *others.members], members, strict=True):
        expected = alone(own).weights
        list(run)
        for found in (run, other):
            for name, weight in found.final_weights().items() if found is not None else ():
                torch.testing.assert_close(weight, expected[name], rtol=1e-11, atol=1e-11)


def test_only_trials_with_the_same_rows_share_a_pack() -> None:
    keys = [pack_key(recipe(scale)) for scale in (None, *SCALES)]
    assert len(set(keys)) == len(keys)
    assert pack_key(recipe(Mean())) == pack_key(recipe(Mean(), 5, quantizer=Nearest(BINARY)))


def test_bits_count_the_numbers_of_the_levels() -> None:
    model = ConvNet(width=3).build(num_classes=10, num_channels=1)
    for per in ("tensor", "channel", 9):
        quantization = recipe(Mean(per=per), exclude=("Linear",)).quantization
        assert quantization is not None
        for name, bits in bits_by_weight(model, quantization).items():
            shape = model.get_parameter(name).shape
            length = {"tensor": shape.numel(), "channel": shape.numel() // shape[0], 9: 9}[per]
            assert bits == math.log2(3) + 32 / length


def test_groups_have_scales_of_their_own() -> None:
    groups = (WeightGroup(layers=("Linear",), quantizer=Nearest(BINARY), scale=Mean()),)
    run = TrainingRun(recipe(None, groups=groups))
    levels = run.optimizer.levels()
    scaled = {name for name, own in levels.items() if float(own.abs().max()) != 1}
    linear = {
        f"{name}.weight"
        for name, layer in run.model.named_modules()
        if isinstance(layer, nn.Linear)
    }
    assert scaled == linear != set(levels)


def test_options_by_pattern_hold_for_latents_and_not_for_learned_numbers() -> None:
    own = recipe(Learned())
    groups = (ParameterGroup(parameters=("Linear",), learning_rate_factor=0.0),)
    run = TrainingRun(replace(own, optimizer=replace(own.optimizer, groups=groups)))
    factors = sorted(group.get("learning_rate_factor", 1) for group in run.optimizer.param_groups)
    assert factors == [0, 1, 1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scale": "mean"}, r"Quantization.scale = 'mean': must be an instance of Scale"),
        (
            {"scale": Mean(), "quantizer": Softmax()},
            r"Quantization.scale = Mean\(per='tensor', every=1\): must be None for Softmax",
        ),
        ({"scale": Learned(every=2)}, r"Learned.every = 2: must be 1, because its numbers are"),
        (
            {"scale": Learned(), "rule": POST_TRAINING},
            r"Quantization.scale = Learned.*rule.gradient_at must be Point.PROXIMAL",
        ),
    ],
)
def test_a_scale_that_does_not_fit_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        recipe(**{"scale": None, **options})


@pytest.mark.parametrize("per", ["row", 0, 2.5, True, None])
def test_rows_must_be_named(per: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"Mean.per = "):
        Mean(per=per)


@pytest.mark.parametrize("every", [0, -1, 2.5, True, None])
def test_steps_between_placements_are_counted(every: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"Mean.every = "):
        Mean(every=every)


def test_blocks_that_do_not_divide_a_tensor_are_refused_by_its_name() -> None:
    with pytest.raises(ConfigurationError, match=r"Mean.per = 7: must divide the .* of .*weight"):
        TrainingRun(recipe(Mean(per=7)))


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("scale", [LearnedStep(per="channel"), TrainedTernary(per="channel")])
def test_learned_numbers_of_short_floats_are_float32(scale: Scale, kind: torch.dtype) -> None:
    """The smallest scale, which a row of zeros has, is 0 in float16."""
    layer = nn.Linear(4, 3, bias=False)
    with torch.no_grad():
        layer.weight[1] = 0
    layer.to(kind)
    wide = nn.Linear(4, 3, bias=False)
    wide.load_state_dict(layer.state_dict())
    found = []
    for network in (layer, wide):
        quantization = Quantization(
            rule=PROX_CONNECT, quantizer=Nearest(TERNARY), scale=scale, backward=InsideLevels()
        )
        optimizer = ProxOptimizer(
            network.parameters(), SGD, quantization, model=network, steps_per_epoch=2, lr=0.01
        )
        for step in range(3):
            inputs = torch.linspace(-1, 1 + step, 20).view(5, 4).to(network.weight.dtype)
            optimizer.zero_grad()
            network(inputs).square().mean().backward()
            optimizer.step()
        found.append((optimizer.groups[0].learned, network.weight))
    (learned, weights), (exact, expected) = found
    assert learned is not None
    assert learned.dtype is torch.float32
    assert learned.min() >= SMALLEST
    torch.testing.assert_close(learned, exact, rtol=0.05, atol=1e-6)
    torch.testing.assert_close(weights.float(), expected, rtol=0.05, atol=0.01)
