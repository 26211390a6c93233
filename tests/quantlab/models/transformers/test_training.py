"""Transformers are trained and exported like all networks."""

from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from torch import nn

from quantlab import ConfigurationError, OptimizerSpec, Quantization, Quantizer, Recipe, TrainingRun
from quantlab.datasets.text.byte_text import ByteText
from quantlab.export import load, save
from quantlab.models import ModelSpec
from quantlab.models.transformers.gpt import GPT
from quantlab.models.transformers.vit import ViT
from quantlab.packs.stacking import choose_stacking
from quantlab.quantization_sets import TERNARY
from quantlab.quantizers.nearest import Nearest
from quantlab.quantizers.piecewise_linear import PiecewiseLinear
from quantlab.scales.absolute_mean import AbsoluteMean
from quantlab.scales.fan_in import FanIn
from quantlab.schedules import Cosine, Linear
from quantlab.tasks.classification import Classification
from quantlab.tasks.dimensions import Dimensions
from quantlab.tasks.language_modelling import LanguageModelling
from quantlab.update_rules import PROX_CONNECT, PROX_QUANT, UpdateRule
from tests.quantlab.packs.test_packs import DoubleDigits, alone, assert_alike, packed

SMALL_GPT = GPT(layers=2, heads=2, width=8, context=8, initial_std=0.2)
SMALL_VIT = ViT(layers=1, heads=2, width=8, patch=4, pooling="class", initial_std=0.2)
TEXT = b"the quick brown fox jumps over the lazy dog. " * 40


@dataclass(frozen=True)
class InDouble(ModelSpec):
    """A network in float64."""

    of: ModelSpec

    def build_for(self, dimensions: Dimensions) -> nn.Module:
        return self.of.build_for(dimensions).double()


@pytest.fixture(autouse=True)
def _text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "fox.txt").write_bytes(TEXT)
    monkeypatch.chdir(tmp_path)


def recipe(
    model: ModelSpec,
    seed: int = 0,
    rule: UpdateRule = PROX_CONNECT,
    quantizer: Quantizer = PiecewiseLinear(TERNARY),  # noqa: B008
    rho0: float = 0.1,
) -> Recipe:
    is_text = "GPT" in repr(model)
    return Recipe(
        model=model,
        dataset=ByteText(path="fox.txt", length=8, validation_images=30, test_images=30)
        if is_text
        else DoubleDigits(train_images=100, validation_images=30, test_images=30),
        optimizer=OptimizerSpec(
            algorithm=torch.optim.AdamW,
            learning_rate=Cosine(0.02, epochs=4, warmup_epochs=1),
            options={"betas": (0.9, 0.95)},
        ),
        quantization=Quantization(
            rule=rule,
            quantizer=quantizer,
            sharpness=Linear(rho0),
            scale=AbsoluteMean(per="channel") if isinstance(quantizer, Nearest) else FanIn(),
            exclude=("head",) if is_text else ("head", "patches"),
        ),
        epochs=3,
        batchnorm_epochs=1,
        batch_size=20,
        seed=seed,
        task=LanguageModelling() if is_text else Classification(),
    )


@pytest.mark.parametrize("model", [SMALL_GPT, InDouble(SMALL_VIT)], ids=["GPT", "ViT"])
def test_an_interrupted_training_goes_on_bit_for_bit(model: ModelSpec) -> None:
    whole = alone(recipe(model))
    first = TrainingRun(recipe(model))
    iterator = first.train(pause_steps=2)
    for _ in range(4):
        next(iterator)
    second = TrainingRun(recipe(model))
    second.load_state_dict(first.state_dict())
    rest = list(second)
    for found, expected in zip(rest, whole.records[-len(rest) :], strict=True):
        assert replace(found, seconds=0.0) == replace(expected, seconds=0.0)
    for name, weight in second.final_weights().items():
        assert torch.equal(weight, whole.weights[name])
    assert whole.records[-1].train_loss < whole.records[0].train_loss
    assert second.outcome() == whole.outcome


@pytest.mark.parametrize("tied", [True, False])
def test_an_exported_gpt_is_bit_for_bit_that_of_the_training(tied: bool, tmp_path: Path) -> None:
    own = recipe(replace(SMALL_GPT, tied=tied), quantizer=Nearest(TERNARY))
    run = TrainingRun(own)
    list(run)
    weights = run.final_weights()
    save(tmp_path / "gpt.safetensors", own, weights, dimensions=run.dimensions)
    network = load(tmp_path / "gpt.safetensors")
    for name, value in network.state_dict().items():
        assert torch.equal(value, weights[name]), name
    symbols = torch.randint(256, (4, 8))
    with torch.no_grad():
        assert torch.equal(network(symbols), run.model.eval()(symbols))
    assert (network.get_parameter("head.weight") is network.get_parameter("symbols.weight")) == tied


def test_an_exported_vit_is_bit_for_bit_that_of_the_training(tmp_path: Path) -> None:
    torch.manual_seed(0)
    dimensions = Dimensions(10, (1, 8, 8))
    own = replace(recipe(SMALL_VIT, quantizer=Nearest(TERNARY)), batchnorm_epochs=0)
    weights = SMALL_VIT.build_for(dimensions).state_dict()
    for name, weight in weights.items():
        if "blocks" in name and weight.dim() == 2:
            means = weight.abs().mean(dim=1, keepdim=True)
            weights[name] = means * (weight / means).round().clamp(-1, 1)
    save(tmp_path / "vit.safetensors", own, weights, dimensions=dimensions)
    network = load(tmp_path / "vit.safetensors")
    for name, value in network.state_dict().items():
        assert torch.equal(value, weights[name]), name
    assert network(torch.rand(2, 1, 8, 8)).shape == (2, 10)


@pytest.mark.parametrize(
    "model",
    [InDouble(SMALL_GPT), InDouble(replace(SMALL_GPT, tied=False)), InDouble(SMALL_VIT)],
    ids=["GPT", "untied", "ViT"],
)
def test_a_pack_trains_each_member_as_alone(model: ModelSpec) -> None:
    members = [
        recipe(model),
        recipe(model, seed=1, rho0=0.02),
        recipe(model, seed=2, rule=PROX_QUANT, rho0=0.001),
    ]
    for found, own in zip(packed(members), members, strict=True):
        assert_alike(found, alone(own), 1e-8)


def test_networks_with_dropout_are_trained_without_packs() -> None:
    dropping = replace(SMALL_GPT, dropout=0.1)
    dimensions = recipe(SMALL_GPT).dataset.dimensions
    assert dimensions is not None
    with pytest.raises(ConfigurationError, match="draws random numbers"):
        choose_stacking(dropping.build_for(dimensions), dimensions.input, 256)
