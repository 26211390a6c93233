"""The contract of every quantizer in the package."""

import importlib
import math
import pkgutil

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import quantlab.quantizers
from quantlab import ConfigurationError, Quantizer
from quantlab.quantization_sets import BINARY, QUATERNARY, TERNARY


def quantizer_classes() -> list[type[Quantizer]]:
    found = []
    for module in pkgutil.iter_modules(quantlab.quantizers.__path__):
        members = vars(importlib.import_module(f"quantlab.quantizers.{module.name}")).values()
        found += [
            member
            for member in members
            if isinstance(member, type)
            and issubclass(member, Quantizer)
            and member is not Quantizer
            and member.__module__.endswith(module.name)
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
        "StochasticRounding",
        "Tanh",
    ]


@every_quantizer
def test_is_built_without_arguments(cls: type[Quantizer]) -> None:
    assert cls().levels == TERNARY


@every_map
@given(levels=level_sets, sharpness=sharpnesses, values=latents)
@settings(deadline=None)
def test_is_monotone_and_fixes_the_set(
    cls: type[Quantizer], levels: tuple[float, ...], sharpness: float, values: list[float]
) -> None:
    quantizer = cls(levels=levels)
    latent = torch.tensor(sorted(values), dtype=torch.float64)
    image = quantizer.prox(latent, sharpness)
    assert (image.diff() >= -1e-12).all()
    fixed = torch.tensor(levels, dtype=torch.float64)
    assert torch.equal(quantizer.prox(fixed, sharpness), fixed)


@every_map
@given(levels=level_sets, values=latents)
@settings(deadline=None)
def test_tends_to_the_nearest_level(
    cls: type[Quantizer], levels: tuple[float, ...], values: list[float]
) -> None:
    quantizer = cls(levels=levels)
    latent = torch.tensor(values, dtype=torch.float64)
    hard = quantizer.hard(latent)
    distance = (latent[:, None] - torch.tensor(levels)).abs()
    torch.testing.assert_close((latent - hard).abs(), distance.min(dim=1).values)
    assert set(hard.tolist()) <= set(levels)
    torch.testing.assert_close(quantizer.prox(latent, 1e12), hard, rtol=0, atol=1e-10)
    assert torch.equal(quantizer.prox(latent, math.inf), hard)


@every_map
@given(levels=level_sets, sharpness=sharpnesses, values=latents)
@settings(deadline=None)
def test_is_pure_and_takes_sharpness_as_a_tensor(
    cls: type[Quantizer], levels: tuple[float, ...], sharpness: float, values: list[float]
) -> None:
    quantizer = cls(levels=levels)
    latent = torch.tensor(values, dtype=torch.float64)
    before = latent.clone()
    image = quantizer.prox(latent, sharpness)
    assert torch.equal(latent, before)
    image.add_(1)  # a result that is the argument itself would change it
    assert torch.equal(latent, before)
    image = quantizer.prox(latent, sharpness)
    # A leading axis of trials, each with its own sharpness.
    stacked = quantizer.prox(
        latent.expand(2, -1), torch.tensor([[sharpness], [2 * sharpness]], dtype=torch.float64)
    )
    torch.testing.assert_close(stacked[0], image, rtol=0, atol=1e-12)
    torch.testing.assert_close(
        stacked[1], quantizer.prox(latent, 2 * sharpness), rtol=0, atol=1e-12
    )


@every_map
@pytest.mark.parametrize("levels", SETS, ids=str)
@pytest.mark.parametrize("sharpness", [0.0, 0.1, 0.31, 2.0])
def test_t14_dtypes_and_layouts(
    cls: type[Quantizer], levels: tuple[float, ...], sharpness: float
) -> None:
    quantizer = cls(levels=levels)
    values = torch.linspace(-3, 4, 240).view(2, 4, 5, 6)
    expected = quantizer.prox(values, sharpness)
    channels_last = values.to(memory_format=torch.channels_last)
    assert torch.equal(quantizer.prox(channels_last, sharpness), expected)
    strided = values.transpose(0, 3)
    assert torch.equal(quantizer.prox(strided, sharpness), expected.transpose(0, 3))
    assert torch.equal(quantizer.prox(values[0, 0, 0, 0], sharpness), expected[0, 0, 0, 0])
    assert quantizer.prox(values[:0], sharpness).shape == (0, 4, 5, 6)
    for dtype in (torch.float16, torch.bfloat16):
        half = values.to(dtype)
        image = quantizer.prox(half, sharpness)
        assert image.dtype == dtype
        assert torch.equal(image, quantizer.prox(half.float(), sharpness).to(dtype))
    for image in (
        quantizer.prox(torch.tensor([math.nan, 0.0]), sharpness),
        quantizer.hard(torch.tensor([math.nan, 0.0])),
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
    assert cls(levels=BINARY).hard(torch.zeros(1)).item() == 1
    assert cls(levels=TERNARY).hard(torch.tensor([-0.5, 0.5])).tolist() == [0, 1]


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
    ],
)
def test_refuses_bad_sets(cls: type[Quantizer], levels: tuple[float, ...], reason: str) -> None:
    with pytest.raises(ConfigurationError, match=reason):
        cls(levels=levels)
