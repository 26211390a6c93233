"""Numbers of other libraries in the fields of recipes, and the messages for bad values."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from quantlab import ConfigurationError, OptimizerSpec
from quantlab.backward_maps import Jacobian
from quantlab.canonical import fingerprint
from quantlab.datasets.augmentation import CropFlip
from quantlab.datasets.digits import Digits
from quantlab.models.convnet import ConvNet
from quantlab.models.mlp import MLP
from quantlab.models.resnet import ResNet
from quantlab.plain_values import require_number
from quantlab.quantizers.binary_relax import BinaryRelax
from quantlab.quantizers.growth import Power
from quantlab.quantizers.knots import Half, Knots
from quantlab.quantizers.mixture import Averaged
from quantlab.quantizers.piecewise_linear import PiecewiseLinear
from quantlab.schedules import Constant, Linear, StepDecay
from tests.quantlab.recipes import quantized, small_recipe


@dataclass
class Owner:
    """A dataclass with a number."""

    field: Any


@pytest.mark.parametrize(
    ("value", "allowed", "message"),
    [
        (-1, {}, "Owner.field = -1: must be a finite number >= 0"),
        (True, {}, "Owner.field = True: must be a finite number >= 0"),
        ("1", {}, "Owner.field = '1': must be a finite number >= 0"),
        (None, {}, "Owner.field = None: must be a finite number >= 0"),
        (np.float64("nan"), {}, "Owner.field = nan: must be a finite number >= 0"),
        (math.inf, {"least": -math.inf}, "Owner.field = inf: must be a finite number"),
        (0.0, {"exclusive": True}, "Owner.field = 0.0: must be a finite number > 0"),
        (1, {"least": 1.5}, "Owner.field = 1: must be a finite number >= 1.5"),
        (2, {"most": 1}, "Owner.field = 2: must be a number from 0 to 1"),
    ],
)
def test_bad_numbers_are_named_in_one_form(
    value: Any, allowed: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigurationError) as raised:
        require_number(Owner(value), "field", **allowed)
    assert str(raised.value) == message


def test_numbers_beyond_the_range_of_floats_are_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"must be a finite number >= 0$"):
        require_number(Owner(10**400), "field")


def test_good_numbers_become_numbers_of_python() -> None:
    assert require_number(Owner(0), "field") == 0
    assert require_number(Owner(1), "field", most=1) == 1
    assert require_number(Owner(-3.5), "field", least=-math.inf) == -3.5
    number = require_number(Owner(np.float32(0.1)), "field", exclusive=True)
    assert type(number) is float
    assert number == 0.1


def test_numpys_numbers_are_numbers_in_every_field() -> None:
    i, f = np.int64, np.float32
    pairs: list[tuple[Any, Any]] = [
        (MLP(image_size=i(8), hidden=np.array([4, 4])), MLP(image_size=8, hidden=(4, 4))),
        (ConvNet(width=np.int32(4)), ConvNet(width=4)),
        (ResNet(depth=i(8), width=i(2)), ResNet(depth=8, width=2)),
        (Linear(f(0.1), period=i(3)), Linear(0.1, period=3)),
        (StepDecay(f(0.1), milestones=np.arange(2)), StepDecay(0.1, milestones=(0, 1))),
        (Constant(torch.tensor(0.1)), Constant(0.1)),
        (PiecewiseLinear(rho_scale=f(0.1)), PiecewiseLinear(rho_scale=0.1)),
        (Knots(rho=Power(f(0.3)), halves=(Half(f(1)),)), Knots(rho=Power(0.3))),
        (BinaryRelax(levels=np.array([-1, 0.3], f)), BinaryRelax(levels=(-1, 0.3))),  # type: ignore[arg-type]
        (BinaryRelax(levels=torch.tensor([-1, 0.3])), BinaryRelax(levels=(-1, 0.3))),  # type: ignore[arg-type]
        (PiecewiseLinear(rho_scale=torch.tensor(0.1)), PiecewiseLinear(rho_scale=0.1)),  # type: ignore[arg-type]
        (Averaged(alphas=(f(0.1), f(0.9))), Averaged(alphas=(0.1, 0.9))),
        (Digits(mean=(f(0.3),)), Digits(mean=(0.3,))),
        (CropFlip(padding=i(2)), CropFlip(padding=2)),
        (Digits(train_images=i(9), mean=np.array([0.3])), Digits(train_images=9, mean=(0.3,))),
        (
            quantized(epochs=i(3), seed=np.uint8(2), batch_size=i(4)),
            quantized(epochs=3, seed=2, batch_size=4),
        ),
        (
            OptimizerSpec(learning_rate=Constant(1), options={"momentum": f(0.9)}),
            OptimizerSpec(learning_rate=Constant(1), options={"momentum": 0.9}),
        ),
    ]
    for ours, plain in pairs:
        assert ours == plain
        assert repr(ours) == repr(plain)
    assert fingerprint(small_recipe(model=pairs[0][0])) == fingerprint(
        small_recipe(model=pairs[0][1])
    )


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Digits(train_images=np.float64(3.5)), r"train_images = 3\.5: must be a whole"),
        (lambda: Digits(mean=0.3), r"Digits\.mean = 0\.3: must be finite numbers, one per channel"),
        (lambda: Digits(mean=("a",)), r"Digits\.mean = \('a',\)"),
        (lambda: Digits(std=(0.3, 0.3)), r"std = \(0\.3, 0\.3\): must have as many numbers"),
        (lambda: Digits(split_seed="a"), r"split_seed = 'a'"),
        (
            lambda: Digits(mean=(0.1, 0.2), std=(1, 1)).load(Path()),
            r"mean = \(0\.1, 0\.2\): must have 1 number",
        ),
        (lambda: StepDecay(0.1, milestones=3), r"milestones = \(3,\): must be"),
        (lambda: StepDecay(0.1, milestones="ab"), r"milestones = \('a', 'b'\)"),
        (lambda: PiecewiseLinear(rho_scale="a"), r"rho_scale = 'a': must be a finite number"),
        (lambda: ConvNet(width=0.5), r"ConvNet\.width = 0\.5: must be a whole number >= 1"),
        (lambda: ResNet(depth="20"), r"ResNet\.depth = '20': must be a whole"),
        (lambda: CropFlip(padding=None), r"CropFlip\.padding = None"),
        (
            lambda: OptimizerSpec(learning_rate="0.1"),  # type: ignore[arg-type]
            r"learning_rate = '0\.1': must be a number >= 0 or a schedule, such as Cosine\(0\.1, ",
        ),
        (
            lambda: replace(quantized().quantization, backward=Jacobian),  # type: ignore[type-var]
            r"must be an instance of BackwardMap, such as Jacobian\(\.\.\.\)$",
        ),
    ],
)
def test_values_of_other_kinds_are_named(make: Callable[[], object], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        make()
