"""The paper's settings compared to its appendix. Numbers were read from the paper again."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from quantlab import ConfigurationError, Recipe, fingerprint, flatten
from quantlab.initial_weights import TorchvisionWeights, TrialWeights
from quantlab.papers.proxconnect import (
    BC,
    CIFAR10_END_TO_END_RHO0,
    CIFAR10_FINE_TUNING_RHO0,
    IMAGENET_END_TO_END_RHO0,
    IMAGENET_FINE_TUNING_RHO0,
    METHODS,
    PC,
    PQ,
    RESNET20,
    RESNET56,
    RPC,
    SEEDS,
    SETS,
    Method,
    cifar10,
    cifar10_end_to_end,
    cifar10_fine_tuning,
    cifar10_full_precision,
    imagenet,
    imagenet_end_to_end,
    imagenet_fine_tuning,
)
from quantlab.quantization_sets import BINARY, TERNARY

BUILDERS: dict[str, tuple[Callable[..., Recipe], Any]] = {
    "fine-tuning": (cifar10_fine_tuning, CIFAR10_FINE_TUNING_RHO0),
    "end-to-end": (cifar10_end_to_end, CIFAR10_END_TO_END_RHO0),
}


@pytest.mark.parametrize("model", [RESNET20, RESNET56], ids=lambda model: model.name)
def test_t49_a_cifar_grid_has_181_trials_with_its_pretraining(model: Any) -> None:
    """(3 BC + 3 methods x 3 sets x 3 rho0) x 2 regimes x 3 seeds + 1 (Table 5)."""
    trials = [cifar10_full_precision(model)]
    for build, grid in BUILDERS.values():
        for seed in SEEDS:
            for levels in SETS.values():
                trials.append(build(BC, levels, model=model, seed=seed))
                for method in (PQ, RPC, PC):
                    trials += [
                        build(method, levels, rho0, model, seed=seed) for rho0 in grid[method.name]
                    ]
    assert len({fingerprint(trial) for trial in trials}) == len(trials) == 181


def test_t49_imagenet_has_9_trials_a_regime() -> None:
    """(BC + 2 rho0) x 3 seeds (Table 12)."""
    for build, grid in (
        (imagenet_fine_tuning, IMAGENET_FINE_TUNING_RHO0),
        (imagenet_end_to_end, IMAGENET_END_TO_END_RHO0),
    ):
        trials = [build(BC, seed=seed) for seed in SEEDS]  # type: ignore[operator]
        trials += [build(PC, rho0, seed=seed) for rho0 in grid["PC"] for seed in SEEDS]  # type: ignore[operator]
        assert len({fingerprint(trial) for trial in trials}) == 9


def test_the_papers_own_protocol_holds_nothing_out() -> None:
    recipe = cifar10_fine_tuning(BC, BINARY, dataset=cifar10(validation_images=0))
    assert recipe.dataset.validation_images == 0
    parent = cifar10_full_precision(dataset=cifar10(validation_images=0))
    assert recipe.initial_weights == TrialWeights(fingerprint(parent))
    assert imagenet(validation_images=0).validation_images == 0


def test_images_that_are_held_out_cost_proxquant_a_tenth_of_its_shifts() -> None:
    """Sums of (1 + t/B) 1e-6 over 200 epochs, with B = 352 and 391; rho itself ends the same."""
    shifts = {}
    for images in (45_000, 50_000):
        steps = -(-images // 128)
        schedule = cifar10_fine_tuning(PQ, BINARY, 1e-6).quantization.sharpness  # type: ignore[union-attr]
        shifts[images] = schedule.cumulative(200 * steps, steps)
        assert schedule.at(200 * steps, steps) == pytest.approx(201e-6)
    assert shifts == {
        45_000: pytest.approx(7.11, abs=0.005),
        50_000: pytest.approx(7.90, abs=0.005),
    }
    assert [-(-images // 256) for images in (1_231_167, 1_281_167)] == [4810, 5005]


def test_an_equal_method_has_the_same_optimizer() -> None:
    for method in (BC, PQ, RPC, PC):
        rho0 = 1e-6 if method.annealed else None
        assert cifar10_fine_tuning(replace(method), BINARY, rho0) == cifar10_fine_tuning(
            method, BINARY, rho0
        )


CIFAR10_DATA = {
    "dataset": "CIFAR10",
    "dataset.augmentation.padding": 4,
    "dataset.augmentation.flip": True,
    "dataset.mean": "0.4914, 0.4822, 0.4465",
    "dataset.std": "0.247, 0.243, 0.261",
    "batch_size": 128,
}
IMAGENET_DATA = {
    "dataset": "ImageNet",
    "dataset.crop": 224,
    "dataset.resize": 256,
    "dataset.mean": "0.485, 0.456, 0.406",
    "dataset.std": "0.229, 0.224, 0.225",
    "batch_size": 256,
    "model.architecture": "resnet18",
    "quantization.exclude": "conv1, fc",
    "quantization.quantizer.levels": "-1, 1",
}
SGD = {
    "optimizer.algorithm": "torch.optim.SGD",
    "optimizer.learning_rate.value": 0.1,
    "optimizer.learning_rate.factor": 0.1,
    "optimizer.options.momentum": 0.9,
    "optimizer.options.weight_decay": 1e-4,
}
TWO_STAGES = {"epochs": 200, "batchnorm_epochs": 100}
ADAM = {"optimizer.algorithm": "torch.optim.Adam"}
L_RHO_RHO = {
    "quantization.quantizer": "PiecewiseLinear",
    "quantization.quantizer.rho_scale": 1,
    "quantization.quantizer.varrho_scale": 1,
    "quantization.quantizer.relative": False,
    "quantization.sharpness": "Linear",
    "quantization.sharpness.period": None,
    "quantization.latent_bound": None,
}


@pytest.mark.parametrize(
    ("recipe", "expected"),
    [
        (
            cifar10_full_precision(RESNET56),  # B.1.3
            CIFAR10_DATA
            | SGD
            | {
                "optimizer.learning_rate.milestones": "100, 150",
                "epochs": 200,
                "quantization": None,
                "initial_weights": None,
                "model.depth": 56,
            },
        ),
        *(
            (
                cifar10_fine_tuning(method, TERNARY, rho0),  # B.1.4
                CIFAR10_DATA
                | ADAM
                | TWO_STAGES
                | {
                    "optimizer.learning_rate.value": 0.01,
                    "optimizer.learning_rate.factor": 0.1,
                    "optimizer.learning_rate.milestones": "81, 122",
                    "quantization.rule.gradient_at": gradient_at,
                    "quantization.rule.update_from": update_from,
                    "quantization.quantizer.levels": "-1, 0, 1",
                    "quantization.exclude": "",
                },
            )
            for method, rho0, gradient_at, update_from in (
                (BC, None, "proximal", "latent"),
                (PC, 1e-2, "proximal", "latent"),
                (RPC, 1e-6, "latent", "proximal"),
            )
        ),
        (
            cifar10_fine_tuning(PQ, BINARY, 2e-6),
            ADAM
            | TWO_STAGES
            | L_RHO_RHO
            | {
                "optimizer.learning_rate": "Constant",
                "optimizer.learning_rate.value": 0.01,
                "quantization.rule.gradient_at": "proximal",
                "quantization.rule.update_from": "proximal",
                "quantization.sharpness.rho0": 2e-6,
            },
        ),
        *(
            (
                cifar10_end_to_end(method, BINARY, rho0),  # B.1.5
                CIFAR10_DATA
                | SGD
                | TWO_STAGES
                | {"optimizer.learning_rate.milestones": "100, 150", "initial_weights": None},
            )
            for method, rho0 in ((BC, None), (PQ, 1e-7), (RPC, 1e-5), (PC, 2e-2))
        ),
        (
            imagenet_fine_tuning(PC, 2e-2),  # B.6
            IMAGENET_DATA
            | ADAM
            | L_RHO_RHO
            | {
                "optimizer.learning_rate.value": 1e-4,
                "optimizer.learning_rate.factor": 0.1,
                "optimizer.learning_rate.milestones": "15, 30",
                "initial_weights.name": "ResNet18_Weights.IMAGENET1K_V1",
                "epochs": 45,
                "batchnorm_epochs": 5,
            },
        ),
        (
            imagenet_end_to_end(BC),  # B.7
            IMAGENET_DATA
            | SGD
            | {
                "optimizer.learning_rate.milestones": "30, 60",
                "quantization.quantizer": "Nearest",
                "initial_weights": None,
                "epochs": 80,
                "batchnorm_epochs": 10,
            },
        ),
    ],
)
def test_every_setting_is_the_papers(recipe: Recipe, expected: dict[str, Any]) -> None:
    flat = flatten(recipe)
    assert {path: flat[path] for path in expected} == expected


def test_fine_tuning_names_the_pretraining_it_starts_from() -> None:
    for model in (RESNET20, RESNET56):
        parent = TrialWeights(fingerprint(cifar10_full_precision(model)))
        for seed in SEEDS:
            assert cifar10_fine_tuning(BC, BINARY, model=model, seed=seed).initial_weights == parent
    weights = imagenet_fine_tuning(BC).initial_weights
    assert isinstance(weights, TorchvisionWeights)
    assert weights._weights().url.endswith("resnet18-f37072fd.pth")  # B.5


def test_adam_has_no_weight_decay_and_default_parameters() -> None:
    for recipe in (cifar10_fine_tuning(PC, BINARY, 1e-2), imagenet_fine_tuning(BC)):
        (group,) = recipe.optimizer.build([torch.nn.Parameter(torch.zeros(1))]).param_groups
        assert (group["betas"], group["eps"], group["weight_decay"]) == ((0.9, 0.999), 1e-8, 0)


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_a_method_asks_for_rho0_if_and_only_if_it_has_one(method: Method) -> None:
    with pytest.raises(ConfigurationError, match=r"^rho0 = "):
        method.quantization(BINARY, None if method.annealed else 0.1)
