"""The settings of "Training Quantized Nets" (appendix H), and its methods written out by hand."""

import copy
import math
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch

from quantlab import ConfigurationError, Recipe, fingerprint
from quantlab.datasets.augmentation import CropFlip
from quantlab.datasets.cifar import CIFAR10, CIFAR100
from quantlab.datasets.imagenet import ImageNet
from quantlab.initial_weights import RandomLevels
from quantlab.models.resnet import ResNet
from quantlab.models.torchvision_model import TorchvisionModel
from quantlab.models.vgg import VGG9, VGGBC
from quantlab.papers.quantized_nets import (
    BC_ADAM,
    BC_SGD,
    BIG_SR_ADAM,
    EXPERIMENTS,
    METHODS,
    NETWORKS,
    R_ADAM,
    SR_ADAM,
    SR_SGD,
    WEIGHT_DECAY,
    RoundingMethod,
    dataset,
    recipe,
)
from quantlab.quantization_sets import BINARY, QUATERNARY, TERNARY
from quantlab.quantizers.nearest import Nearest
from quantlab.quantizers.stochastic_rounding import StochasticRounding
from quantlab.quantizers.unbounded.grid import NearestOnGrid, StochasticOnGrid
from quantlab.update_rules import PROX_CONNECT, PROX_QUANT
from tests.quantlab.packs.test_packs import alone, assert_alike, method, packed
from tests.quantlab.papers.test_methods_by_hand import (
    DIRECTIONS,
    SIZE,
    START,
    STEPS,
    Array,
    Direction,
    Training,
    gradient,
    nearest,
    rate,
)

EPOCHS = {"CIFAR-10": 160, "CIFAR-100": 160, "ImageNet": 90}
DROPS = {"CIFAR-10": (82, 123), "CIFAR-100": (82, 123), "ImageNet": (30, 60)}
"""160 epochs are H.3's. The others are decisions, see docs/decisions.md."""
STEP_SIZES = {torch.optim.Adam: 0.01, torch.optim.SGD: 0.1}
"""0.01 is H.3's."""


def test_experiments_are_the_panels_of_figure_6() -> None:
    assert EXPERIMENTS == (
        ("CIFAR-10", "VGG-9"),
        ("CIFAR-10", "VGG-BC"),
        ("CIFAR-10", "ResNet-56"),
        ("CIFAR-10", "WRN-56-2"),
        ("CIFAR-100", "ResNet-56"),
        ("ImageNet", "ResNet-18"),
    )
    assert dict(NETWORKS) == {
        "VGG-9": VGG9(),
        "VGG-BC": VGGBC(),
        "ResNet-56": ResNet(56),
        "WRN-56-2": ResNet(56, 16, 2),
        "ResNet-18": TorchvisionModel("resnet18"),
    }
    assert [each.name for each in METHODS] == [
        "BC-ADAM", "BC-SGD", "Big-batch SR-ADAM", "SR-ADAM", "SR-SGD", "R-ADAM",
    ]  # fmt: skip


@pytest.mark.parametrize("one", [None, *METHODS], ids=lambda one: one.name if one else "FP")
@pytest.mark.parametrize(("data", "network"), EXPERIMENTS)
def test_every_setting_is_the_appendixs(
    one: RoundingMethod | None, data: str, network: str
) -> None:
    found = recipe(one, data, network, seed=4)
    assert found.model is NETWORKS[network]
    assert (found.epochs, found.batchnorm_epochs, found.seed) == (EPOCHS[data], 0, 4)
    assert (found.select, found.batchnorm_shards, found.accumulation) == ("last", 1, 1)
    big = 512 if network in ("WRN-56-2", "ResNet-18") else 1024
    assert found.batch_size == (big if one is BIG_SR_ADAM else 128)
    algorithm = torch.optim.SGD if one in (SR_SGD, BC_SGD) else torch.optim.Adam
    assert found.optimizer.algorithm is algorithm
    momentum = {"momentum": 0.9} if algorithm is torch.optim.SGD else {}
    assert found.optimizer.options == {"weight_decay": 0.0, **momentum}
    first = STEP_SIZES[algorithm]
    for drops, epoch in enumerate((0, *DROPS[data])):
        assert found.optimizer.learning_rate.at(10 * epoch, 10) == pytest.approx(first / 10**drops)
        if epoch:
            before = found.optimizer.learning_rate.at(10 * epoch - 1, 10)
            assert before == pytest.approx(first / 10 ** (drops - 1))
    if one is None:
        assert found.quantization is found.initial_weights is None
        return
    assert found.quantization is not None
    assert found.quantization.exclude == ("Linear",)
    assert not found.quantization.include
    assert not found.quantization.groups
    is_bc = one in (BC_ADAM, BC_SGD)
    assert found.quantization.rule is (PROX_CONNECT if is_bc else PROX_QUANT)
    is_nearest = is_bc or one is R_ADAM
    kind = Nearest if is_nearest else StochasticRounding
    assert found.quantization.quantizer == kind(BINARY)
    assert found.quantization.latent_bound == (1 if is_bc else None)
    start = None if is_bc else RandomLevels(exclude=("Linear",), levels=(-1, 1))
    assert found.initial_weights == start


def test_data_are_whole_and_the_curves_are_those_of_test_images() -> None:
    sets = [dataset(name) for name in ("CIFAR-10", "CIFAR-100", "ImageNet")]
    assert [type(each) for each in sets] == [CIFAR10, CIFAR100, ImageNet]
    for each in sets:
        assert (each.validation_images, each.validation_split) == (0, "test")
        assert each.train_images is each.test_images is None
    for each in sets[:2]:
        assert isinstance(each, CIFAR10)
        assert each.augmentation == CropFlip(padding=4, flip=True)


def test_figure_7_is_vgg_bc_with_a_weight_decay_of_1e_5() -> None:
    assert WEIGHT_DECAY == 1e-5
    plain, decayed = (
        recipe(BC_ADAM, "CIFAR-10", "VGG-BC", weight_decay=decay) for decay in (0.0, WEIGHT_DECAY)
    )
    assert fingerprint(plain) == fingerprint(recipe(BC_ADAM, "CIFAR-10", "VGG-BC"))
    assert decayed.optimizer.options == {"weight_decay": 1e-5}
    assert fingerprint(plain) != fingerprint(decayed)


def test_a_set_or_a_resolution_may_be_chosen() -> None:
    for one, kind in (
        (SR_ADAM, StochasticOnGrid),
        (R_ADAM, NearestOnGrid),
        (BC_SGD, NearestOnGrid),
    ):
        found = one.quantization(resolution=0.125)
        assert found.quantizer == kind(0.125)
        assert found.latent_bound is None
    assert BC_ADAM.quantization((-2.0, 0.0, 3.0)).latent_bound == 3
    assert SR_SGD.quantization(TERNARY).quantizer == StochasticRounding(TERNARY)
    ternary = recipe(SR_ADAM, levels=TERNARY)
    assert ternary.initial_weights == RandomLevels(exclude=("Linear",), levels=TERNARY)
    parts = recipe(BIG_SR_ADAM, accumulation=8)
    assert parts.batch_size // parts.accumulation == 128


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"dataset = 'MNIST': must be one of CIFAR-10, C"):
        recipe(SR_ADAM, "MNIST")
    with pytest.raises(ConfigurationError, match=r"network = 'VGG-16': must be one of VGG-9, VGG"):
        recipe(SR_ADAM, "CIFAR-10", "VGG-16")


# The methods by hand. Rounding at random consumes the numbers that torch draws with the seed.

SEED = 11


def draws() -> Iterator[Array]:
    generator = torch.Generator().manual_seed(SEED)
    while True:
        yield torch.rand(SIZE, generator=generator, dtype=torch.float64).numpy()


def rounded(weights: Array, uniform: Array, levels: tuple[float, ...]) -> Array:
    """Up with the probability (w - q_k) / (q_{k+1} - q_k)."""
    result = np.empty_like(weights)
    for i, weight in enumerate(np.clip(weights, levels[0], levels[-1])):
        k = max(k for k, level in enumerate(levels[:-1]) if level <= weight)
        low, high = levels[k], levels[k + 1]
        result[i] = high if uniform[i] < (weight - low) / (high - low) else low
    return result


def on_grid(weights: Array, uniform: Array, delta: float) -> Array:
    """Up with the probability w / Delta - k; of the draw u it is the upper 1 - u that counts."""
    low = np.floor(weights / delta)
    return np.asarray((low + (weights / delta - low >= 1 - uniform)) * delta)


Rounding = Callable[[Array], Array]


def stochastic(levels: tuple[float, ...]) -> Rounding:
    numbers = draws()
    return lambda weights: rounded(weights, next(numbers), levels)


def stochastic_on_grid(delta: float) -> Rounding:
    numbers = draws()
    return lambda weights: on_grid(weights, next(numbers), delta)


def to_grid(delta: float) -> Rounding:
    return lambda weights: np.floor(weights / delta + 0.5) * delta


def rounding(direction: Direction, maps: Rounding) -> Iterator[Array]:
    """w <- Q(w - alpha g(w))."""
    weights = maps(START)
    yield weights
    for step in range(STEPS):
        weights = maps(weights - rate(step) * direction(gradient(weights)))
        yield weights


def binary_connect(direction: Direction, maps: Rounding, bound: float) -> Iterator[Array]:
    """w_r <- clip(w_r - alpha g(w_b), -bound, bound)."""
    real = START
    yield maps(real)
    for step in range(STEPS):
        real = np.clip(real - rate(step) * direction(gradient(maps(real))), -bound, bound)
        yield maps(real)


CASES: dict[
    str, tuple[RoundingMethod, dict[str, float], Callable[[Direction], Iterator[Array]]]
] = {
    **{
        f"SR {len(levels)}": (
            SR_ADAM,
            {"levels": levels},
            lambda direction, levels=levels: rounding(direction, stochastic(levels)),
        )
        for levels in (BINARY, TERNARY, QUATERNARY)
    },
    "SR grid": (
        SR_SGD,
        {"resolution": 0.3},
        lambda direction: rounding(direction, stochastic_on_grid(0.3)),
    ),
    "R grid": (R_ADAM, {"resolution": 0.02}, lambda direction: rounding(direction, to_grid(0.02))),
    "R": (
        R_ADAM,
        {"levels": TERNARY},
        lambda direction: rounding(direction, lambda w: nearest(w, TERNARY)),
    ),
    "BC": (
        BC_ADAM,
        {"levels": BINARY},
        lambda direction: binary_connect(direction, lambda w: nearest(w, BINARY), 1.0),
    ),
}


@pytest.mark.parametrize("base", DIRECTIONS)
@pytest.mark.parametrize("name", CASES)
def test_equals_the_formula_alone_and_resumed(name: str, base: str) -> None:
    one, options, by_hand = CASES[name]
    make_direction, algorithm, tolerance = DIRECTIONS[base]
    quantization = one.quantization(**options, exclude=())
    run = Training(quantization, algorithm)
    torch.manual_seed(SEED)  # after the network has drawn its weights, which are replaced
    run.optimizer.refresh()
    trajectory = list(by_hand(make_direction()))
    for step, expected in enumerate(trajectory):
        run.assert_at(expected, None, tolerance)
        if step == STEPS:
            break
        if step == 23:  # goes on in another process
            state, numbers = copy.deepcopy(run.optimizer.state_dict()), torch.get_rng_state()
            run = Training(quantization, algorithm)
            run.optimizer.load_state_dict(state)
            torch.set_rng_state(numbers)
            run.assert_at(expected, None, tolerance)
        run.step()
    moved = np.ptp(np.stack(trajectory), axis=0).max()
    assert moved > 0.1 or name == "R"  # whose steps are shorter than half a gap
    if name == "R":
        assert moved == 0


def grid(seed: int, quantizer: StochasticOnGrid | NearestOnGrid) -> Recipe:
    return method(seed, PROX_QUANT, quantizer)


def test_grids_are_trained_in_a_pack_as_alone() -> None:
    recipes = [
        grid(0, StochasticOnGrid(0.05)),
        grid(1, NearestOnGrid(0.01)),
        grid(2, NearestOnGrid(0.01)),
        method(3, PROX_QUANT, StochasticRounding(BINARY)),
    ]
    for found, each in zip(packed(recipes), recipes, strict=True):
        assert_alike(found, alone(each))
        (record, *_) = found.records
        assert math.isfinite(record.latent_distance)
