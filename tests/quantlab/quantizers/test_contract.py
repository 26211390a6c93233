"""The contract of every quantizer in the package."""

import importlib
import math
import pkgutil

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import quantlab.mirror_maps
import quantlab.quantizers
from quantlab import ConfigurationError, Quantizer
from quantlab.mirror_maps import MirrorMap
from quantlab.quantization_sets import BINARY, QUATERNARY, TERNARY
from quantlab.quantizers.base import Sharpness
from quantlab.quantizers.sign_swish import SignSwish


def quantizer_classes() -> list[type[Quantizer]]:
    found = []
    for room in (quantlab.quantizers, quantlab.mirror_maps):
        for module in pkgutil.iter_modules(room.__path__, room.__name__ + "."):
            found += [
                member
                for member in vars(importlib.import_module(module.name)).values()
                if isinstance(member, type)
                and issubclass(member, Quantizer)
                and member not in (Quantizer, MirrorMap)
                and member.__module__ == module.name
            ]
    return found


CLASSES = quantizer_classes()
SETS = [BINARY, TERNARY, QUATERNARY, (-2.0, -0.5, -0.4, 3.0)]
level_sets = st.one_of(
    st.sampled_from(SETS),
    st.lists(st.integers(-40, 40), min_size=2, max_size=6, unique=True).map(
        lambda values: tuple(sorted(value / 8 for value in values))
    ),
)
sharpnesses = st.one_of(st.just(0.0), st.floats(1e-6, 5), st.just(1e6))
latents = st.lists(st.floats(-8, 8), min_size=2, max_size=40)


def on_levels(cls: type[Quantizer], levels: tuple[float, ...]) -> Quantizer:
    """The quantizer on a set; on its two outer levels if it takes two only."""
    return cls(levels=(levels[0], levels[-1]) if cls is SignSwish else levels)


def image_of(quantizer: Quantizer, weights: torch.Tensor, sharpness: Sharpness) -> torch.Tensor:
    """The image of weights, through the latents of a lifted space."""
    return quantizer.weights(quantizer.lift(weights), sharpness)


def hard_of(quantizer: Quantizer, weights: torch.Tensor) -> torch.Tensor:
    return quantizer.hard(quantizer.lift(weights))


def column(quantizer: Quantizer, values: list[float]) -> torch.Tensor:
    """Sharpness values of several trials, to broadcast against their latents."""
    axes = 1 if quantizer.num_latents == 1 else 2
    return torch.tensor(values, dtype=torch.float64).view(-1, *[1] * axes)


def _each(classes: list[type[Quantizer]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("cls", classes, ids=lambda cls: cls.__name__)


every_quantizer = _each(CLASSES)
every_map = _each([cls for cls in CLASSES if not cls().random])
every_random_one = _each([cls for cls in CLASSES if cls().random])


def test_the_package_has_the_quantizers() -> None:
    assert sorted(cls.__name__ for cls in CLASSES) == [
        "Averaged",
        "BinaryRelax",
        "Knots",
        "Nearest",
        "PiecewiseLinear",
        "RandomChoice",
        "ShiftedTanh",
        "SignSwish",
        "Softmax",
        "StochasticRounding",
        "Tanh",
    ]


@every_quantizer
def test_is_built_without_arguments(cls: type[Quantizer]) -> None:
    assert cls().levels == (BINARY if cls is SignSwish else TERNARY)


def test_the_package_says_which_maps_move_levels_and_which_overshoot() -> None:
    moving = {cls.__name__ for cls in CLASSES if not cls().fixes_levels}
    assert moving == {"ShiftedTanh", "SignSwish", "Softmax"}
    assert {cls.__name__ for cls in CLASSES if not cls().is_monotone} == {"SignSwish"}
    assert {cls.__name__ for cls in CLASSES if cls().num_latents != 1} == {"Softmax"}


@every_map
@given(levels=level_sets, sharpness=sharpnesses, values=latents)
@settings(deadline=None)
def test_is_monotone_and_fixes_the_set(
    cls: type[Quantizer], levels: tuple[float, ...], sharpness: float, values: list[float]
) -> None:
    quantizer = on_levels(cls, levels)
    latent = torch.tensor(sorted(values), dtype=torch.float64)
    image = image_of(quantizer, latent, sharpness)
    span = levels[-1] - levels[0]
    if quantizer.is_monotone:
        assert (image.diff() >= -1e-12 * max(span, 1)).all()
    if isinstance(quantizer, MirrorMap):  # not BinaryRelax, which does not clip
        assert (image >= levels[0] - 1e-12 * span).all()
        assert (image <= levels[-1] + 1e-12 * span).all()
    fixed = torch.tensor(quantizer.levels, dtype=torch.float64)
    if quantizer.fixes_levels:
        assert torch.equal(quantizer.prox(fixed, sharpness), fixed)


@every_map
@given(levels=level_sets, values=latents)
@settings(deadline=None)
def test_tends_to_the_nearest_level(
    cls: type[Quantizer], levels: tuple[float, ...], values: list[float]
) -> None:
    quantizer = on_levels(cls, levels)
    levels = quantizer.levels
    latent = torch.tensor(values, dtype=torch.float64)
    hard = hard_of(quantizer, latent)
    distances = (latent[:, None] - torch.tensor(levels)).abs().sort(dim=1).values
    torch.testing.assert_close((latent - hard).abs(), distances[:, 0])
    assert set(hard.tolist()) <= set(levels)
    if not quantizer.fixes_levels:  # these maps leave the middle of a gap where it is
        away = distances[:, 1] - distances[:, 0] > 1e-6
        latent, hard = latent[away], hard[away]
    for sharpness in (1e12, math.inf):
        image = image_of(quantizer, latent, sharpness)
        torch.testing.assert_close(image, hard, rtol=0, atol=1e-10)
    if quantizer.fixes_levels:
        assert torch.equal(quantizer.prox(latent, math.inf), hard)


@every_map
@given(levels=level_sets, sharpness=sharpnesses, values=latents)
@settings(deadline=None)
def test_is_pure_and_takes_sharpness_as_a_tensor(
    cls: type[Quantizer], levels: tuple[float, ...], sharpness: float, values: list[float]
) -> None:
    quantizer = on_levels(cls, levels)
    latent = quantizer.lift(torch.tensor(values, dtype=torch.float64)).clone()
    before = latent.clone()
    image = quantizer.prox(latent, sharpness)
    assert torch.equal(latent, before)
    image.add_(1)  # a result that is the argument itself would change it
    assert torch.equal(latent, before)
    image = quantizer.prox(latent, sharpness)
    # A leading axis of trials, each with its own sharpness.
    both = latent.expand(2, *latent.shape)
    stacked = quantizer.prox(both, column(quantizer, [sharpness, 2 * sharpness]))
    torch.testing.assert_close(stacked[0], image, rtol=0, atol=1e-12)
    torch.testing.assert_close(
        stacked[1], quantizer.prox(latent, 2 * sharpness), rtol=0, atol=1e-12
    )


@every_map
@given(levels=level_sets, sharpness=sharpnesses, values=latents)
@settings(deadline=None, max_examples=30)
def test_collapse_is_linear_and_spread_is_its_transpose(
    cls: type[Quantizer], levels: tuple[float, ...], sharpness: float, values: list[float]
) -> None:
    quantizer = on_levels(cls, levels)
    weights = torch.tensor(values, dtype=torch.float64)
    image = quantizer.prox(quantizer.lift(weights), sharpness)
    gradient = torch.linspace(-1, 1, len(values), dtype=torch.float64)
    assert quantizer.collapse(image).shape == weights.shape
    torch.testing.assert_close(
        (quantizer.collapse(image) * gradient).sum(), (image * quantizer.spread(gradient)).sum()
    )


@every_map
@pytest.mark.parametrize("levels", SETS, ids=str)
@pytest.mark.parametrize("sharpness", [0.0, 0.1, 0.31, 2.0])
def test_t14_dtypes_and_layouts(
    cls: type[Quantizer], levels: tuple[float, ...], sharpness: float
) -> None:
    quantizer = on_levels(cls, levels)
    values = torch.linspace(-3, 4, 240).view(2, 4, 5, 6)
    expected = image_of(quantizer, values, sharpness)
    # The exponential of one entry and of a vector of entries may differ in the last bit.
    tolerance = {"rtol": 0, "atol": 0 if quantizer.fixes_levels else 1e-6}
    channels_last = values.to(memory_format=torch.channels_last)
    torch.testing.assert_close(image_of(quantizer, channels_last, sharpness), expected, **tolerance)
    if quantizer.num_latents == 1:  # a lifted weight needs an axis
        strided = quantizer.prox(values.transpose(0, 3), sharpness)
        torch.testing.assert_close(strided, expected.transpose(0, 3), **tolerance)
        alone = quantizer.prox(values[0, 0, 0, 0], sharpness)
        torch.testing.assert_close(alone, expected[0, 0, 0, 0], **tolerance)
    assert image_of(quantizer, values[:0], sharpness).shape == (0, 4, 5, 6)
    for dtype in (torch.float16, torch.bfloat16):
        half = quantizer.lift(values.to(dtype))
        image = quantizer.weights(half, sharpness)
        assert image.dtype == quantizer.prox(half, sharpness).dtype == dtype
        assert torch.equal(image, quantizer.weights(half.float(), sharpness).to(dtype))
    for image in (
        image_of(quantizer, torch.tensor([math.nan, 0.0]), sharpness),
        hard_of(quantizer, torch.tensor([math.nan, 0.0])),
    ):
        assert image.isnan().tolist() == [True, False]


@every_random_one
@pytest.mark.parametrize("levels", SETS, ids=str)
def test_random_ones_repeat_under_a_seed_and_keep_to_the_rest(
    cls: type[Quantizer], levels: tuple[float, ...]
) -> None:
    quantizer = cls(levels=levels)
    latent = torch.linspace(-3, 4, 240, dtype=torch.float64).view(2, 4, 5, 6)
    before = latent.clone()
    images = []
    for seed in (0, 0, *range(1, 20)):
        torch.manual_seed(seed)
        images.append(quantizer.prox(latent, 0.01))
    assert torch.equal(latent, before)
    assert torch.equal(images[0], images[1])
    assert any(not torch.equal(images[0], image) for image in images[2:])
    assert all(image.min() == levels[0] and image.max() == levels[-1] for image in images)
    fixed = torch.tensor(levels, dtype=torch.float64)
    assert torch.equal(quantizer.prox(fixed, 0.01), fixed)
    assert set(quantizer.hard(latent).flatten().tolist()) == set(levels)
    for dtype in (torch.float16, torch.bfloat16, torch.float32):
        for part in (latent, latent[0, 0, 0, 0], latent[:0], latent.transpose(0, 3)):
            image = quantizer.prox(part.to(dtype), 0.01)
            assert image.dtype == dtype
            assert image.shape == part.shape
    assert quantizer.prox(torch.tensor([math.nan, 0.0]), 0.01).isnan().tolist() == [True, False]


@every_quantizer
def test_ties_go_up(cls: type[Quantizer]) -> None:
    assert hard_of(cls(levels=BINARY), torch.zeros(1)).item() == 1
    if cls is not SignSwish:
        assert hard_of(cls(levels=TERNARY), torch.tensor([-0.5, 0.5])).tolist() == [0, 1]


@every_quantizer
@pytest.mark.parametrize(
    ("levels", "reason"),
    [
        ((1, -1), "must be strictly increasing, but 1 precedes -1"),
        ((-1, 0, 0, 1), "must be strictly increasing, but 0 is duplicated"),
        ((0,), "at least two"),
        ((), "at least two"),
        ((-1, math.inf), "finite"),
        (("a", "b"), "numbers"),
        ("01", "levels = '01': must be a sequence of numbers"),
        (("-1", "1"), "must be a sequence of numbers"),
        ((0, 1, 1 + 1e-9), "strictly increasing as float32, too, but are"),
        ((-1e-50, 1e-50), "strictly increasing as float32, too, but are"),
        ((-1e39, 1e39), "must be finite and strictly increasing as float32"),
        ((-2e38, 2e38), "must be at most 8.5e[+]37 apart"),
    ],
)
def test_refuses_bad_sets(cls: type[Quantizer], levels: tuple[float, ...], reason: str) -> None:
    with pytest.raises(ConfigurationError, match=reason):
        cls(levels=levels)
