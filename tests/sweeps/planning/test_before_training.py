"""Notes on networks, and networks that are refused, before they are trained."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from torch import nn

from quantlab import Averaging, ConfigurationError, Recipe, override
from quantlab.models.mlp import MLP
from sweeps.planning.preflight import preflight
from sweeps.spec import Block, SweepSpec
from sweeps.storage import Storage
from tests.quantlab.recipes import SMALL_DIGITS, quantized, small_recipe


def notes(recipes: Sequence[Recipe], folder: Path) -> list[str]:
    blocks = [
        Block(f"b{place}", base=recipe, seeds=(recipe.seed,))
        for place, recipe in enumerate(recipes)
    ]
    sweep = SweepSpec(name="notes", blocks=tuple(blocks), seeds=(0,))
    return preflight(list(sweep.cells), Storage(folder), folder)


def test_each_note_is_given_once(tmp_path: Path) -> None:
    excluded = override(quantized(), "quantization.exclude", ("conv1",))
    recipes = [replace(excluded, seed=seed, epochs=3 + seed) for seed in range(3)]
    (line,) = notes([*recipes, small_recipe(), quantized()], tmp_path)
    assert line == (
        "ConvNet: 36 of 980 weights stay in full precision: in quantization.exclude: "
        "conv1.weight (36)"
    )
    averaged = override(quantized(), "quantization.averaging", Averaging())
    (line,) = notes([quantized(), averaged, replace(averaged, seed=1)], tmp_path)
    assert line.startswith("ConvNet: quantization.averaging:")
    assert not notes([override(averaged, "quantization.reestimate_batchnorm", True)], tmp_path)


def test_a_last_batch_of_one_is_refused(tmp_path: Path) -> None:
    recipe = small_recipe(model=MLP(hidden=(8,)), batch_size=199)
    fitting = replace(recipe, batch_size=50)
    with pytest.raises(ConfigurationError, match=r"batch_size = 199: the last batch of 200 train"):
        notes([fitting, recipe], tmp_path)
    all_of_them = replace(recipe, dataset=replace(SMALL_DIGITS, train_images=None))
    images = all_of_them.dataset.count_train_images(tmp_path)
    assert images is not None
    with pytest.raises(ConfigurationError, match=f"the last batch of {images} "):
        notes([replace(all_of_them, batch_size=images - 1)], tmp_path)
    assert not notes([fitting], tmp_path)


@dataclass(frozen=True)
class Counting(MLP):
    """Counts how often it is built."""

    def build(self, *, num_classes: int, num_channels: int) -> nn.Module:
        BUILT.append(self.hidden)
        return super().build(num_classes=num_classes, num_channels=num_channels)


BUILT: list[tuple[int, ...]] = []


def test_a_network_is_built_once(tmp_path: Path) -> None:
    BUILT.clear()
    model = Counting(hidden=(8,))
    recipe = quantized(model=model, batch_size=199)
    with pytest.raises(ConfigurationError, match="the last batch of 200"):
        notes([recipe, replace(recipe, seed=1), replace(recipe, batch_size=50)], tmp_path)
    assert BUILT == [(8,)]
