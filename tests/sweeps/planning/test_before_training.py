"""What is said of networks, and refused, before they are trained."""

from dataclasses import replace
from pathlib import Path

import pytest

from quantlab import Averaging, ConfigurationError, override
from quantlab.models.mlp import MLP
from sweeps.planning.before_training import check_networks
from tests.quantlab.recipes import SMALL_DIGITS, quantized, small_recipe


def test_each_note_is_said_once(tmp_path: Path) -> None:
    excluded = override(quantized(), "quantization.exclude", ("conv1",))
    recipes = [replace(excluded, seed=seed, epochs=3 + seed) for seed in range(3)]
    (line,) = check_networks([*recipes, small_recipe(), quantized()], tmp_path)
    assert line.startswith("ConvNet: 36 of 980 weights stay in full precision: conv1.weight (36);")
    averaged = override(quantized(), "quantization.averaging", Averaging())
    (line,) = check_networks([averaged, averaged], tmp_path)
    assert line.startswith("ConvNet: quantization.averaging:")
    assert not check_networks(
        [override(averaged, "quantization.reestimate_batchnorm", True)], tmp_path
    )


def test_a_last_batch_of_one_is_refused(tmp_path: Path) -> None:
    recipe = small_recipe(model=MLP(hidden=(8,)), batch_size=199)
    with pytest.raises(ConfigurationError, match=r"batch_size = 199: the last batch of 200 train"):
        check_networks([recipe], tmp_path)
    all_of_them = replace(recipe, dataset=replace(SMALL_DIGITS, train_images=None))
    images = all_of_them.dataset.count_train_images(tmp_path)
    assert images is not None
    with pytest.raises(ConfigurationError, match=f"the last batch of {images} "):
        check_networks([replace(all_of_them, batch_size=images - 1)], tmp_path)
    assert not check_networks([replace(recipe, batch_size=50)], tmp_path)
