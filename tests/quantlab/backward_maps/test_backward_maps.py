"""Backward maps keep their contract, and those that do not are refused with one line."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor

from quantlab import (
    ConfigurationError,
    Quantization,
    Quantizer,
    Recipe,
    TrainingRun,
    override,
)
from quantlab.backward_maps import (
    BackwardMap,
    BiReal,
    ClippedIdentity,
    Factor,
    Jacobian,
    ReSTE,
    SignSwishDerivative,
    SoftmaxShortcut,
    StraightThrough,
)
from quantlab.backward_maps.contract import require_backward_contract
from quantlab.mirror_maps.shifted_tanh import ShiftedTanh
from quantlab.mirror_maps.softmax import Softmax
from quantlab.quantization_sets import BINARY, TERNARY
from quantlab.quantizers.mixture import Averaged, RandomChoice
from quantlab.quantizers.nearest import Nearest
from quantlab.quantizers.piecewise_linear import PiecewiseLinear
from quantlab.quantizers.sign_swish import SignSwish
from quantlab.quantizers.tanh import Tanh
from quantlab.recipe import WeightGroup
from quantlab.schedules import Linear
from quantlab.update_rules import PROX_CONNECT
from tests.quantlab.recipes import quantized

Apply = Callable[[Tensor, Tensor, Any], Any]


@dataclass(frozen=True)
class Mine(BackwardMap):
    """A map of a test."""

    map: Apply = lambda gradient, latent, sharpness: gradient

    def apply(
        self, gradient: Tensor, latent: Tensor, sharpness: Any, quantizer: Quantizer
    ) -> Tensor:
        result: Tensor = self.map(gradient, latent, sharpness)
        return result


def fails(gradient: Tensor, latent: Tensor, sharpness: Any) -> Tensor:
    raise KeyError("missing")


FAULTS: dict[str, tuple[Apply, str]] = {
    "another shape": (lambda g, z, s: g[:1], r"returned shape \(1,\)"),
    "nothing": (lambda g, z, s: None, "returned None"),
    "infinite": (lambda g, z, s: g / z.abs(), "must return finite numbers"),
    "another type": (lambda g, z, s: g.double(), r"returned torch\.float64"),
    "changes the latents": (lambda g, z, s: g * z.clamp_(-1, 1), "changed its argument"),
    "changes the gradient": (lambda g, z, s: g.mul_(z), "changed its argument"),
    "random": (lambda g, z, s: g * torch.rand_like(z), "must be pure"),
    "raises": (fails, "raised KeyError"),
    "of a whole row": (lambda g, z, s: g * len(g), "packs"),
    "of a whole pack": (lambda g, z, s: g * z.abs().sum() / z.shape[-1], "packs"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faulty_maps_are_refused(fault: str) -> None:
    apply, says = FAULTS[fault]
    with pytest.raises(ConfigurationError, match=rf"Mine\.apply at sharpness 0.*{says}") as raised:
        require_backward_contract(Mine(apply), PiecewiseLinear())
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("sharpness", [0.0, 0.3, 1.0, 1e6, 1e35, 1e39])
@pytest.mark.parametrize(
    ("backward", "quantizer"),
    [
        (StraightThrough(), Softmax(TERNARY)),
        (Jacobian(), Softmax(TERNARY)),
        (SoftmaxShortcut(), Softmax(TERNARY)),
        (Jacobian(), ShiftedTanh(TERNARY)),
        (Jacobian(), SignSwish()),
        (ClippedIdentity(), Nearest(BINARY)),
        (SignSwishDerivative(), Nearest(BINARY)),
        (SignSwishDerivative(5.0), Nearest(BINARY)),
        (BiReal(), Nearest(BINARY)),
        (ReSTE(), Nearest(BINARY)),
    ],
    ids=repr,
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
def test_the_packages_maps_keep_the_contract_at_any_sharpness(
    backward: BackwardMap, quantizer: Quantizer, sharpness: float, dtype: torch.dtype
) -> None:
    """A staircase without a cap may exceed the largest number of the latents."""
    if isinstance(backward, SoftmaxShortcut):  # beta (I - u u^T) q g itself overflows
        sharpness = min(sharpness, 1e35)
    if dtype is torch.float32:
        require_backward_contract(backward, quantizer, (sharpness,))
    latent = quantizer.lift(torch.tensor([-2.0, -0.5, 0.0, 0.5, 1.0], dtype=dtype))
    column = torch.tensor(sharpness, dtype=torch.float64).to(dtype)
    for value in (sharpness, column):
        assert not quantizer.weights(latent, value).isnan().any()
        gradient = torch.tensor([0.3, -0.1, 0.2, 0.0, 0.5], dtype=dtype)
        assert not backward.apply(gradient, latent, value, quantizer).isnan().any()


def test_a_map_of_ones_own_receives_the_sharpness_with_any_quantizer() -> None:
    """`Nearest` is not annealed, but the backward map may be."""
    met = []

    @dataclass(frozen=True)
    class Watching(Factor):
        def factor(self, latent: Tensor, sharpness: Any) -> Tensor:
            met.append(sharpness)
            return torch.ones_like(latent)

    recipe = quantized()
    assert recipe.quantization is not None
    quantization = replace(
        recipe.quantization, quantizer=Nearest(), backward=Watching(), sharpness=Linear(0.25)
    )
    list(TrainingRun(replace(recipe, quantization=quantization, epochs=1, batchnorm_epochs=0)))
    assert met[0] == 0.25
    assert met[-1] > 0.3


def test_no_training_begins_with_a_faulty_map() -> None:
    def recipe(backward: BackwardMap, quantizer: Quantizer) -> Recipe:
        return quantized(
            quantization=Quantization(rule=PROX_CONNECT, quantizer=quantizer, backward=backward)
        )

    with pytest.raises(ConfigurationError, match="must be pure"):
        TrainingRun(recipe(Mine(FAULTS["random"][0]), Nearest()))
    with pytest.raises(ConfigurationError, match=r"PiecewiseLinear\.pullback.*StraightThrough"):
        TrainingRun(recipe(Jacobian(), PiecewiseLinear()))
    with pytest.raises(ConfigurationError, match=r"must not be random.* but RandomChoice is"):
        recipe(Jacobian(), RandomChoice())


@pytest.mark.parametrize("sharpness", [0.5, 2.0])
def test_the_derivative_of_a_mixture_is_that_of_all_its_members(sharpness: float) -> None:
    latent = torch.linspace(-1.7, 1.6, 37, dtype=torch.float64)
    mixture = Averaged(TERNARY, (ShiftedTanh(), ShiftedTanh(beta=3.0)), (0.3, 0.7))
    found = mixture.pullback(torch.ones_like(latent), latent, sharpness)
    step = 1e-5
    rise = mixture.prox(latent + step, sharpness) - mixture.prox(latent - step, sharpness)
    torch.testing.assert_close(found, rise / (2 * step), rtol=1e-6, atol=1e-8)
    # A member that autograd cannot see would be left out of the sum.
    with pytest.raises(ConfigurationError, match=r"Tanh\.pullback"):
        Averaged(TERNARY, (ShiftedTanh(), Tanh())).pullback(latent, latent, sharpness)


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"quantizer": ShiftedTanh(BINARY)}, "ShiftedTanh"),
        ({"quantizer": Softmax(TERNARY), "backward": Jacobian()}, "Softmax"),
        ({"quantizer": SignSwish()}, "SignSwish"),
        ({"quantizer": Averaged(BINARY, (SignSwish(), ShiftedTanh(BINARY)))}, "Averaged"),
        ({"quantizer": Nearest(BINARY), "backward": SignSwishDerivative()}, "SignSwishDerivative"),
        (
            {
                "quantizer": Nearest(),
                "groups": (WeightGroup(layers=("linear",), quantizer=Softmax()),),
            },
            "Softmax",
        ),
    ],
    ids=repr,
)
def test_a_steepness_must_be_set(options: dict[str, Any], name: str) -> None:
    """With the default sharpness 0, the map or the gradient would be 0 everywhere."""
    quantization = Quantization(rule=PROX_CONNECT, **options)
    recipe = quantized(quantization=quantization)
    with pytest.raises(ConfigurationError, match=rf"is 0 at all steps, where {name} has one"):
        TrainingRun(recipe)
    TrainingRun(override(recipe, "quantization.sharpness", Linear(1)))
    with pytest.raises(ConfigurationError, match="is 0 at all steps"):
        TrainingRun(override(recipe, "quantization.sharpness", Linear(0)))
    latent = torch.tensor([-2.0, -0.6, 0.6, 2.0])
    for part in (quantization.quantizer, *(group.quantizer for group in quantization.groups)):
        image = part.weights(part.lift(latent), 0.0)
        assert (len(image.unique()) == 1) == part.vanishes_at_zero
    backward = quantization.backward
    if isinstance(backward, SignSwishDerivative):
        assert not backward.apply(latent, latent, 0.0, quantization.quantizer).any()


@pytest.mark.parametrize(
    "options",
    [
        {"quantizer": ShiftedTanh(BINARY, beta=1.0)},
        {"quantizer": Averaged(BINARY, (SignSwish(), Nearest(BINARY)))},
        {"quantizer": Nearest(BINARY), "backward": SignSwishDerivative(5.0)},
        {"quantizer": Nearest(BINARY), "backward": ReSTE()},
    ],
    ids=repr,
)
def test_other_maps_need_no_sharpness(options: dict[str, Any]) -> None:
    TrainingRun(quantized(quantization=Quantization(rule=PROX_CONNECT, **options)))


@pytest.mark.parametrize(
    ("field", "value", "allowed"),
    [
        ("pull", -0.1, "a number from 0 to 1, a Schedule, or None"),
        ("pull", 1.5, "a number from 0 to 1"),
        ("pull", True, "a number from 0 to 1, a Schedule, or None"),
        ("step_scale", -1, "a number >= 0, a Schedule, or None"),
        ("step_scale", float("nan"), "a number >= 0, a Schedule, or None"),
        ("step_scale", "2", "a number >= 0, a Schedule, or None"),
    ],
)
def test_numbers_that_are_not_allowed_are_named(field: str, value: object, allowed: str) -> None:
    with pytest.raises(
        ConfigurationError, match=rf"^Quantization\.{field} = .*: must be {allowed}"
    ):
        Quantization(rule=PROX_CONNECT, quantizer=Nearest(), **{field: value})  # type: ignore[arg-type]
