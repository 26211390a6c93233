"""Rules that violate the contract of a scale are refused, and all rules of the release pass."""

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from quantlab import ConfigurationError
from quantlab.quantization_sets import BINARY, TERNARY
from quantlab.scales import Scale
from quantlab.scales.absolute_mean import AbsoluteMean
from quantlab.scales.contract import require_scale_contract
from quantlab.scales.fan_in import FanIn
from quantlab.scales.largest import Largest
from quantlab.scales.learned_step import LearnedStep
from quantlab.scales.least_squares import LeastSquares
from quantlab.scales.placement import SMALLEST, Placement, Proportional, Table
from quantlab.scales.ternary_weight import TernaryWeight
from quantlab.scales.trained_ternary import TrainedTernary


@dataclass(frozen=True, kw_only=True)
class Own(Scale):
    """A user's rule with a fault."""

    fault: str = ""

    def num_learned(self, levels: tuple[float, ...]) -> int:
        if self.fault == "count":
            return True
        return 1 if self.fault in ("start", "gradient", "shape", "NaN") else 0

    def initial(self, latent: Tensor, levels: tuple[float, ...]) -> Tensor:
        return latent.abs().mean(-1, keepdim=True).clamp(min=0 if self.fault == "start" else 1e-8)

    def place(
        self, latent: Tensor, levels: tuple[float, ...], learned: Tensor | None = None
    ) -> Any:
        scale = latent.abs().mean(-1, keepdim=True).clamp(min=SMALLEST)
        match self.fault:
            case "tensor":
                return scale
            case "raises":
                raise KeyError("oh")
            case "zeros":
                scale = latent.abs().mean(-1, keepdim=True)
            case "mixed":
                scale = latent.abs().mean().expand_as(scale)
            case "random":
                scale = scale + torch.rand_like(scale)
            case "axis":
                scale = latent.abs().mean(1, keepdim=True)
            case "in place":
                latent.mul_(2)
            case "decreasing":
                scale = -scale
            case "infinite":
                scale = scale / 0
            case "table":
                return Table(torch.zeros(*latent.shape[:-1], 3), levels)
        return Proportional(scale, scale)

    def gradient(self, *args: Any) -> Tensor:
        learned: Tensor = args[-1]
        match self.fault:
            case "shape":
                return learned[:1]
            case "NaN":
                return learned * torch.nan
        return super().gradient(*args)


RIGHT: list[tuple[Scale, tuple[float, ...]]] = [
    (AbsoluteMean(), BINARY),
    (FanIn(), TERNARY),
    (Largest(), TERNARY),
    (LearnedStep(), (-2.0, -1.0, 0.0, 1.0)),
    (LeastSquares(), BINARY),
    (LeastSquares(), TERNARY),
    (LeastSquares(), (-2.0, -1.0, 1.0, 2.0)),
    (LeastSquares(greedy=True), tuple(float(level) for level in range(-15, 16, 2))),
    (TernaryWeight(), TERNARY),
    (TernaryWeight(two_sided=True), TERNARY),
    (TrainedTernary(), TERNARY),
    (Own(), TERNARY),
]


@pytest.mark.parametrize(("scale", "levels"), RIGHT, ids=repr)
def test_rules_of_the_release_fulfil_the_contract(scale: Scale, levels: tuple[float, ...]) -> None:
    before = torch.get_rng_state()
    require_scale_contract(scale, levels)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("tensor", r"Own.place returned .*: must return a Placement"),
        ("raises", r"Own.place raised KeyError"),
        ("zeros", r"Own.place: enter .* infinite numbers or NaN: .* also for a row of zeros"),
        ("mixed", r"Own.place returned other levels for rows alone"),
        ("random", r"Own.place returned another result when called again"),
        ("axis", r"Own.place.* must "),
        ("in place", r"Own.place changed its arguments"),
        ("decreasing", r"Own.place: enter of its placement is decreasing"),
        ("infinite", r"Own.place: .* infinite numbers or NaN"),
        ("table", r"Own.place: enter of its placement returned infinite numbers or NaN"),
        ("count", r"Own.num_learned returned True: must return a whole number"),
        ("start", r"Own.initial returned a number <= 0"),
        ("gradient", r"Own.gradient raised NotImplementedError: Own learns numbers but has no"),
        ("shape", r"Own.gradient returned \(1, 1\)"),
        ("NaN", r"Own.gradient returned infinite numbers or NaN"),
    ],
)
def test_a_rule_that_violates_the_contract_is_refused(fault: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as caught:
        require_scale_contract(Own(fault=fault), TERNARY)
    assert "\n" not in str(caught.value)


def test_placements_are_increasing_for_every_rule() -> None:
    for scale, levels in RIGHT:
        rows = torch.randn(3, 40, generator=torch.Generator().manual_seed(0))
        learned = scale.initial(rows, levels) if scale.num_learned(levels) else None
        placement = scale.place(rows, levels, learned)
        assert isinstance(placement, Placement)
        assert (placement.levels(levels).diff(dim=-1) > 0).all()
