"""The selection of quantized weights, weight groups, and averaging."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from quantlab import ConfigurationError, Quantization, TrainingRun, override
from quantlab.models.convnet import ConvNet
from quantlab.models.torchvision_model import TorchvisionModel
from quantlab.models.weights import group_of_weights, quantized_weights
from quantlab.optim.latent_optimizer import LatentOptimizer
from quantlab.papers.proxconnect import RESNET18_FULL_PRECISION
from quantlab.quantization_sets import BINARY, QUATERNARY, TERNARY
from quantlab.quantizers.nearest import Nearest
from quantlab.quantizers.piecewise_linear import PiecewiseLinear
from quantlab.recipe import Averaging, WeightGroup
from quantlab.schedules import Constant, Linear
from quantlab.update_rules import PROX_CONNECT, PROX_QUANT, Point, UpdateRule
from tests.quantlab.recipes import ADAM, SGD, quantized

LAYERS = ("conv1", "conv2", "conv3", "linear")


def convnet() -> nn.Module:
    return ConvNet(width=4).build(num_classes=10, num_channels=1)


def test_t51_torchvisions_resnet18_less_its_ends() -> None:
    model = TorchvisionModel("resnet18").build(num_classes=1000, num_channels=3)
    weights = quantized_weights(model, RESNET18_FULL_PRECISION)
    assert len(weights) == 19
    assert sum("downsample" in name for name in weights) == 3
    assert sum(weight.numel() for weight in weights.values()) == 11_157_504


@pytest.mark.parametrize(
    ("exclude", "left"),
    [
        ((), LAYERS),
        (("Linear",), LAYERS[:3]),
        (("Conv2d",), ("linear",)),
        (("conv[23]", "linear"), ("conv1",)),
    ],
)
def test_exclusion_by_module_type_and_by_name(exclude: Any, left: Any) -> None:
    assert list(quantized_weights(convnet(), exclude)) == [f"{name}.weight" for name in left]


def test_every_pattern_must_match_something() -> None:
    with pytest.raises(ConfigurationError, match=r"exclude: 'Conv3d' matches no layer; .*Linear\)"):
        quantized_weights(convnet(), ["Conv3d"])
    with pytest.raises(ConfigurationError, match=r"groups\[1\]\.layers: 'fc' matches no layer"):
        group_of_weights(convnet(), (), [["Linear"], ["fc"]])
    # An excluded layer is not there to be grouped.
    with pytest.raises(ConfigurationError, match=r"groups\[0\]\.layers: 'linear' matches no layer"):
        group_of_weights(convnet(), ("linear",), [["linear"]])


def test_a_layer_belongs_to_one_group() -> None:
    assert group_of_weights(convnet(), ("conv3",), [["Linear", "conv1"]]) == {
        "conv1.weight": 0,
        "conv2.weight": None,
        "linear.weight": 0,
    }
    with pytest.raises(ConfigurationError, match=r"'conv1' matches conv1, .* groups\[0\]"):
        group_of_weights(convnet(), (), [["Conv2d"], ["conv1"]])


def test_groups_are_the_product_map() -> None:
    """Each layer ends on its own set, and on the way follows its own map and schedule."""
    quantization = Quantization(
        rule=PROX_CONNECT,
        quantizer=PiecewiseLinear(TERNARY),
        sharpness=Linear(0.02),
        exclude=("conv1",),
        groups=(
            WeightGroup(layers=("conv2",), quantizer=PiecewiseLinear(QUATERNARY)),
            WeightGroup(
                layers=("Linear",), quantizer=PiecewiseLinear(BINARY), sharpness=Constant(0.25)
            ),
        ),
    )
    run = TrainingRun(quantized(quantization=quantization, epochs=1, batchnorm_epochs=1))
    records = iter(run)
    record = next(records)
    optimizer, sharpness = run.optimizer, quantization.sharpness.at(record.step, 7)
    expected = {
        "conv2.weight": (PiecewiseLinear(QUATERNARY), sharpness),
        "conv3.weight": (PiecewiseLinear(TERNARY), sharpness),
        "linear.weight": (PiecewiseLinear(BINARY), 0.25),
    }
    latent, proximal = weights_of(run, Point.LATENT), weights_of(run, Point.PROXIMAL)
    for name, (quantizer, rho) in expected.items():
        assert torch.equal(proximal[name], quantizer.prox(latent[name], rho)), name
    assert torch.equal(latent["conv1.weight"], proximal["conv1.weight"])
    assert optimizer.quantization_gap() > 0
    list(records)
    final = run.final_weights()
    for name, levels in (("conv2", QUATERNARY), ("conv3", TERNARY), ("linear", BINARY)):
        found = set(final[f"{name}.weight"].double().flatten().tolist())
        assert found <= {torch.tensor(level).double().item() for level in levels}
    assert len(final["conv1.weight"].unique()) > 20


def weights_of(run: TrainingRun, point: Point) -> dict[str, Tensor]:
    with run.optimizer.weights_at(point):
        return {name: value.detach().clone() for name, value in run.model.named_parameters()}


def test_a_group_of_the_common_quantizer_changes_nothing() -> None:
    group = WeightGroup(layers=("conv*",), quantizer=PiecewiseLinear())
    for optimizer in (ADAM, SGD):
        # Fused kernels round the last few entries of a buffer differently from the others.
        plain = override(quantized(optimizer=optimizer), "optimizer.options.foreach", True)
        grouped = override(plain, "quantization.groups", (group,))
        first, second = TrainingRun(plain), TrainingRun(grouped)
        for one, other in zip(first, second, strict=True):
            assert one.train_loss == other.train_loss
        ours, theirs = first.final_weights(), second.final_weights()
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_an_axis_can_reach_into_a_group() -> None:
    recipe = override(
        quantized(), "quantization.groups", (WeightGroup(layers=("*",), quantizer=Nearest()),)
    )
    changed = override(recipe, "quantization.groups.0.quantizer.levels", BINARY)
    assert changed.quantization is not None
    assert changed.quantization.groups[0].quantizer.levels == BINARY
    with pytest.raises(ConfigurationError, match=r"'1' must be a whole number >= 0 and < 1"):
        override(recipe, "quantization.groups.1.quantizer", Nearest())


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: WeightGroup(layers=(), quantizer=Nearest()), "at least one layer"),
        (lambda: WeightGroup(layers="conv1", quantizer=Nearest()), "a sequence of patterns"),
        (lambda: WeightGroup(layers=("a",), quantizer=1), "must be .* Quantizer"),
        (
            lambda: WeightGroup(layers=("a",), quantizer=Nearest(), sharpness="1"),
            "must be a number >= 0 or a schedule",
        ),
        (lambda: Quantization(rule=PROX_CONNECT, quantizer=Nearest(), groups=(1,)), "WeightGroup"),
        (lambda: Averaging(weight="1"), "must be a number >= 0 or a schedule"),
        (lambda: Averaging(start_epoch=-1), "whole number >= 0"),
        (
            lambda: override(quantized(), "quantization.averaging", Averaging(start_epoch=3)),
            r"start_epoch = 3: must be less than Recipe\.epochs = 3",
        ),
        (lambda: override(quantized(), "quantization.groups", 1), "a sequence of WeightGroup"),
        (lambda: override(quantized(), "quantization.exclude", None), "a sequence of patterns"),
        (
            lambda: override(quantized(), "quantization.latent_bound", "a"),
            "must be a finite number > 0",
        ),
    ],
)
def test_bad_values_are_named(build: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        build()


@pytest.mark.parametrize("flat", [False, True])
def test_t36_sets_shifts_and_exclusion_under_a_torch_scheduler(flat: bool) -> None:
    """Three weights: two sets with a rho of their own each, and one in full precision, by hand."""
    torch.manual_seed(0)
    start = torch.randn(3, 5, dtype=torch.float64)
    a, b, c = (nn.Parameter(row.clone()) for row in start)
    maps = {"a": (PiecewiseLinear(BINARY), 0.05), "b": (PiecewiseLinear(QUATERNARY), 0.02)}

    def rho(slope: float) -> Any:
        return lambda step: slope * (1 + step)

    optimizer = LatentOptimizer(
        {"a": (a, maps["a"][0]), "b": (b, maps["b"][0])},
        [c],
        make_base=lambda parameters: torch.optim.SGD(parameters, lr=0.4),
        rule=PROX_CONNECT,
        sharpness=rho(0.05),
        own_sharpness={"b": rho(0.02)},
        flat=flat,
    )
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=4, gamma=0.5)
    target = torch.tensor([0.9, -0.2, 0.1, 0.4, -1.2], dtype=torch.float64)
    latent = start.clone()
    for step in range(12):
        proximal = latent.clone()
        for row, (quantizer, slope) in enumerate(maps.values()):
            proximal[row] = quantizer.prox(latent[row], slope * (1 + step))
        torch.testing.assert_close(torch.stack([a, b, c]), proximal, rtol=0, atol=1e-13)
        latent -= 0.4 * 0.5 ** (step // 4) * (proximal - target)
        optimizer.zero_grad()
        sum(0.5 * (weight - target).square().sum() for weight in (a, b, c)).backward()  # type: ignore[union-attr]
        optimizer.step()
        scheduler.step()
    with optimizer.weights_at(Point.LATENT):
        torch.testing.assert_close(torch.stack([a, b, c]), latent, rtol=0, atol=1e-13)


@pytest.mark.parametrize("rule", [PROX_CONNECT, PROX_QUANT], ids=["PC", "PQ"])
@pytest.mark.parametrize("flat", [False, True])
def test_the_average_is_the_weighted_mean_of_the_iterates(rule: UpdateRule, flat: bool) -> None:
    """Equation (35): sum eta_t w_t / sum eta_t from step s on; `harden` projects it."""
    torch.manual_seed(0)
    weight = nn.Parameter(torch.randn(6, dtype=torch.float64))
    quantizer = PiecewiseLinear(QUATERNARY)

    def eta(step: int) -> float:
        return 0.0 if step < 3 else 1 / step

    optimizer = LatentOptimizer(
        {"w": (weight, quantizer)},
        [],
        make_base=lambda parameters: torch.optim.SGD(parameters, lr=0.3),
        rule=rule,
        sharpness=lambda step: 0.01 * step,
        averaging=eta,
        flat=flat,
    )
    with pytest.raises(ValueError, match="no iterate"), optimizer.weights_at(Point.AVERAGED):
        pass
    iterates, total = torch.zeros(6, dtype=torch.float64), 0.0
    for step in range(20):
        iterates += eta(step) * weight.detach()  # the gradient is taken at w_t = P(w*_t)
        total += eta(step)
        optimizer.zero_grad()
        (weight - torch.linspace(-1, 1, 6, dtype=torch.float64)).square().sum().backward()
        optimizer.step()
    with optimizer.weights_at(Point.AVERAGED):
        torch.testing.assert_close(weight.detach(), iterates / total, rtol=0, atol=1e-14)
    with optimizer.weights_at(Point.HARD):
        hard = weight.detach().clone()
    assert torch.equal(hard, quantizer.hard(iterates / total))
    fresh = optimizer.state_dict() | {"averaged_weight": 0.0, "average": []}
    averaged = optimizer.state_dict()
    optimizer.load_state_dict(fresh)
    with pytest.raises(ValueError, match="no iterate"), optimizer.weights_at(Point.AVERAGED):
        pass
    optimizer.load_state_dict(averaged)
    optimizer.harden()
    assert torch.equal(weight.detach(), hard)


def test_an_average_of_nothing_is_refused() -> None:
    nothing = Averaging(weight=Constant(0), start_epoch=1)
    with pytest.raises(ConfigurationError, match=r"Averaging\.weight = .* from epoch 1 on"):
        TrainingRun(override(quantized(), "quantization.averaging", nothing))


def test_a_run_quantizes_its_average_in_the_end() -> None:
    recipe = quantized(batchnorm_epochs=0)
    averaged = override(recipe, "quantization.averaging", Averaging(start_epoch=1))
    plain_run, run = TrainingRun(recipe), TrainingRun(averaged)
    for one, other in zip(plain_run, run, strict=True):
        assert one.train_loss == other.train_loss  # the average does not act on training
    with run.optimizer.weights_at(Point.AVERAGED):
        average = run.model.get_parameter("conv2.weight").detach().clone()
    final = run.final_weights()["conv2.weight"]
    assert torch.equal(final, PiecewiseLinear().hard(average))
    assert not torch.equal(final, plain_run.final_weights()["conv2.weight"])
