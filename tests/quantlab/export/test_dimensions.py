"""Networks of other data than images: their files have the dimensions of the data."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from quantlab import ConfigurationError
from quantlab.export import load, read, save
from quantlab.models.he_scales import HeScales
from quantlab.models.learned_scales import LearnedScales
from quantlab.models.mlp import MLP
from quantlab.tasks.dimensions import Dimensions
from tests.quantlab.recipes import quantized

VECTORS = Dimensions(3, (6,), torch.float64, (3,), torch.float64)
TEXT = Dimensions(256, (16,), torch.int64, (16,))


@pytest.mark.parametrize("model", [MLP(), HeScales(base=MLP()), LearnedScales(base=MLP())])
def test_a_network_for_arrays_comes_back(model: MLP, tmp_path: Path) -> None:
    recipe = quantized(model=model)
    weights = model.build_for(VECTORS).state_dict()
    file = save(tmp_path / "net", recipe, weights, dimensions=VECTORS)
    assert file.dimensions == read(tmp_path / "net").dimensions == VECTORS
    state = load(tmp_path / "net").state_dict()
    assert state.keys() == weights.keys()
    assert all(torch.equal(state[name], value) for name, value in weights.items())
    # One of images is built from two numbers, as in files of before.
    images = Dimensions(10, (1, 8, 8))
    weights = model.build_for(images).state_dict()
    one = save(tmp_path / "one", recipe, weights, dimensions=images)
    other = save(tmp_path / "other", recipe, weights, num_classes=10)
    assert one.dimensions is None
    assert one.to_bytes() == other.to_bytes()
    assert load(tmp_path / "one").state_dict().keys() == weights.keys()


@pytest.mark.parametrize("dimensions", [VECTORS, TEXT, Dimensions(10, (3, 32, 32))], ids=str)
def test_dimensions_are_a_line(dimensions: Dimensions) -> None:
    assert Dimensions.from_json(dimensions.to_json()) == dimensions


@pytest.mark.parametrize(
    "changes",
    [
        {"outputs": 0},
        {"outputs": True},
        {"outputs": "3"},
        {"input": [6, -1]},
        {"input": [2**40]},
        {"input": 6},
        {"input": [1] * 9},
        {"input_type": "object"},
        {"target_type": ["float32"]},
        {"target": None},
    ],
    ids=str,
)
def test_dimensions_of_anybody_are_checked(changes: dict[str, object], tmp_path: Path) -> None:
    recipe = quantized(model=MLP())
    weights = MLP().build_for(VECTORS).state_dict()
    file = save(tmp_path / "net", recipe, weights, dimensions=VECTORS)
    text = json.dumps(json.loads(VECTORS.to_json()) | changes)
    with pytest.raises(ValueError, match="the dimensions"):
        Dimensions.from_json(text)

    class Faulty(Dimensions):
        def to_json(self) -> str:
            return text

    (tmp_path / "net").write_bytes(replace(file, dimensions=Faulty(**vars(VECTORS))).to_bytes())
    with pytest.raises(ConfigurationError, match="is not an exported network as this release"):
        load(tmp_path / "net")
