"""Flips of an epoch: how many weights change level, alone, in packs, and after a resumption."""

import math
from collections.abc import Iterator
from dataclasses import asdict, replace
from statistics import median
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from quantlab import (
    EpochRecord,
    Point,
    Quantization,
    Recipe,
    Stage,
    TrainingRun,
)
from quantlab.mirror_maps.softmax import Softmax
from quantlab.optim.flips import Flips, flips_since, levels_of
from quantlab.optim.latent_optimizer import LatentOptimizer
from quantlab.packs import PackedRun
from quantlab.quantization_sets import BINARY, QUATERNARY, TERNARY
from quantlab.quantizers.nearest import Nearest
from quantlab.quantizers.piecewise_linear import PiecewiseLinear
from quantlab.quantizers.stochastic_rounding import StochasticRounding
from quantlab.quantizers.unbounded.grid import NearestOnGrid
from quantlab.recipe import Averaging, WeightGroup
from quantlab.scales.absolute_mean import AbsoluteMean
from quantlab.scales.learned_step import LearnedStep
from quantlab.scales.ternary_weight import TernaryWeight
from quantlab.schedules import Linear
from quantlab.update_rules import POST_TRAINING, PROX_CONNECT, PROX_QUANT
from tests.quantlab.recipes import AUGMENTED_DIGITS, quantized

UNEVEN = (-2.0, -0.5, 0.0, 3.0)
MANY = tuple(float(level) for level in range(300))


def optimizer_of(**weights: tuple[Tensor, tuple[float, ...]]) -> LatentOptimizer:
    return LatentOptimizer(
        {
            name: (nn.Parameter(tensor.clone()), Nearest(levels))
            for name, (tensor, levels) in weights.items()
        },
        [],
        make_base=lambda parameters: torch.optim.SGD(parameters, lr=0.1),
        rule=PROX_CONNECT,
        sharpness=lambda step: 0.0,
    )


def moved(optimizer: LatentOptimizer, *latents: Tensor) -> LatentOptimizer:
    views = [view for group in optimizer.groups for view in group.views(group.latent)]
    for view, latent in zip(views, latents, strict=True):
        view.copy_(latent)
    optimizer.refresh()
    return optimizer


def by_hand(levels: tuple[float, ...], before: Tensor, after: Tensor) -> list[float | None]:
    """For each weight, how far it is from a middle, in widths of the gap; None without a flip."""
    of = np.array(levels)
    middles, widths = (of[1:] + of[:-1]) / 2, np.diff(of)
    found: list[float | None] = []
    for old, new in zip(before.flatten().tolist(), after.flatten().tolist(), strict=True):
        same = (old >= middles).sum() == (new >= middles).sum()
        place = np.abs(new - middles).argmin()
        found.append(None if same else abs(new - middles[place]) / widths[place])
    return found


@pytest.mark.parametrize("levels", [BINARY, TERNARY, QUATERNARY, UNEVEN, MANY])
def test_they_are_counted_as_by_hand(levels: tuple[float, ...]) -> None:
    """Two tensors of one buffer, and one of another set."""
    torch.manual_seed(0)
    span = 1.5 * max(levels)
    first = [span * torch.randn(shape, dtype=torch.float64) for shape in [(30, 5), (400,), (40, 2)]]
    then = [
        tensor + 0.5 * span * torch.randn_like(tensor) * (torch.rand_like(tensor) < 0.6)
        for tensor in first
    ]
    sets = [levels, levels, BINARY]
    optimizer = optimizer_of(
        **{name: (tensor, of) for name, tensor, of in zip("abc", first, sets, strict=True)}
    )
    known = levels_of(optimizer)
    assert known[0].dtype == (torch.int32 if len(levels) > 256 else torch.uint8)
    assert flips_since(known, optimizer).rate == 0
    found = flips_since(known, moved(optimizer, *then))
    each = [by_hand(*one) for one in zip(sets, first, then, strict=True)]
    shares = [sum(one is not None for one in tensor) / len(tensor) for tensor in each]
    distances = sorted(one for tensor in each for one in tensor if one is not None)
    assert 0 < min(shares) < max(shares) < 1
    assert found.rate == len(distances) / sum(map(len, each))
    assert found.median_rate == sorted(shares)[1]
    assert found.distance == pytest.approx(distances[(len(distances) - 1) // 2], abs=1e-14)


def test_a_tie_is_at_the_upper_level_and_a_way_back_is_no_flip() -> None:
    start = torch.tensor([-0.5, 0.2, 0.7, 3.0])
    optimizer = optimizer_of(a=(start, BINARY))
    known = levels_of(optimizer)
    moved(optimizer, torch.tensor([0.0, -0.0, 0.7, 3.0]))
    assert flips_since(known, optimizer) == Flips(0.25, 0.25, 0.0)
    moved(optimizer, torch.tensor([1.0, -1.0, -1.0, 1.0]))
    assert flips_since(known, optimizer) == Flips(0.75, 0.75, 0.5)
    back = flips_since(known, moved(optimizer, start))
    assert (back.rate, back.median_rate) == (0, 0)
    assert math.isnan(back.distance)


def of(quantizer: Any, rule: Any = PROX_CONNECT, **options: Any) -> Recipe:
    quantization = Quantization(rule=rule, quantizer=quantizer, sharpness=Linear(0.05), **options)
    return quantized(quantization=quantization, dataset=AUGMENTED_DIGITS)


def test_levels_that_a_scale_moves_are_no_flips() -> None:
    """Positions in the row count, and distances in the coordinates of the set."""
    torch.manual_seed(1)
    start = 0.1 * torch.randn(3, 40, dtype=torch.float64)
    for scale in (AbsoluteMean(per="channel"), TernaryWeight(per=20), LearnedStep()):
        weight = nn.Parameter(start.clone())
        optimizer = LatentOptimizer(
            {"a": (weight, Nearest(TERNARY))},
            [],
            make_base=lambda parameters: torch.optim.SGD(parameters, lr=0.1),
            rule=PROX_CONNECT,
            sharpness=lambda step: 0.0,
            scales={"a": scale},
        )
        known, before = levels_of(optimizer), weight.detach().clone()
        if scale.num_learned(TERNARY) == 0:
            moved(optimizer, 1.7 * start)
            assert not torch.isin(weight.abs().max(), before)
            assert flips_since(known, optimizer).rate == 0
        then = start + 0.07 * torch.randn_like(start)
        found = flips_since(known, moved(optimizer, then))
        levels = optimizer.levels()["a"]
        now = torch.searchsorted(levels, weight.detach().reshape(len(levels), -1))
        assert torch.equal(levels.gather(1, now), weight.detach().reshape(len(levels), -1))
        flipped = now.flatten() != known[0]
        assert 0.1 < found.rate == float(flipped.double().mean())
        here = optimizer.groups[0].map_at(then.flatten())
        distances = (here.unit(then.flatten())[flipped].abs() - 0.5).abs()
        assert found.distance == pytest.approx(float(distances.median()), abs=1e-12)


def test_weights_on_an_unbounded_grid_flip_whenever_their_level_changes() -> None:
    grid, start = NearestOnGrid(resolution=0.1), torch.linspace(-90, 90, 61, dtype=torch.float64)
    optimizer = LatentOptimizer(
        {"a": (nn.Parameter(start.clone()), grid)},
        [],
        make_base=lambda parameters: torch.optim.SGD(parameters, lr=0.1),
        rule=PROX_CONNECT,
        sharpness=lambda step: 0.0,
    )
    known = levels_of(optimizer)
    found = flips_since(known, moved(optimizer, start + 0.03))
    assert found.rate == found.median_rate == 0
    then = torch.where(torch.arange(61) % 3 == 0, start + 0.07, start)
    found = flips_since(known, moved(optimizer, then))
    assert found.rate == 21 / 61
    assert found.distance == pytest.approx(0.2, abs=1e-9)


RECIPES = {
    "PC": of(PiecewiseLinear()),
    "PQ, stochastic rounding": of(StochasticRounding(), PROX_QUANT),
    "post-training": of(PiecewiseLinear(QUATERNARY), POST_TRAINING),
    "lifted": of(Softmax()),
    "averaged, groups": of(
        Nearest(BINARY),
        averaging=Averaging(start_epoch=1),
        groups=(
            WeightGroup(layers=("Linear",), quantizer=PiecewiseLinear(), sharpness=Linear(0.1)),
        ),
    ),
    "best epoch": replace(of(PiecewiseLinear(BINARY)), select="best"),
}
LAYERS = ("conv1", "conv2", "conv3", "linear")


def hard_weights(run: TrainingRun) -> list[Tensor]:
    run.begin_epoch()
    with run.weights_at(Point.HARD):
        return [run.model.get_parameter(f"{name}.weight").detach().clone() for name in LAYERS]


def trained(run: TrainingRun) -> Iterator[tuple[EpochRecord, list[Tensor], list[Tensor]]]:
    """Records, with the hard weights before the epoch and after it."""
    before = hard_weights(run)
    for record in run:
        with run.weights_at(Point.HARD):
            weights = [run.model.get_parameter(f"{name}.weight") for name in LAYERS]
            yield record, before, [weight.detach().clone() for weight in weights]
        if not run.is_trained:
            before = hard_weights(run)


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_records_have_those_of_the_network(recipe: Recipe) -> None:
    """Of the weights that the network would have if it were finished now."""
    stages = []
    for record, before, after in trained(TrainingRun(recipe)):
        stages.append(record.stage)
        changed = [(one != other).double() for one, other in zip(before, after, strict=True)]
        share = torch.cat([one.flatten() for one in changed]).mean()
        assert record.flip_rate == pytest.approx(float(share), abs=1e-12)
        shares = [float(one.mean()) for one in changed]
        assert record.flip_rate_median == pytest.approx(median(shares), abs=1e-12)
        assert (record.flip_rate > 0) == (record.stage is Stage.QUANTIZE)
        assert math.isnan(record.flip_distance) == (record.flip_rate == 0)
    assert stages == [Stage.QUANTIZE] * 3 + [Stage.BATCHNORM] * 2


def test_nothing_flips_in_full_precision() -> None:
    (record,) = TrainingRun(quantized(quantization=None, epochs=1, batchnorm_epochs=0))
    assert (record.flip_rate, record.flip_rate_median) == (0, 0)


def test_members_of_a_pack_have_their_own() -> None:
    names = ("PC", "PQ, stochastic rounding", "post-training", "best epoch")
    recipes = [replace(RECIPES[name], seed=seed) for seed, name in enumerate(names)]
    together: list[list[EpochRecord]] = [[] for _ in recipes]
    for event in PackedRun(recipes):
        assert event.record is not None
        together[event.member].append(event.record)
    for recipe, records in zip(recipes, together, strict=True):
        for own, other in zip(records, TrainingRun(recipe), strict=True):
            assert own.flip_rate == pytest.approx(other.flip_rate, abs=2e-3)  # float32
            assert own.flip_distance == pytest.approx(other.flip_distance, rel=0.05, nan_ok=True)


def test_a_checkpoint_of_an_earlier_release_does_not_know_the_levels() -> None:
    """The records of its epoch lack the flips, and nothing else; later ones have them again."""
    recipe = RECIPES["PC"]
    whole = [asdict(record) for record in TrainingRun(recipe)]
    run = TrainingRun(recipe)
    steps = run.train(pause_steps=4)  # an epoch has 7 steps
    assert [next(steps) is None for _ in range(3)] == [True, False, True]
    state = run.state_dict()
    assert {levels.dtype for levels in state["epoch_in_progress"]["first_levels"]} == {torch.uint8}
    del state["epoch_in_progress"]["first_levels"]
    resumed = TrainingRun(recipe)
    resumed.load_state_dict(state)
    records = [asdict(record) for record in resumed]
    names = ("flip_rate", "flip_rate_median", "flip_distance")
    assert all(math.isnan(records[0][name]) for name in names)
    for own, other in zip(records, whole[1:], strict=True):
        unlike = {name for name, value in own.items() if value != other[name]}
        assert unlike - {"seconds", "flip_distance"} <= (set(names) if own is records[0] else set())
