"""Files of networks from somebody's own loop."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch

from quantlab import ConfigurationError, Point, Quantization
from quantlab.export import load, read, save_module
from quantlab.quantization_sets import TERNARY
from quantlab.quantizers.piecewise_linear import PiecewiseLinear
from quantlab.quantizers.unbounded.grid import NearestOnGrid
from quantlab.scales.absolute_mean import AbsoluteMean
from quantlab.scales.trained_ternary import TrainedTernary
from quantlab.update_rules import PROX_CONNECT
from tests.quantlab.optim.standalone.loops import Net, are_equal, batches, prox, train

KINDS: dict[str, dict[str, Any]] = {
    "a set": {},
    "a scale": {"scale": AbsoluteMean(per="channel")},
    "learned numbers": {"scale": TrainedTernary()},
    "a grid": {"quantizer": NearestOnGrid(0.05)},
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_has_the_hard_weights_bit_for_bit(kind: str, tmp_path: Path) -> None:
    settings = {"rule": PROX_CONNECT, "quantizer": PiecewiseLinear(TERNARY), **KINDS[kind]}
    model, other = Net(), Net()
    model.second.weight = model.first.weight
    other.second.weight = other.first.weight
    ours = prox(model, Quantization(**settings))
    train(model, ours, batches(4))
    before = copy.deepcopy(model)
    file = save_module(tmp_path / "net.safetensors", torch.compile(model), ours)
    assert are_equal(model, before)
    assert list(file.coded) == ["first.weight", "head.weight"]
    loaded = load(tmp_path / "net.safetensors", into=other)
    with ours.weights_at(Point.HARD):
        assert are_equal(model, loaded)
    assert read(tmp_path / "net.safetensors").state_dict().keys() == file.state_dict().keys()
    assert {of.num_rows for of in file.coded.values()} == ({5, 3} if kind == "a scale" else {1})
    with pytest.raises(ConfigurationError, match=r"no recipe with a model.*into=network"):
        load(tmp_path / "net.safetensors")


def test_the_network_must_be_that_of_the_optimizer(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"model: Net does not have first\.weight"):
        save_module(tmp_path / "net.safetensors", Net(), prox(Net()))
    assert not list(tmp_path.iterdir())
