"""Quantized tensors of torchao have the same weights, and networks with them the same outputs."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from quantlab import ConfigurationError
from quantlab.export import load, read, save
from quantlab.export.torchao_tensors import to_torchao
from quantlab.models.convnet import ConvNet
from quantlab.quantization_sets import TERNARY
from quantlab.quantizers.nearest import Nearest
from quantlab.recipe import WeightGroup
from quantlab.scales.absolute_mean import AbsoluteMean
from quantlab.scales.trained_ternary import TrainedTernary
from tests.quantlab.export.test_network import BC, trained
from tests.quantlab.recipes import small_recipe

EACH = replace(
    BC,
    groups=(
        WeightGroup(
            layers=("conv1",), quantizer=Nearest(TERNARY), scale=AbsoluteMean(per="channel")
        ),
        WeightGroup(layers=("conv2",), quantizer=Nearest((-0.1, -0.03, 0.03, 0.1))),
        WeightGroup(layers=("conv3",), quantizer=Nearest(TERNARY), scale=TrainedTernary()),
    ),
)
"""Two layers whose levels are multiples of a number, two whose levels are not, and a binary one."""


def test_outputs_are_equal(tmp_path: Path) -> None:
    torchao = pytest.importorskip("torchao.quantization")
    run = trained(small_recipe(model=ConvNet(width=8), quantization=EACH, epochs=1))
    path = tmp_path / "network"
    save(path, run.recipe, run.final_weights(), num_classes=10)
    network, plain = load(path), load(path)
    assert to_torchao(network, read(path)) == ["conv1.weight", "linear.weight"]
    for name, parameter in plain.named_parameters():
        other = network.get_parameter(name)
        if name in ("conv1.weight", "linear.weight"):
            assert isinstance(other, torchao.IntxUnpackedToInt8Tensor)
            assert other.target_dtype is torch.int2
            assert torch.equal(other.dequantize(), parameter)
        else:
            assert torch.equal(other, parameter)
    images = torch.randn(5, 1, 8, 8)
    with torch.no_grad():
        assert torch.equal(network(images), plain(images))


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "torchao.quantization", None)
    monkeypatch.setitem(sys.modules, "torchao", None)
    recipe = small_recipe(quantization=BC)
    weights = recipe.model.build(num_classes=10, num_channels=1).state_dict()
    file = save(tmp_path / "network", recipe, weights, num_classes=10)
    with pytest.raises(ConfigurationError, match="need the package torchao"):
        to_torchao(load(tmp_path / "network"), file)
