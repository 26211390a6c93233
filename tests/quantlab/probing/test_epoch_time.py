"""The time of an epoch, measured or estimated from a part of it."""

from pathlib import Path

import pytest

from quantlab import ConfigurationError, Distillation
from quantlab.initial_weights import TrialWeights
from quantlab.probing.epoch_time import measure_epoch
from tests.quantlab.recipes import quantized, small_recipe


@pytest.mark.parametrize("seconds", [0.0, 0.1])  # an epoch is longer, or shorter
@pytest.mark.parametrize("count", [1, 2])
def test_the_epoch_of_a_trial_or_a_pack(tmp_path: Path, seconds: float, count: int) -> None:
    taught = Distillation(teacher=TrialWeights("0123456789abcdef"))  # that do not exist yet
    recipes = [quantized(distillation=taught, seed=seed) for seed in range(count)]
    found = measure_epoch(recipes, data_dir=tmp_path, seconds=seconds)
    assert (found.steps, found.images) == (7, 200)
    assert 1e-5 < found.seconds < 60


def test_a_single_epoch_of_a_single_step(tmp_path: Path) -> None:
    found = measure_epoch([small_recipe(epochs=1, batch_size=200)], data_dir=tmp_path, seconds=0.1)
    assert found.steps == 1
    assert 1e-5 < found.seconds < 60


def test_recipes_that_cannot_be_a_pack_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="batch_size"):
        measure_epoch([small_recipe(), small_recipe(batch_size=10)], data_dir=tmp_path)
