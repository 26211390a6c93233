"""Quantizers that violate the contract are refused with one line that names the fault."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from quantlab import ConfigurationError, Quantization, Quantizer, Recipe, TrainingRun
from quantlab.mirror_maps.softmax import Softmax
from quantlab.models.mlp import MLP
from quantlab.quantization_sets import BINARY, QUATERNARY, TERNARY
from quantlab.quantizers.contract import require_contract
from quantlab.quantizers.nearest import Nearest
from quantlab.schedules import Linear
from quantlab.update_rules import PROX_CONNECT
from tests.quantlab.quantizers.test_contract import CLASSES, level_sets, on_levels, sharpnesses
from tests.quantlab.recipes import quantized

Prox = Callable[[Tensor, float], Any]
Hard = Callable[[Tensor], Any]


@dataclass(frozen=True)
class Mine(Quantizer):
    """A map of a test."""

    map: Prox = lambda latent, sharpness: latent
    limit: Hard | None = None
    draws: bool = False

    @property
    def random(self) -> bool:
        return self.draws

    def prox(self, latent: Tensor, sharpness: Any) -> Any:
        return self.map(latent, sharpness)

    def hard(self, latent: Tensor) -> Any:
        return super().hard(latent) if self.limit is None else self.limit(latent)


def raises(latent: Tensor, sharpness: float) -> Tensor:
    raise KeyError("missing")


FAULTS: dict[str, tuple[Prox, str]] = {
    "a scalar": (lambda w, s: w.mean(), r"returned shape \(\) for weights of shape"),
    "one entry": (lambda w, s: w[:1], r"returned shape \(1,\)"),
    "another shape": (lambda w, s: w[None], r"returned shape \(1, \d+\)"),
    "a number": (lambda w, s: 0.5, "returned a float; must return a torch.Tensor"),
    "nothing": (lambda w, s: None, "returned None"),
    "an array": (lambda w, s: np.tanh(w.numpy()), r"returned a numpy\.ndarray"),
    "a tuple": (lambda w, s: (w, w), "returned a tuple"),
    "booleans": (lambda w, s: w > 0, r"returned torch\.bool for weights of torch\.float32"),
    "doubles": (lambda w, s: w.double(), r"returned torch\.float64"),
    "complex": (lambda w, s: w.to(torch.complex64), r"returned torch\.complex64"),
    "NaN": (lambda w, s: w * math.nan, "returned nan for the weight .*must return finite numbers"),
    "infinity": (lambda w, s: 1 / w, "returned inf for the weight 0"),
    "in place": (lambda w, s: w.clamp_(-1, 1), "must not work in place"),
    "not monotone": (lambda w, s: torch.sin(5 * w), "must be nondecreasing"),
    "decreasing": (lambda w, s: -w, "must be nondecreasing"),
    "decreasing slowly": (lambda w, s: -0.003 * w, "returned 0.009 .*must be nondecreasing"),
    "random, unsaid": (lambda w, s: w + torch.rand_like(w), "property `random`"),
    "an error": (raises, r"raised KeyError: 'missing' \(.*test_faulty.*, in raises\)"),
}
LIMITS: dict[str, tuple[Hard, str]] = {
    "off the set": (lambda w: w / 2, r"hard returned .*must return one of \(-1\.0, 0\.0, 1\.0\)"),
    "nothing": (lambda w: None, "hard returned None"),
    "one entry": (lambda w: w[:1].sign(), r"hard returned shape \(1,\)"),
    "in place": (lambda w: w.clamp_(-1, 1).sign_(), "hard changed its argument"),
    "decreasing": (lambda w: -w.sign(), "hard returned .*must be nondecreasing"),
    "integers": (lambda w: w.sign().long(), r"hard returned torch\.int64"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faulty_maps_are_refused(fault: str) -> None:
    prox, says = FAULTS[fault]
    with pytest.raises(ConfigurationError, match=rf"Mine\.prox at sharpness 0.*{says}") as raised:
        require_contract(Mine(map=prox))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("fault", LIMITS)
def test_faulty_limits_are_refused(fault: str) -> None:
    hard, says = LIMITS[fault]
    with pytest.raises(ConfigurationError, match=rf"Mine\.{says}"):
        require_contract(Mine(limit=hard))


@pytest.mark.parametrize("span", [1e-3, 2.0, 1e4])
def test_a_fault_is_as_large_as_the_set(span: float) -> None:
    """What is rounding on a wide set is a fault on a narrow one."""
    levels = (-span / 2, -span / 8, span / 2)
    top, nearest = levels[-1], Nearest(levels).hard

    def mine(prox: Prox, limit: Hard | None = None, *, draws: bool = False) -> Mine:
        return Mine(levels=levels, map=prox, limit=limit, draws=draws)

    def ripple(size: float) -> Prox:
        return lambda w, s: w.clamp(-top, top) + size * span * torch.sin(40 * w / span)

    require_contract(mine(ripple(1e-7)))
    with pytest.raises(ConfigurationError, match="must be nondecreasing"):
        require_contract(mine(ripple(1e-3)))
    with pytest.raises(ConfigurationError, match="must be nondecreasing"):  # only above the set
        require_contract(mine(lambda w, s: torch.minimum(w, top - 0.01 * (w - top))))
    with pytest.raises(ConfigurationError, match="must be nondecreasing"):  # only below it
        require_contract(mine(lambda w, s: torch.maximum(w, -top - 0.01 * (w + top))))
    require_contract(mine(lambda w, s: 1e-6 * -w, draws=True))
    with pytest.raises(ConfigurationError, match="a smaller mean"):
        require_contract(mine(lambda w, s: 1e-3 * -w, draws=True))
    require_contract(mine(nearest_of(levels), lambda w: nearest(w) + 1e-7 * span))
    with pytest.raises(ConfigurationError, match=r"hard returned .*must return one of"):
        require_contract(mine(nearest_of(levels), lambda w: nearest(w) + 1e-4 * span))
    for middle in ((levels[0] + levels[1]) / 2, (levels[1] + levels[2]) / 2):
        there = torch.tensor(middle)

        def undecided(w: Tensor, there: Tensor = there) -> Tensor:
            return torch.where(w.isclose(there, rtol=1e-5, atol=0), w, nearest(w))

        with pytest.raises(ConfigurationError, match=r"hard returned .*must return one of"):
            require_contract(mine(nearest_of(levels), undecided))


def nearest_of(levels: tuple[float, ...]) -> Prox:
    return Nearest(levels).prox


def test_a_fault_at_some_sharpness_is_found_there() -> None:
    late = Mine(map=lambda w, s: w if s < 3 else -w)
    require_contract(late, (0.0, 1.0))
    with pytest.raises(ConfigurationError, match=r"at sharpness 4 .*nondecreasing"):
        require_contract(late, (0.0, 1.0, 4.0))


def test_of_random_maps_the_mean_is_held_to_the_contract() -> None:
    def noisy(slope: float) -> Prox:
        return lambda w, s: slope * w + 2 * torch.randn_like(w)

    require_contract(Mine(map=noisy(1.0), draws=True))
    require_contract(Mine(map=noisy(0.0), draws=True))
    with pytest.raises(ConfigurationError, match="a smaller mean for the weight"):
        require_contract(Mine(map=noisy(-1.0), draws=True))
    shifted = Mine(map=lambda w, s: w + torch.randn(()), draws=True)  # one draw for all
    require_contract(shifted)


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
@given(levels=level_sets, sharpness=sharpnesses)
@settings(deadline=None, max_examples=25)
def test_the_packages_quantizers_keep_the_contract(
    cls: type[Quantizer], levels: tuple[float, ...], sharpness: float
) -> None:
    state = torch.get_rng_state()
    require_contract(on_levels(cls, levels), (sharpness,))
    assert torch.equal(torch.get_rng_state(), state)


good_maps = st.sampled_from(
    [
        lambda w, s: w,
        lambda w, s: w.clamp(-1, 1),
        lambda w, s: torch.tanh((1 + s) * w),
        lambda w, s: w.sign(),
        lambda w, s: w + s * w.sign(),
        lambda w, s: torch.zeros_like(w),
    ]
)


@given(
    before=good_maps,
    after=good_maps,
    fault=st.one_of(st.none(), st.sampled_from(sorted(FAULTS))),
    levels=st.sampled_from([BINARY, TERNARY, QUATERNARY]),
)
@settings(deadline=None, max_examples=300)
def test_compositions_are_refused_if_and_only_if_a_part_is_faulty(
    before: Prox, after: Prox, fault: str | None, levels: tuple[float, ...]
) -> None:
    def prox(latent: Tensor, sharpness: float) -> Any:
        image = before(latent, sharpness)
        if fault in ("in place", "not monotone", "infinity"):  # which `before` may hide
            image = latent
        return after(image, sharpness) if fault is None else FAULTS[fault][0](image, sharpness)

    quantizer = Mine(levels=levels, map=prox)
    is_hidden = fault in ("decreasing", "decreasing slowly") and torch.equal(
        before(torch.linspace(-2, 2, 9), 0.1), torch.zeros(9)
    )
    if fault is None or is_hidden:
        require_contract(quantizer)
        return
    with pytest.raises(ConfigurationError, match=r"^Mine\.prox at sharpness [^\n]*$"):
        require_contract(quantizer)


@dataclass(frozen=True)
class Alias(Nearest):
    """The identity, its argument itself."""

    def prox(self, latent: Tensor, sharpness: Any) -> Tensor:
        return latent


@dataclass(frozen=True)
class Copy(Nearest):
    """The identity, a copy."""

    def prox(self, latent: Tensor, sharpness: Any) -> Tensor:
        return latent.clone()


def test_a_map_may_give_its_argument() -> None:
    def trained(quantizer: Quantizer) -> dict[str, Tensor]:
        run = TrainingRun(
            quantized(
                quantization=Quantization(rule=PROX_CONNECT, quantizer=quantizer),
                epochs=1,
                batchnorm_epochs=0,
            )
        )
        list(run)
        return run.final_weights()

    for name, value in trained(Alias()).items():
        assert torch.equal(value, trained(Copy())[name])


def test_a_quantizer_is_tried_where_its_schedule_goes() -> None:
    late = Mine(map=lambda w, s: w if s < 3 else -w)

    def recipe(rho0: float) -> Recipe:
        return quantized(
            quantization=Quantization(rule=PROX_CONNECT, quantizer=late, sharpness=Linear(rho0)),
            model=MLP(hidden=(4,)),
        )

    TrainingRun(recipe(0.7))
    with pytest.raises(ConfigurationError, match=r"at sharpness 3\.\d+ .*nondecreasing"):
        TrainingRun(recipe(0.8))


@dataclass(frozen=True)
class Mean(Nearest):
    """One number for all weights."""

    def prox(self, latent: Tensor, sharpness: Any) -> Tensor:
        return latent.mean()


def test_no_training_begins_with_a_faulty_quantizer() -> None:
    with pytest.raises(ConfigurationError, match=r"Mean\.prox returned shape \(\)"):
        TrainingRun(quantized(quantization=Quantization(rule=PROX_CONNECT, quantizer=Mean())))


@dataclass(frozen=True)
class Lifted(Softmax):
    """Softmax with one method of a test."""

    method: str = ""
    replacement: Any = None

    def __getattribute__(self, name: str) -> Any:
        own = object.__getattribute__(self, name)
        if name in ("method", "replacement") or name != self.method:
            return own
        if name in ("num_latents", "random"):
            return self.replacement
        return lambda *args: self.replacement(own, *args)


def of_first_axis(prox: Prox, latent: Tensor, sharpness: Any) -> Tensor:
    return torch.softmax(latent * sharpness, dim=0)


LIFTED_FAULTS: dict[str, tuple[str, Any, str]] = {
    "half a latent": ("num_latents", 1.5, r"num_latents = 1\.5: must be a whole number"),
    "no latent": ("num_latents", 0, "num_latents = 0: must be a whole number"),
    "random": ("random", True, "random = True: must be False with 3 latents"),
    "another axis": ("prox", of_first_axis, "must use the second to last axis"),
    "no lift": ("lift", lambda lift, w: w, r"lift returned shape \(\d+,\) .*must return shape"),
    "latents last": ("lift", lambda lift, w: lift(w).mT, r"lift returned shape \(\d+, 3\)"),
    "no spread": ("spread", lambda spread, g: g, r"spread returned shape"),
    "half the gradient": ("spread", lambda spread, g: spread(g) / 2, "not the transpose"),
    "a sum": ("collapse", lambda collapse, u: u.sum(dim=0), "collapse for stacked latents"),
}


@pytest.mark.parametrize("fault", LIFTED_FAULTS)
def test_faulty_lifted_maps_are_refused(fault: str) -> None:
    method, replacement, says = LIFTED_FAULTS[fault]
    require_contract(Lifted())
    with pytest.raises(ConfigurationError, match=rf"Lifted\..*{says}") as raised:
        require_contract(Lifted(method=method, replacement=replacement))
    assert "\n" not in str(raised.value)


@dataclass(frozen=True)
class Scaled(Nearest):
    """Weights that are not the image of the map, with one latent each."""

    def collapse(self, proximal: Tensor) -> Tensor:
        return 0.5 * proximal


def test_with_one_latent_the_image_is_the_weight() -> None:
    with pytest.raises(ConfigurationError, match=r"Scaled\.collapse .* because num_latents is 1"):
        require_contract(Scaled())
