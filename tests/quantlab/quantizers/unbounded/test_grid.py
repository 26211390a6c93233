"""Rounding to the grid {k Delta}, which has no end."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from quantlab import ConfigurationError, Quantization, Quantizer, TrainingRun
from quantlab.canonical import canonical, fingerprint, flatten
from quantlab.optim.bits import mean_bits
from quantlab.optim.histogram import NUM_BINS
from quantlab.optim.latent_optimizer import LatentOptimizer
from quantlab.quantization_sets import TERNARY
from quantlab.quantizers.contract import require_contract
from quantlab.quantizers.mixture import Averaged
from quantlab.quantizers.nearest import Nearest
from quantlab.quantizers.stochastic_rounding import StochasticRounding
from quantlab.quantizers.unbounded.grid import GridRounding, NearestOnGrid, StochasticOnGrid
from quantlab.recipe import override
from quantlab.scales.absolute_mean import AbsoluteMean
from quantlab.update_rules import PROX_QUANT
from tests.quantlab.recipes import quantized

BOTH: tuple[type[GridRounding], ...] = (NearestOnGrid, StochasticOnGrid)
RESOLUTIONS = (0.1, 0.5, 1.0, 1 / 3, 7e-4)
resolutions = st.one_of(st.sampled_from(RESOLUTIONS), st.floats(1e-3, 100))
places = st.lists(st.integers(-(10**6), 10**6), min_size=1, max_size=40)


@pytest.mark.parametrize("kind", BOTH)
@given(resolution=resolutions, whole=places)
def test_levels_are_fixed_however_far_away(
    kind: type[GridRounding], resolution: float, whole: list[int]
) -> None:
    quantizer = kind(resolution)
    for dtype in (torch.float32, torch.float64):
        levels = torch.tensor(whole, dtype=dtype) * resolution
        assert torch.equal(quantizer.prox(levels, 0.0), levels)
        assert torch.equal(quantizer.hard(levels), levels)


@given(resolution=resolutions, values=st.lists(st.floats(-1e5, 1e5), min_size=1, max_size=40))
def test_the_projector_is_the_nearest_multiple(resolution: float, values: list[float]) -> None:
    latent = torch.tensor(values, dtype=torch.float64)
    image = NearestOnGrid(resolution).prox(latent, 3.0)
    assert ((image - latent).abs() <= resolution * (0.5 + 1e-9) + 1e-9).all()
    multiple = image / resolution
    torch.testing.assert_close(multiple, multiple.round(), rtol=1e-12, atol=1e-6)
    assert torch.equal(image, NearestOnGrid(resolution).hard(latent))
    assert (image[latent.argsort()].diff() >= 0).all()


def test_ties_go_up() -> None:
    latent = torch.tensor([-1.5, -0.5, 0.5, 2.5]) * 0.25
    assert NearestOnGrid(0.25).prox(latent, 0.0).tolist() == [-0.25, 0.0, 0.25, 0.75]
    assert StochasticOnGrid(0.25).hard(latent).tolist() == [-0.25, 0.0, 0.25, 0.75]
    below = torch.nextafter(torch.tensor(0.5), torch.tensor(0.0))  # 0.5 is added to it as 1
    assert NearestOnGrid(1.0).prox(below, 0.0) == 0


@pytest.mark.parametrize("kind", BOTH)
def test_inside_a_bounded_part_it_is_the_map_of_the_bounded_set(kind: type[GridRounding]) -> None:
    latent = torch.linspace(-1, 1, 2001, dtype=torch.float64)
    other: Quantizer = Nearest() if kind is NearestOnGrid else StochasticRounding()
    samples = []
    for quantizer in (kind(1.0), other):
        assert quantizer.random == other.random
        torch.manual_seed(0)
        samples.append(torch.stack([quantizer.prox(latent, 0.0) for _ in range(400)]))
        assert torch.equal(quantizer.hard(latent), Nearest().hard(latent))
    if kind is NearestOnGrid:
        assert torch.equal(*samples)
    else:
        assert samples[0].unique().tolist() == samples[1].unique().tolist() == [-1, 0, 1]
        means = [each.mean(dim=0) - latent for each in samples]
        assert (means[0].square().mean() / means[1].square().mean()).item() == pytest.approx(
            1, abs=0.2
        )


@pytest.mark.parametrize("resolution", RESOLUTIONS)
def test_t15_unbiased_with_the_variance_of_a_coin_at_every_distance(resolution: float) -> None:
    torch.manual_seed(1)
    shares = torch.tensor([0.02, 0.25, 0.5, 0.9], dtype=torch.float64)
    low = resolution * torch.tensor([[-4321.0], [-1.0], [0.0], [77.0]], dtype=torch.float64)
    latent = (low + resolution * shares).flatten()
    images = StochasticOnGrid(resolution).prox(latent.expand(20_000, -1), 0.0)
    below, above = images.amin(dim=0), images.amax(dim=0)
    torch.testing.assert_close(below, low.expand(4, 4).flatten())
    torch.testing.assert_close(above - below, torch.full_like(below, resolution))
    assert images.unique().numel() == 7  # two gaps share the level 0
    variance = (latent - below) * (above - latent)
    error = 5 * (variance / len(images)).sqrt()
    assert ((images.mean(dim=0) - latent).abs() <= error).all()
    fourth = variance * (resolution * (1 - 2 * shares.repeat(4))).square()
    found = (images - latent).square().mean(dim=0)
    assert ((found - variance).abs() <= 5 * (fourth / len(images)).sqrt() + 1e-12).all()


def test_t17_rounding_stalls_below_half_a_level_far_from_any_bound() -> None:
    """The steps are exact in binary arithmetic. A step of one level or more is never lost."""
    alpha, delta, start = 0.25, 0.5, 1000.0
    moves = torch.arange(-160, 161, dtype=torch.float64) / 128
    weight = nn.Parameter(torch.full_like(moves, start))
    optimizer = LatentOptimizer(
        {"weight": (weight, NearestOnGrid(delta))},
        [],
        make_base=lambda parameters: torch.optim.SGD(parameters, lr=alpha),
        rule=PROX_QUANT,
        sharpness=lambda step: 0.0,
    )
    for _ in range(5):
        weight.grad = moves / alpha
        optimizer.step()
    stays = (weight == start).tolist()
    assert stays == [-delta / 2 < move <= delta / 2 for move in moves.tolist()]
    assert weight.max() == start + 5 * 1.0 + 5 * 0.5  # -1.25 rounds up to -1.5 by a tie


@pytest.mark.parametrize("kind", BOTH)
def test_dtypes_layouts_and_what_is_not_finite(kind: type[GridRounding]) -> None:
    quantizer = kind(0.25)
    before = torch.linspace(-3, 4, 240).view(2, 4, 5, 6)
    latent = before.clone()
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        for part in (latent, latent[0, 0, 0, 0], latent[:0], latent.transpose(0, 3)):
            for image in (quantizer.prox(part.to(dtype), 0.0), quantizer.hard(part.to(dtype))):
                assert image.dtype == dtype
                assert image.shape == part.shape
    assert torch.equal(latent, before)
    special = torch.tensor([math.nan, math.inf, -math.inf])
    for image in (quantizer.prox(special, 0.0), quantizer.hard(special)):
        assert image.isnan().tolist() == [True, False, False]
        assert image[1:].tolist() == [math.inf, -math.inf]


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize("resolution", RESOLUTIONS)
def test_fulfils_the_contract(kind: type[GridRounding], resolution: float) -> None:
    require_contract(kind(resolution))


class Beside(NearestOnGrid):
    def hard(self, latent: torch.Tensor) -> torch.Tensor:
        return super().hard(latent) + 0.25 * self.resolution


def test_a_limit_that_is_not_on_the_grid_violates_the_contract() -> None:
    with pytest.raises(ConfigurationError, match=r"must return a level, and a level for itself"):
        require_contract(Beside(0.5))


@pytest.mark.parametrize("resolution", [0, -1, math.inf, math.nan, "0.1", None, True])
def test_bad_resolutions_are_named(resolution: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"NearestOnGrid\.resolution = .*: must be"):
        NearestOnGrid(resolution)


def test_no_levels_can_be_given() -> None:
    assert StochasticOnGrid().levels == ()
    recipe = quantized(PROX_QUANT, quantization=Quantization(rule=PROX_QUANT, quantizer=BOTH[0]()))
    with pytest.raises(ConfigurationError, match="levels"):
        override(recipe, "quantization.quantizer.levels", TERNARY)
    with pytest.raises(ConfigurationError, match=r"Averaged\.members.*NearestOnGrid is unbounded"):
        Averaged(members=(NearestOnGrid(), Nearest()))


def test_a_scale_is_refused_because_it_places_a_list_of_levels() -> None:
    with pytest.raises(ConfigurationError, match=r"None for NearestOnGrid, whose set is unbounded"):
        Quantization(rule=PROX_QUANT, quantizer=NearestOnGrid(), scale=AbsoluteMean())


def test_identity_and_parameters_have_the_resolution_and_nothing_else() -> None:
    assert canonical(StochasticOnGrid(0.1), defaults=False) == {
        "type": "StochasticOnGrid",
        "resolution": 0.1,
    }
    recipe = quantized(quantization=Quantization(rule=PROX_QUANT, quantizer=NearestOnGrid(0.1)))
    finer = override(recipe, "quantization.quantizer.resolution", 0.05)
    assert fingerprint(recipe) != fingerprint(finer)
    assert flatten(finer)["quantization.quantizer.resolution"] == 0.05
    assert repr(NearestOnGrid(0.1)) == "NearestOnGrid(resolution=0.1)"


@pytest.mark.parametrize("kind", BOTH)
def test_a_run_leaves_every_bound_behind_and_ends_on_the_grid(kind: type[GridRounding]) -> None:
    resolution = 0.01
    quantization = Quantization(rule=PROX_QUANT, quantizer=kind(resolution))
    recipe = quantized(quantization=quantization, epochs=2, batchnorm_epochs=1)
    run = TrainingRun(recipe)
    assert mean_bits(run.model, quantization) == (32, 32)
    assert {own.shape for own in run.optimizer.levels().values()} == {(1, 0)}
    records = list(run)
    assert run.outcome().bits == 32
    for name, weight in run.final_weights().items():
        if weight.dim() < 2:
            continue
        places = weight / resolution
        torch.testing.assert_close(places, places.round(), rtol=0, atol=1e-3, msg=name)
        assert places.unique().numel() > 10
    for record in records[:2]:
        found = record.weight_histogram
        assert found is not None
        assert found.high == -found.low
        assert found.high / (20 * resolution) in (1, 2, 4, 8)
        assert sum(found.counts) == sum(
            weight.numel() for weight in run.model.parameters() if weight.dim() >= 2
        )
    assert records[-1].weight_histogram is None


def test_a_histogram_has_a_bin_for_each_level_or_a_whole_number_of_levels() -> None:
    quantizer = NearestOnGrid(0.1)
    assert quantizer.shown_range(torch.tensor([0.3, -1.9])) == (-2, 2)
    assert quantizer.shown_range(torch.tensor([0.3, -2.1])) == (-4, 4)
    assert quantizer.shown_range(torch.tensor([17.0])) == pytest.approx((-32, 32))
    assert quantizer.shown_range(torch.tensor([])) == (-2, 2)
    assert quantizer.shown_range(torch.tensor([math.nan, 1.0])) == (-2, 2)
    assert NUM_BINS == 41
