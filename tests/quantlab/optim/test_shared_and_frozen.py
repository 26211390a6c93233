"""Shared weights, frozen weights, and weights outside of convolution and linear layers."""

from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from quantlab import (
    ConfigurationError,
    OptimizerSpec,
    Quantization,
    Recipe,
    TrainingRun,
    WeightGroup,
)
from quantlab.models import ModelSpec
from quantlab.models.learned_scales import LearnedScales
from quantlab.models.weights import full_precision_weights, group_of_weights, quantized_weights
from quantlab.optim.latent_optimizer import LatentOptimizer
from quantlab.packs import PackedRun
from quantlab.quantization_sets import BINARY, QUATERNARY
from quantlab.quantizers.nearest import Nearest
from quantlab.quantizers.piecewise_linear import PiecewiseLinear
from quantlab.schedules import Constant, Linear
from quantlab.update_rules import PROX_CONNECT
from sweeps.planning.parameter_notes import full_precision_note, quantized_note
from tests.quantlab.recipes import ADAM, SGD, SMALL_DIGITS


class _Twice(nn.Module):
    """A block of a layer that is used twice; under two names, or under one."""

    def __init__(self, *, num_classes: int, two_names: bool, frozen: bool) -> None:
        super().__init__()
        self.first = nn.Linear(64, 64, bias=False)
        again = nn.Linear(64, 64, bias=False)
        self.last = nn.Linear(64, num_classes)
        self.norms = nn.ModuleList([nn.BatchNorm1d(64), nn.BatchNorm1d(64)])
        if two_names:
            again.weight = self.first.weight
            self.again = again
        else:
            object.__setattr__(self, "again", self.first)  # no second name
        self.first.weight.requires_grad_(not frozen)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norms[0](self.first(x.flatten(1))).relu()
        logits: Tensor = self.last(self.norms[1](self.again(x)).relu())
        return logits


@dataclass(frozen=True)
class Twice(ModelSpec):
    """See `_Twice`."""

    two_names: bool = True
    frozen: bool = False

    def build(self, *, num_classes: int, num_channels: int) -> nn.Module:
        return _Twice(num_classes=num_classes, two_names=self.two_names, frozen=self.frozen)


def recipe(model: ModelSpec, optimizer: OptimizerSpec = SGD, **options: Any) -> Recipe:
    quantization = Quantization(
        rule=PROX_CONNECT, quantizer=PiecewiseLinear(QUATERNARY), sharpness=Linear(0.1), **options
    )
    return Recipe(
        model=model,
        dataset=SMALL_DIGITS,
        optimizer=optimizer,
        quantization=quantization,
        epochs=2,
        batchnorm_epochs=1,
        batch_size=40,
    )


ADAMAX = OptimizerSpec(algorithm=torch.optim.Adamax, learning_rate=Constant(0.01))


@pytest.mark.parametrize("optimizer", [SGD, ADAM, ADAMAX], ids=["SGD", "Adam", "Adamax"])
def test_a_shared_weight_is_a_layer_that_is_used_twice(optimizer: OptimizerSpec) -> None:
    """Adamax is given its tensors one by one, the others as one flat one."""
    runs = [TrainingRun(recipe(Twice(two_names), optimizer)) for two_names in (True, False)]
    for one, other in zip(*runs, strict=True):
        assert one.train_loss == other.train_loss
        assert one.quantization_gap == other.quantization_gap
    shared, used_twice = (run.final_weights() for run in runs)
    assert shared["again.weight"].equal(shared["first.weight"])
    assert shared["first.weight"].equal(used_twice["first.weight"])
    assert runs[0].outcome() == runs[1].outcome()


def test_a_shared_weight_counts_once() -> None:
    run = TrainingRun(recipe(Twice()))
    assert sum(group.latent.numel() for group in run.optimizer.groups) == 64 * 64 + 640


def test_a_shared_weight_in_a_pack() -> None:
    recipes = [replace(recipe(Twice()), seed=seed) for seed in range(2)]
    losses = [event.record.train_loss for event in PackedRun(recipes) if event.record is not None]
    alone = [[record.train_loss for record in TrainingRun(each)] for each in recipes]
    assert losses == pytest.approx([loss for epoch in zip(*alone, strict=True) for loss in epoch])


def test_layers_that_share_a_weight_are_treated_alike() -> None:
    model = Twice().build(num_classes=10, num_channels=1)
    assert list(quantized_weights(model)) == ["first.weight", "last.weight"]
    assert list(quantized_weights(model, ["first", "again"])) == ["last.weight"]
    assert group_of_weights(model, (), [["first", "again"], ["last"]]) == {
        "first.weight": 0,
        "last.weight": 1,
    }
    with pytest.raises(ConfigurationError, match=r"again shares its weight with first, .* both or"):
        quantized_weights(model, ["again"])
    for groups in ([["again"]], [["again"], ["first"]]):
        with pytest.raises(
            ConfigurationError, match=r"first and again share one weight, .* into one group"
        ):
            group_of_weights(model, (), groups)


def test_an_optimizer_takes_a_parameter_once() -> None:
    weight = nn.Parameter(torch.zeros(3))
    for weights, others in (
        ({"a": (weight, Nearest()), "b": (weight, Nearest(BINARY))}, []),
        ({"a": (weight, Nearest())}, [weight]),
    ):
        with pytest.raises(ValueError, match="given more than once"):
            LatentOptimizer(
                weights,
                others,
                make_base=lambda parameters: torch.optim.SGD(parameters, lr=0.1),
                rule=PROX_CONNECT,
                sharpness=lambda step: 0.0,
            )


def test_what_the_model_froze_stays_as_it_is() -> None:
    """Also under weight decay, and in a pack."""
    frozen = recipe(Twice(two_names=False, frozen=True))
    before = TrainingRun(frozen).model.get_parameter("first.weight").detach().clone()
    run = TrainingRun(frozen)
    list(run)
    assert run.final_weights()["first.weight"].equal(before)
    assert set(run.final_weights()["last.weight"].unique().tolist()) <= {
        torch.tensor(level).item() for level in QUATERNARY
    }
    pack = PackedRun([frozen, frozen])
    list(pack)
    assert all(member.final_weights()["first.weight"].equal(before) for member in pack.members)
    assert pack.members[0].outcome().bits == run.outcome().bits
    with pytest.raises(ConfigurationError, match="no layer to quantize that the model has not fro"):
        TrainingRun(recipe(Twice(two_names=False, frozen=True), exclude=("last",)))


def test_scales_are_learned_of_frozen_and_sharing_layers_too() -> None:
    model = LearnedScales(base=Twice(frozen=True)).build(num_classes=10, num_channels=1)
    assert {name for name, _ in model.named_parameters() if "scale" in name} == {
        f"{layer}.scale.factor" for layer in ("first", "again", "last")
    }


class _Rows(nn.Module):
    """Attention over the rows of an image."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.positions = nn.Embedding(8, 8)
        self.mix = nn.MultiheadAttention(8, 2, batch_first=True)
        self.head = nn.Linear(8, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        rows = x.squeeze(1) + self.positions.weight
        logits: Tensor = self.head(self.mix(rows, rows, rows)[0].mean(1))
        return logits


@dataclass(frozen=True)
class Rows(ModelSpec):
    """See `_Rows`."""

    def build(self, *, num_classes: int, num_channels: int) -> nn.Module:
        return _Rows(num_classes)


def test_what_is_no_layer_of_weights_is_quantized_if_it_is_named() -> None:
    model = _Rows(10)
    assert list(full_precision_weights(model)) == ["positions.weight", "mix.in_proj_weight"]
    note = full_precision_note(model, recipe(Rows()).quantization)
    assert note == (
        "256 of 400 weights stay in full precision: not of a convolution or linear layer (name "
        "them in quantization.include to quantize them): positions.weight (64), "
        "mix.in_proj_weight (192)"
    )
    expected = "144 weights are quantized: mix.out_proj.weight (64), head.weight (80)"
    assert quantized_note(model, recipe(Rows()).quantization) == expected
    further = ("*in_proj_weight", "positions.*")
    group = WeightGroup(layers=("MultiheadAttention",), quantizer=PiecewiseLinear(BINARY))
    named = recipe(Rows(), include=further, groups=(group,))
    assert full_precision_note(model, named.quantization) == ""
    assert full_precision_note(model, None) == ""
    run = TrainingRun(named)
    list(run)
    final = run.final_weights()
    assert set(final["mix.in_proj_weight"].unique().tolist()) == {-1.0, 1.0}
    assert len(final["positions.weight"].unique()) <= 4
    assert len(final["mix.in_proj_bias"].unique()) > 4  # of one dimension
    assert run.outcome().bits == pytest.approx((192 + 2 * (64 + 64 + 80)) / (192 + 64 + 64 + 80))
    with pytest.raises(ConfigurationError, match=r"'linear\.weight' matches no further parameter"):
        quantized_weights(model, (), ["linear.weight"])
    with pytest.raises(ConfigurationError, match=r"include = 3: must be a sequence of patterns"):
        recipe(Rows(), include=3)


def test_biases_and_normalization_are_quantized_if_they_are_named() -> None:
    """Every parameter that is learned, as in the mirror-descent paper."""
    named = recipe(Twice(), include=("*.bias", "norms.*.weight"))
    everything = replace(named, batchnorm_epochs=0)
    run = TrainingRun(everything)
    assert full_precision_note(run.model, everything.quantization) == ""
    list(run)
    final = run.final_weights()
    learned = [name for name, _ in run.model.named_parameters()]
    assert learned == ["first.weight", "last.weight", "last.bias"] + [
        f"norms.{place}.{name}" for place in (0, 1) for name in ("weight", "bias")
    ]
    levels = {round(level, 4) for level in QUATERNARY}
    for name in learned:
        assert {round(value, 4) for value in final[name].unique().tolist()} <= levels, name
    # Statistics of two norms are left: 64 means and 64 variances each.
    sizes = 64 * 64 + 640 + 10 + 4 * 64
    assert run.outcome().bits == pytest.approx(2)
    assert run.outcome().network_bits == pytest.approx((2 * sizes + 32 * 256) / (sizes + 256))


def test_a_pattern_that_matches_matrices_leaves_biases_alone() -> None:
    """Recipes of finished trials have such patterns; biases are named by patterns of their own."""
    model = _Rows(10)
    weights = ["mix.out_proj.weight", "head.weight"]
    assert list(quantized_weights(model, (), ["mix.*"])) == [*weights, "mix.in_proj_weight"]
    biases = ["mix.in_proj_bias", "mix.out_proj.bias", "head.bias"]
    assert list(quantized_weights(model, (), ["*bias"])) == [*weights, *biases]
    # It does not matter whether the layer of a bias is excluded.
    found = quantized_weights(model, ["head"], ["head.bias"])
    assert list(found) == ["mix.out_proj.weight", "head.bias"]
    groups = group_of_weights(model, (), [["Linear"]], ["*.bias"])
    assert groups["head.bias"] == groups["head.weight"] == 0
    assert groups["mix.out_proj.bias"] is None


def test_a_weight_that_is_computed_cannot_be_quantized() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.utils.parametrizations.weight_norm(nn.Linear(3, 2)))
    with pytest.raises(
        ConfigurationError, match=r"1\.weight: is computed .* quantization\.exclude"
    ):
        quantized_weights(model)
    assert list(quantized_weights(model, ["1"])) == ["0.weight"]


def test_bits_of_the_network_count_all_that_it_stores() -> None:
    """4096 (once) and 640 weights of 2 bits; a bias, and 64 x 4 numbers of each of two norms."""
    run = TrainingRun(recipe(Twice()))
    list(run)
    outcome = run.outcome()
    full = 10 + 2 * 4 * 64
    assert outcome.bits == 2
    assert outcome.network_bits == pytest.approx((2 * 4736 + 32 * full) / (4736 + full))
    excluded = TrainingRun(recipe(Twice(), exclude=("last",)))
    list(excluded)
    assert excluded.outcome().bits == 2
    assert excluded.outcome().network_bits == pytest.approx(
        (2 * 4096 + 32 * (640 + full)) / (4736 + full)
    )
