"""Every method of the papers in a pack of mixed methods, and on a real network."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
import torch

from quantlab import OptimizerSpec, Quantization, Recipe
from quantlab.models.convnet import ConvNet
from quantlab.packs.compatibility import pack_key
from quantlab.papers import proxconnect
from quantlab.papers.mirror_descent import (
    BC_MASKED,
    GD_TANH,
    MD_SOFTMAX,
    MD_SOFTMAX_S,
    MD_TANH,
    MD_TANH_S,
    PMF,
    PMF_AUTHORS,
    Algorithm,
)
from quantlab.papers.mirror_descent_settings import Setting
from quantlab.papers.newer_methods import NEWER_METHODS, FreeNumber
from quantlab.papers.scaled_methods import SCALED_METHODS
from quantlab.quantization_sets import BINARY, TERNARY
from quantlab.schedules import Constant, Staircase
from quantlab.update_rules import POST_TRAINING
from tests.quantlab.packs.test_packs import (
    FEW_DIGITS,
    STEPS_PER_EPOCH,
    Double,
    alone,
    assert_alike,
    packed,
)

EPOCHS = 5
RATES = {torch.optim.SGD: 0.05, torch.optim.Adam: 0.01}
SETTING = Setting(1.0, beta_scale=1.3, beta_scale_interval=4)
NUMBERS = {
    FreeNumber.NONE: None,
    FreeNumber.STEEPNESS: 2.0,
    FreeNumber.ORDER: 3.0,
    FreeNumber.GAMMA: 0.8,
    FreeNumber.LAMBDA: 2.0,
}


def quantizations(rate: Staircase) -> list[Quantization]:
    """Every method, with different sets."""
    algorithms = (
        MD_TANH, MD_TANH_S, MD_SOFTMAX, MD_SOFTMAX_S, GD_TANH, PMF, PMF_AUTHORS, BC_MASKED
    )  # fmt: skip
    return [
        *(
            method.quantization(levels, SETTING)
            for method in algorithms
            for levels in (BINARY, TERNARY)
        ),
        *(
            method.quantization(
                BINARY if method.binary else TERNARY,
                NUMBERS[method.free],
                learning_rate=rate,
                epochs=EPOCHS,
                steps_per_epoch=STEPS_PER_EPOCH,
                rho0=0.03,
            )
            for method in NEWER_METHODS
        ),
        *(
            replace(method.quantization(BINARY, 0.02), pull=pull)
            for method, pull in ((proxconnect.PC, 0.3), (proxconnect.PC, None))
        ),
        # PQ applies its map again and again to the same weight. A steep one would multiply the
        # difference of two ways to add up, which depends on the processor, at every step.
        proxconnect.PQ.quantization(TERNARY, 0.002),
        replace(proxconnect.PC.quantization(TERNARY, 0.02), rule=POST_TRAINING, pull=0.1),
    ]


def scaled_quantizations(rate: Staircase) -> list[Quantization]:
    """Every method with a scale, on its smallest and on its largest set."""
    return [
        method.quantization(num_levels, learning_rate=rate, epochs=EPOCHS, rho0=0.05, rate=2.0)
        for method in SCALED_METHODS
        for num_levels in sorted({len(method.sets[0]), len(method.sets[-1])})
    ]


def recipes(
    algorithm: type[torch.optim.Optimizer],
    quantizations: Callable[[Staircase], list[Quantization]] = quantizations,
) -> Sequence[Recipe]:
    rate = Staircase(RATES[algorithm], 0.5, 2 * STEPS_PER_EPOCH)
    options = {"momentum": 0.9} if algorithm is torch.optim.SGD else {}
    return [
        Recipe(
            model=Double(ConvNet(width=3)),
            dataset=replace(FEW_DIGITS, train_images=16 * STEPS_PER_EPOCH),
            optimizer=OptimizerSpec(algorithm=algorithm, learning_rate=rate, options=options),
            quantization=quantization,
            epochs=EPOCHS,
            batchnorm_epochs=1,
            batch_size=16,
            seed=seed,
        )
        for seed, quantization in enumerate(quantizations(rate))
    ]


@pytest.mark.parametrize(
    ("algorithm", "tolerance"), [(torch.optim.SGD, 1e-12), (torch.optim.Adam, 1e-8)]
)
def test_each_method_is_trained_in_a_mixed_pack_as_alone(
    algorithm: type[torch.optim.Optimizer], tolerance: float
) -> None:
    packs: dict[int, list[Recipe]] = {}
    for recipe in recipes(algorithm):
        assert recipe.quantization is not None
        packs.setdefault(recipe.quantization.quantizer.num_latents, []).append(recipe)
    sizes = {latents: len(members) for latents, members in packs.items()}
    assert sizes == {1: 19, 2: 4, 3: 4}
    for members in packs.values():
        for found, recipe in zip(packed(members), members, strict=True):
            assert_alike(found, alone(recipe), tolerance)


@pytest.mark.parametrize(
    ("algorithm", "tolerance", "sizes"),
    [(torch.optim.SGD, 1e-12, [1, 2, 2, 3, 7]), (torch.optim.Adam, 1e-8, [1, 2, 2])],
)
def test_each_method_with_a_scale_is_trained_in_a_mixed_pack_as_alone(
    algorithm: type[torch.optim.Optimizer], tolerance: float, sizes: list[int]
) -> None:
    """With Adam only those that learn numbers, which have moments as well."""
    packs: dict[str, list[Recipe]] = {}
    for recipe in recipes(algorithm, scaled_quantizations):
        own = recipe.quantization
        assert own is not None
        assert own.scale is not None
        if algorithm is torch.optim.SGD or own.scale.num_learned(own.quantizer.levels):
            packs.setdefault(pack_key(recipe), []).append(recipe)
    assert sorted(map(len, packs.values())) == sizes
    for members in packs.values():
        for found, recipe in zip(packed(members), members, strict=True):
            assert_alike(found, alone(recipe), tolerance)


def binary(method: Algorithm, seed: int) -> Recipe:
    """With Adam."""
    rate = OptimizerSpec(algorithm=torch.optim.Adam, learning_rate=Constant(0.01))
    return replace(
        recipes(torch.optim.Adam)[0],
        optimizer=rate,
        quantization=method.quantization(BINARY, SETTING),
        batchnorm_epochs=0,
        seed=seed,
    )


def test_t40_exponentiated_gradient_descent_is_exact_tanh_descent_with_adam() -> None:
    """For binary weights on a real network: Adam's direction does not know the factor of 2."""
    for seed in (0, 1):
        found, expected = alone(binary(MD_SOFTMAX, seed)), alone(binary(MD_TANH, seed))
        for own, other in zip(found.records, expected.records, strict=True):
            assert own.train_loss == pytest.approx(other.train_loss, rel=1e-9)
            assert own.validation_accuracy_hard == other.validation_accuracy_hard
        for name, weight in found.weights.items():
            torch.testing.assert_close(weight, expected.weights[name], rtol=1e-9, atol=1e-9)
