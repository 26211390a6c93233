"""Recipes: validation, overrides, and the fingerprint."""

import json
import re
import subprocess
import sys
from dataclasses import dataclass, field, make_dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import TensorDataset

from quantlab import (
    Averaging,
    ConfigurationError,
    OptimizerSpec,
    Quantization,
    Recipe,
    WeightGroup,
    canonical_json,
    configuration_id,
    fingerprint,
    flatten,
    override,
)
from quantlab.canonical import canonical
from quantlab.models.resnet import ResNet
from quantlab.quantization_sets import BINARY
from quantlab.quantizers.nearest import Nearest
from quantlab.schedules import Constant, Cosine, Linear, Polynomial, Product, Ramp, Sequential
from quantlab.update_rules import PROX_CONNECT, PROX_QUANT, Point, UpdateRule
from tests.quantlab.recipes import SGD, quantized, small_recipe


def test_equal_recipes_have_equal_fingerprints() -> None:
    assert fingerprint(quantized()) == fingerprint(quantized())
    whole = override(quantized(), "quantization.quantizer.levels", (-1, 0, 1))
    assert fingerprint(whole) == fingerprint(quantized())
    assert fingerprint(quantized(seed=1)) != fingerprint(quantized())
    assert configuration_id(quantized(seed=1)) == configuration_id(quantized())
    assert configuration_id(quantized()) != fingerprint(quantized())


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("epochs", 4),
        ("batch_size", 33),
        ("model.width", 5),
        ("dataset.split_seed", 1),
        ("optimizer.options.momentum", 0.8),
        ("optimizer.algorithm", torch.optim.RMSprop),
        ("quantization.rule", PROX_QUANT),
        ("quantization.quantizer", Nearest()),
        ("quantization.quantizer.levels", BINARY),
        ("quantization.quantizer.rho_scale", 0.5),
        ("quantization.sharpness.rho0", 0.051),
        ("quantization.exclude", ("linear",)),
        ("quantization.latent_bound", 1.0),
    ],
)
def test_every_choice_is_in_the_fingerprint(path: str, value: object) -> None:
    before = quantized()
    copy = quantized()
    changed = override(before, path, value)
    assert fingerprint(changed) != fingerprint(before)
    assert before == copy
    json.loads(canonical_json(changed))


@dataclass(frozen=True)
class Before:
    width: int = 1


Before.__canonical_name__ = "Before"  # type: ignore[attr-defined]


def test_a_field_added_with_a_default_keeps_identities() -> None:
    after = make_dataclass(
        "Before",
        [("width", int, field(default=1)), ("depth", int, field(default=2))],
        frozen=True,
        namespace={"__module__": __name__, "__canonical_name__": "Before"},
    )
    without, having = canonical(Before(3), defaults=False), canonical(after(3), defaults=False)
    assert without == having == {"type": "Before", "width": 3}
    assert canonical(after(3, 4), defaults=False) != having
    assert canonical(after(3))["depth"] == 2


def test_the_fingerprint_is_the_same_in_another_process() -> None:
    code = (
        "from tests.quantlab.recipes import quantized; from quantlab import fingerprint; "
        "print(fingerprint(quantized()))"
    )
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert other.stdout.strip() == fingerprint(quantized())


def test_flatten_gives_one_plain_value_a_leaf() -> None:
    flat = flatten(quantized())
    assert flat["quantization.sharpness"] == "Linear"
    assert flat["quantization.sharpness.rho0"] == 0.05
    assert flat["quantization.quantizer.levels"] == "-1, 0, 1"
    assert flat["quantization.rule.gradient_at"] == "proximal"
    assert flat["optimizer.options.momentum"] == 0.9
    assert flatten(small_recipe())["quantization"] is None
    assert all(isinstance(v, str | int | float | bool | None) for v in flat.values())


def test_override_names_what_is_wrong() -> None:
    with pytest.raises(ConfigurationError, match=r"no field 'rho' .*'rho0'.*; its fields are rho0"):
        override(quantized(), "quantization.sharpness.rho", 0.1)
    with pytest.raises(ConfigurationError, match="'quantisation'"):
        override(quantized(), "quantisation.rule", PROX_CONNECT)
    with pytest.raises(ConfigurationError, match="None has no field 'rule'"):
        override(small_recipe(), "quantization.rule", PROX_CONNECT)


@dataclass(frozen=True)
class NotAModel:
    width: int = 1


WARM_AND_SHORT = Sequential((Ramp(0.1, start=0, end=1), Cosine(0.1, epochs=1)), milestones=(1,))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 0}, r"Recipe\.epochs = 0: must be a whole number >= 1"),
        ({"epochs": 1.5}, r"Recipe\.epochs = 1\.5"),
        ({"batch_size": 0}, r"Recipe\.batch_size = 0"),
        ({"seed": -1}, r"Recipe\.seed = -1"),
        ({"batchnorm_epochs": 2}, r"Recipe\.batchnorm_epochs = 2: must be 0 if"),
        ({"model": NotAModel()}, r"Recipe\.model = .*must be .* ModelSpec"),
        ({"quantization": PROX_CONNECT}, r"Recipe\.quantization = .*must be .* Quantization"),
        (
            {"optimizer": OptimizerSpec(learning_rate=Cosine(0.1, epochs=2))},
            r"Cosine\.epochs = 2: must be at least 3, the epochs of the recipe over both stages",
        ),
        ({"optimizer": OptimizerSpec(learning_rate=Polynomial(0.1, 2))}, r"Polynomial\.epochs = 2"),
        (
            {"optimizer": OptimizerSpec(learning_rate=WARM_AND_SHORT)},
            r"Cosine\.epochs = 1: must be at least 2, .* without the 1 epochs before it",
        ),
    ],
)
def test_bad_recipes_are_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        small_recipe(**changes)


def network(num_classes: int) -> torch.nn.Module:
    return torch.nn.Linear(64, num_classes)


@pytest.mark.parametrize(
    ("field", "value", "suggestion"),
    [
        ("model", torch.nn.Linear, "AnyModule(Linear), with a mapping of arguments as"),
        ("model", network, "AnyModule(network), with a mapping of arguments as"),
        ("model", torch.nn.Linear(2, 2), "AnyModule(Linear, {'width': 16}) with the class"),
        ("model", "mine:network", "AnyModule('mine:network'), or"),
        ("model", "resnet18", "TimmModel('resnet18'), or AnyModule('module:name') for"),
        ("model", lambda: None, "ResNet(depth=20), or AnyModule(MyNetwork) for"),
        ("model", ResNet, "ResNet(...)"),
        ("dataset", TensorDataset(torch.zeros(1)), "one of a subclass of TorchDataset, whose"),
        ("dataset", TensorDataset, "one of a subclass of TorchDataset, whose"),
        ("dataset", (np.zeros(2), np.zeros(2)), "Arrays(inputs='data.npz:x', targets="),
        ("dataset", "images", "ImageFolder(folder='images', ...) for folders of images, or ByteT"),
        ("dataset", 3, "Digits()"),
        ("optimizer", torch.optim.Adam, "OptimizerSpec(algorithm=Adam, learning_rate=0.1)"),
        ("optimizer", 0.1, "OptimizerSpec(algorithm=torch.optim.SGD, learning_rate=0.1)"),
        ("quantization", Nearest(), "Quantization(rule=PROX_CONNECT, quantizer=Nearest(...), sh"),
        ("quantization", PROX_CONNECT, "Quantization(rule=PROX_CONNECT, quantizer=PiecewiseL"),
        ("task", torch.nn.MSELoss(), "Classification() or Regression(), or one of a subclass"),
    ],
)
def test_the_message_says_how_a_value_is_given(field: str, value: Any, suggestion: str) -> None:
    begin = rf"^Recipe\.{field} = .*: must be an instance of \w+, such as "
    with pytest.raises(ConfigurationError, match=begin + re.escape(suggestion)):
        small_recipe(**{field: value})


def test_a_number_is_a_constant_schedule() -> None:
    def recipe(rate: Any, sharpness: Any, weight: Any) -> Recipe:
        quantization = Quantization(
            rule=PROX_CONNECT,
            quantizer=Nearest(),
            sharpness=sharpness,
            averaging=Averaging(weight=weight),
            groups=(WeightGroup(layers=("Linear",), quantizer=Nearest(), sharpness=sharpness),),
        )
        optimizer = OptimizerSpec(learning_rate=rate)
        return small_recipe(optimizer=optimizer, quantization=quantization)

    written = recipe(Constant(0.1), Constant(2.0), Constant(1.0))
    short = recipe(np.float32(0.1), 2, 1.0)
    assert short == written
    assert fingerprint(short) == fingerprint(written)
    assert override(written, "optimizer.learning_rate", 0.1) == written
    parts: tuple[Any, Any] = (0.5, Linear(1))
    assert Product(parts).factors == Sequential(parts, (1,)).schedules == (Constant(0.5), Linear(1))


def test_bad_parts_are_named() -> None:
    with pytest.raises(
        ConfigurationError, match=r"must be keyword arguments that SGD accepts.*momentun"
    ):
        OptimizerSpec(learning_rate=Constant(0.1), options={"momentun": 0.9})
    with pytest.raises(ConfigurationError, match=r"OptimizerSpec\.algorithm"):
        OptimizerSpec(algorithm=dict, learning_rate=Constant(0.1))  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match=r"OptimizerSpec\.learning_rate = -0\.1"):
        OptimizerSpec(learning_rate=-0.1)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match=r"Quantization\.latent_bound = -1"):
        Quantization(rule=PROX_CONNECT, quantizer=Nearest(), latent_bound=-1)
    with pytest.raises(ConfigurationError, match=r"UpdateRule\.gradient_at"):
        UpdateRule(gradient_at=Point.HARD, update_from=Point.LATENT)
    assert SGD.build([torch.nn.Parameter(torch.zeros(1))]).param_groups[0]["lr"] == 0.05
    assert Linear(0).rho0 == 0
    for path, value in (("model.width", "16"), ("model.width", "a")):
        with pytest.raises(ConfigurationError, match=f"ConvNet.width = '{value}': must be a whole"):
            override(quantized(), path, value)
    with pytest.raises(ConfigurationError, match=r"exclude = 'conv1': must be a sequence"):
        Quantization(rule=PROX_CONNECT, quantizer=Nearest(), exclude="conv1")  # type: ignore[arg-type]
    assert Quantization(rule=PROX_CONNECT, quantizer=Nearest(), exclude=["a"]).exclude == ("a",)  # type: ignore[arg-type]
