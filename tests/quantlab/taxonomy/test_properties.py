"""Properties of methods of which each is known by hand."""

from dataclasses import dataclass, replace

import pytest
import torch

from quantlab import ConfigurationError, Quantization, Quantizer
from quantlab.backward_maps import ClippedIdentity, InsideLevels, Jacobian, LevelMagnitude
from quantlab.mirror_maps.shifted_tanh import ShiftedTanh
from quantlab.mirror_maps.softmax import Softmax
from quantlab.papers import bop
from quantlab.quantization_sets import BINARY, TERNARY
from quantlab.quantizers.binary_relax import BinaryRelax
from quantlab.quantizers.nearest import Nearest
from quantlab.quantizers.piecewise_linear import PiecewiseLinear
from quantlab.quantizers.sign_swish import SignSwish
from quantlab.quantizers.stochastic_rounding import StochasticRounding
from quantlab.quantizers.unbounded.grid import NearestOnGrid
from quantlab.scales import Scale
from quantlab.scales.absolute_mean import AbsoluteMean
from quantlab.scales.fan_in import FanIn
from quantlab.scales.learned_step import LearnedStep
from quantlab.scales.least_squares import LeastSquares
from quantlab.scales.ternary_weight import TernaryWeight
from quantlab.scales.trained_ternary import TrainedTernary
from quantlab.schedules import Constant, Linear, Ramp
from quantlab.taxonomy import LevelsFrom, Properties, Trend, properties_of
from quantlab.taxonomy.probe import Probe
from quantlab.update_rules import POST_TRAINING, PROX_CONNECT, PROX_QUANT, REVERSE_PROX_CONNECT
from tests.quantlab.recipes import ADAM, small_recipe

PC = Quantization(rule=PROX_CONNECT, quantizer=PiecewiseLinear(), sharpness=Linear(0.01))


@dataclass(frozen=True, kw_only=True)
class OfBlocks(AbsoluteMean):
    """A rule of a user's that allows blocks only."""

    per: str | int = 16

    def __post_init__(self) -> None:
        super().__post_init__()
        assert isinstance(self.per, int)


def found(quantization: Quantization, **changes: object) -> Properties:
    return properties_of(
        small_recipe(quantization=replace(quantization, **changes), epochs=10)  # type: ignore[arg-type]
    )


@pytest.mark.parametrize(
    ("changes", "is_prox_connect"),
    [
        ({}, True),
        ({"quantizer": Nearest()}, True),
        ({"quantizer": StochasticRounding()}, True),
        ({"quantizer": ShiftedTanh(BINARY, beta=1.0), "step_scale": Linear(1.0)}, True),
        ({"quantizer": Softmax(TERNARY)}, True),
        ({"quantizer": Nearest(), "scale": TernaryWeight(every=2)}, True),
        ({"rule": PROX_QUANT}, False),
        ({"rule": REVERSE_PROX_CONNECT}, False),
        ({"rule": POST_TRAINING}, False),
        ({"pull": Constant(1e-4)}, False),
        ({"pull": Ramp(0.1, start=9, end=10)}, False),  # only in the last epoch
        ({"latent_bound": 1.0}, False),
        ({"backward": ClippedIdentity()}, False),
        ({"quantizer": ShiftedTanh(BINARY), "backward": Jacobian()}, False),
        (
            {
                "quantizer": Nearest((-2, -1, 0, 1)),
                "scale": LearnedStep(),
                "backward": InsideLevels(),
            },
            False,
        ),
        (
            {"quantizer": Nearest(), "scale": TrainedTernary(), "backward": LevelMagnitude()},
            False,
        ),
    ],
    ids=str,
)
def test_steps_of_prox_connect_are_told_from_others(
    changes: dict[str, object], is_prox_connect: bool
) -> None:
    properties = found(PC, **changes)
    assert properties.prox_connect is is_prox_connect
    assert properties.passes == 1


def test_weights_that_flip_are_not_those_of_prox_connect() -> None:
    """Bop moves only some weights. Adam moves every weight against its gradient."""
    flipping = bop.quantization(Constant(1.0))
    recipe = small_recipe(quantization=flipping, optimizer=bop.optimizer(Constant(0.1)))
    assert not properties_of(recipe).prox_connect
    for spec in (ADAM, replace(ADAM, algorithm=torch.optim.NAdam)):
        assert properties_of(small_recipe(quantization=PC, optimizer=spec)).prox_connect


def test_an_unbounded_set_has_the_projector() -> None:
    properties = found(PC, quantizer=NearestOnGrid(resolution=0.3), sharpness=Constant(0.0))
    assert properties.rho is properties.varrho is Trend.INFINITE


def test_a_step_is_judged_at_every_part_of_the_training() -> None:
    """Up to epoch 9, this is ProxConnect. A recipe that ends before is, too."""
    quantization = replace(PC, pull=Ramp(0.1, start=9, end=10))
    assert properties_of(small_recipe(quantization=quantization, epochs=9)).prox_connect
    assert not properties_of(small_recipe(quantization=quantization, epochs=10)).prox_connect


@pytest.mark.parametrize(
    ("changes", "levels", "is_elementwise", "rho", "varrho"),
    [
        ({}, LevelsFrom.RECIPE, True, Trend.INCREASING, Trend.INCREASING),
        ({"sharpness": Constant(0.1)}, LevelsFrom.RECIPE, True, Trend.CONSTANT, Trend.CONSTANT),
        ({"sharpness": Linear(0.1)}, LevelsFrom.RECIPE, True, Trend.INCREASING, Trend.INCREASING),
        (
            {"quantizer": PiecewiseLinear(varrho_scale=0, relative=True)},
            LevelsFrom.RECIPE,
            True,
            Trend.INCREASING,
            Trend.ZERO,
        ),
        ({"quantizer": Softmax(BINARY)}, LevelsFrom.RECIPE, True, None, None),
        ({"quantizer": StochasticRounding()}, LevelsFrom.RECIPE, True, None, None),
        ({"scale": AbsoluteMean()}, LevelsFrom.WEIGHTS, False, None, None),
        (
            {"quantizer": Nearest((-2, -1, 0, 1)), "scale": LearnedStep(per=16)},
            LevelsFrom.TRAINING,
            True,
            Trend.INFINITE,
            Trend.INFINITE,
        ),
        (
            {"quantizer": Nearest(), "scale": TrainedTernary()},
            LevelsFrom.TRAINING,
            False,
            None,
            None,
        ),
    ],
    ids=str,
)
def test_levels_and_shifts(
    changes: dict[str, object],
    levels: LevelsFrom,
    is_elementwise: bool,
    rho: Trend | None,
    varrho: Trend | None,
) -> None:
    properties = found(PC, **changes)
    assert (properties.levels, properties.is_elementwise) == (levels, is_elementwise)
    assert (properties.rho, properties.varrho) == (rho, varrho)
    assert properties.is_piecewise_linear is (rho is not None)


@pytest.mark.parametrize(
    "quantizer", [Nearest(), PiecewiseLinear(), BinaryRelax(), StochasticRounding()], ids=repr
)
def test_a_constant_scale_changes_no_property(quantizer: Quantizer) -> None:
    expected = found(PC, quantizer=quantizer)
    assert found(PC, quantizer=quantizer, scale=FanIn()) == expected


@pytest.mark.parametrize("kind", [AbsoluteMean, LearnedStep, OfBlocks])
def test_what_a_row_is_changes_no_property(kind: type[Scale]) -> None:
    """A rule may allow only one kind of rows."""
    first, *others = (
        found(PC, scale=kind(per=per))
        for per in ("tensor", "channel", 4)
        if kind is not OfBlocks or per == 4
    )
    assert first.levels is not LevelsFrom.RECIPE
    assert all(other == first for other in others)


@pytest.mark.parametrize(
    ("changes", "is_monotone"),
    [
        ({"quantizer": Nearest(BINARY), "scale": AbsoluteMean()}, True),  # projections
        ({"quantizer": Nearest(TERNARY), "scale": LeastSquares()}, True),
        ({"quantizer": Nearest(TERNARY), "scale": TernaryWeight()}, False),
        ({"quantizer": Nearest(TERNARY), "scale": TrainedTernary()}, False),
        ({"quantizer": SignSwish(BINARY), "sharpness": Linear(5.0)}, False),
        ({"quantizer": StochasticRounding()}, True),
    ],
    ids=str,
)
def test_monotone_maps_are_told_from_others(changes: dict[str, object], is_monotone: bool) -> None:
    assert found(PC, **changes).is_monotone is is_monotone


def test_the_map_of_twn_decreases_between_two_tensors() -> None:
    """The first weight grows, but the threshold passes it, because others grow below it."""
    x = torch.tensor([[0.22, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0]], dtype=torch.float64)
    y = torch.tensor([[0.221, 1.0, 1.0, 0.1, 0.1, 0.1, 0.1, 0.1]], dtype=torch.float64)
    quantization = replace(PC, quantizer=Nearest(), scale=TernaryWeight())
    probe = Probe(small_recipe(quantization=quantization), x, steps_per_epoch=10)
    images = probe.image(x, 0), probe.image(y, 0)
    assert images[0][0].tolist() == pytest.approx([0.74, 0.74, 0.74, 0, 0, 0, 0, 0])
    assert images[1].tolist() == [[0, 1, 1, 0, 0, 0, 0, 0]]
    assert ((images[0] - images[1]) * (x - y)).sum() < 0


def test_full_precision_has_no_method() -> None:
    with pytest.raises(ConfigurationError, match=r"Recipe\.quantization = None: must be a Quant"):
        properties_of(small_recipe())
