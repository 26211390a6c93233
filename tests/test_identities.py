"""Identities of recipes that have been given out: these literals never change.

A finished trial is found by its fingerprint. Whoever has to change a line here orphans the results
of everybody who trained that grid.
"""

import dataclasses
import hashlib
import importlib
import inspect
import pkgutil
from collections.abc import Iterable
from enum import Enum

import optuna
import pytest

import quantlab
from quantlab import configuration_id
from quantlab.identity.release import RELEASE
from sweeps.loading import load_study, load_sweep, named_studies, named_sweeps

GRIDS: dict[str, str] = {
    "bytes_gpt": "b3de022edbe30882",
    "bytes_gpt_smoke": "0e5e9f03ff1b7d27",
    "vit_cifar10": "de7aa531031b9a15",
    "cifar10_jpeg_fine_tuning": "50361b9b11260fc9",
    "cifar10_jpeg_smoke": "98e29f5c64357d24",
    "digits": "3165e479e5570cd6",
    "proxconnect": "53da9d01485a6e7f",
    "proxconnect_all_images": "3d2a480ae64c9052",
    "proxconnect_all_images_resnet20": "75545185a08b1782",
    "proxconnect_cifar10": "a0d3c4a9229fe1a9",
    "proxconnect_imagenet": "de2e5b6011052d06",
    "proxconnect_resnet20": "8de9c271e1d325ae",
    "proxconnect_resnet20_end_to_end": "0ecc24f133c38546",
    "proxconnect_resnet20_end_to_end_ternary": "ef77fa3214141fe0",
    "proxconnect_smoke": "63f7e25e1e1d0c89",
    "methods": "f30802423da73976",
    "methods_smoke": "c620a506f986d57a",
    "mirror_descent_binary": "6f9f0bcaaa14e32b",
    "mirror_descent_imagenet": "f94f7fa5f2d3484c",
    "mirror_descent_mobilenet": "b53da4011f64d8f6",
    "mirror_descent_hyperparameters": "2c1f1197c6a9cbd7",
    "mirror_descent_smoke": "56657d46ba3a98e0",
    "mirror_descent_ternary": "9bfaa22e8a7b10cb",
    "quantized_nets": "30e30ff397ee2c5a",
    "quantized_nets_smoke": "9f358a01bc5b28b7",
    "quantized_nets_weight_decay": "d2068f4bf572e4d5",
    "pull_smoke": "bf64248f828205c3",
    "taxonomy": "42142f88ed0abc9a",
    "taxonomy_smoke": "39ca9d8d540e854c",
}
"""Of each grid that ships, SHA-256 over its sorted fingerprints."""

KNOWN_POINTS: dict[str, dict[str, str]] = {
    "cifar10_resnet20_quantizers": {
        "PC": "391902787d202f44",
        "BC": "cc429530e9c07115",
    },
    "digits_bits": {
        "PC binary": "4357b34c31fcdf53",
        "PC ternary": "5f77dceeb8f33853",
        "PC quaternary": "2a0f5e3d878a7fcf",
    },
    "digits_quantizers": {
        "PC": "2f69250a31ca10c0",
        "BC": "6c589b4492677c52",
        "PQ": "76e4b16cfea9e389",
    },
    "digits_untuned": {
        "PC": "0e798705b8e0b048",
    },
    "mirror_descent_search": {
        "Table 8": "871009d06d9df51c",
    },
}
"""Of each study that ships, the configurations of its known points."""


def digest_of_grid(name: str) -> str:
    return digest_of(cell.fingerprint for cell in load_sweep(name).cells)


def digest_of(fingerprints: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(sorted(fingerprints)).encode()).hexdigest()[:16]


def known_points(name: str) -> dict[str, str]:
    spec = load_study(name)
    return {
        label: configuration_id(spec.recipe(optuna.trial.FixedTrial(dict(point))))
        for label, point in spec.known.items()
    }


@pytest.mark.parametrize("name", GRIDS)
def test_fingerprints_of_a_grid(name: str) -> None:
    assert digest_of_grid(name) == GRIDS[name]


def test_the_demo_has_the_trials_that_it_had_with_fewer_values_of_rho0() -> None:
    first = [
        cell.fingerprint
        for cell in load_sweep("digits").cells
        if cell.coordinates.get("rho0") not in ("0.006", "0.6")
    ]
    assert digest_of(first) == "a2d617eba5dca60a"


@pytest.mark.parametrize("name", KNOWN_POINTS)
def test_known_points_of_a_study(name: str) -> None:
    assert known_points(name) == KNOWN_POINTS[name]


def test_everything_that_ships_stands_here() -> None:
    assert set(named_sweeps()) == set(GRIDS)
    assert set(named_studies()) == set(KNOWN_POINTS)


def test_the_release_lists_its_public_classes_and_functions() -> None:
    """What is not listed counts by its source, and its identity changes with any change of it."""
    found: dict[str, list[str]] = {}
    for info in pkgutil.walk_packages(quantlab.__path__, "quantlab."):
        module = importlib.import_module(info.name)
        for name, member in inspect.getmembers(module):
            is_definition = inspect.isclass(member) or inspect.isfunction(inspect.unwrap(member))
            if is_definition and member.__module__ == info.name and not name.startswith("_"):
                found.setdefault(info.name, []).append(name)
    listed = {module: sorted(names.split()) for module, names in RELEASE.items()}
    missing = {
        module: [name for name in names if name not in listed.get(module, [])]
        for module, names in found.items()
    }
    assert not {module: names for module, names in missing.items() if names}, (
        "list these in quantlab/identity/release.py, under their module"
    )


def test_a_name_of_a_dataclass_has_one_meaning() -> None:
    """Identities drop the module."""
    found: dict[str, str] = {}
    for info in pkgutil.walk_packages(quantlab.__path__, "quantlab."):
        for name, kind in inspect.getmembers(importlib.import_module(info.name), inspect.isclass):
            if kind.__module__ == info.name and (
                dataclasses.is_dataclass(kind) or issubclass(kind, Enum)
            ):
                assert name not in found, f"{name} is in {found[name]} and in {info.name}"
                found[name] = info.name
