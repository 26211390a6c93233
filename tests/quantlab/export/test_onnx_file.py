"""ONNX files have the same weights to the last bit, and nearly the same outputs."""

import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from quantlab import ConfigurationError, Quantization
from quantlab.export.network import finished_network, network_file
from quantlab.export.onnx_file import onnx_bytes
from quantlab.models.convnet import ConvNet
from quantlab.models.learned_scales import LearnedScales
from quantlab.models.mlp import MLP
from quantlab.quantization_sets import BINARY, QUATERNARY, TERNARY
from quantlab.quantizers.nearest import Nearest
from quantlab.recipe import WeightGroup
from quantlab.scales.absolute_mean import AbsoluteMean
from quantlab.scales.trained_ternary import TrainedTernary
from quantlab.update_rules import PROX_CONNECT
from tests.quantlab.export.test_network import trained
from tests.quantlab.recipes import small_recipe

BC = Quantization(rule=PROX_CONNECT, quantizer=Nearest(BINARY))
EACH = replace(
    BC,
    exclude=("conv1",),
    groups=(
        WeightGroup(
            layers=("conv2",), quantizer=Nearest(TERNARY), scale=TrainedTernary(per="channel")
        ),
        WeightGroup(
            layers=("conv3",), quantizer=Nearest(QUATERNARY), scale=AbsoluteMean(per="channel")
        ),
    ),
)
"""A layer in full precision, one with a table for each channel, one with scales, one binary."""


@pytest.mark.parametrize(
    "recipe",
    [
        small_recipe(model=ConvNet(width=8), quantization=EACH, epochs=1),
        small_recipe(model=LearnedScales(base=MLP(hidden=(9,))), quantization=BC, epochs=1),
    ],
    ids=["levels of rows", "learned scales"],
)
def test_weights_are_equal_and_outputs_are_close(recipe: object) -> None:
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    run = trained(recipe)  # type: ignore[arg-type]
    weights = run.final_weights()
    file = network_file(run.recipe, weights, num_classes=10)
    network = finished_network(run.recipe, weights, num_classes=10)
    content = onnx_bytes(file, network, (1, 8, 8))
    model = onnx.load_model_from_string(content)
    stored = {value.name: value for value in model.graph.initializer}
    for name, of in file.coded.items():
        model.graph.output.append(
            onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, of.shape)
        )
        codes = onnx.numpy_helper.to_array(stored[f"{name}.codes"])
        assert codes.tobytes() == of.packed.numpy().tobytes()
        assert name not in stored
    images = torch.randn(5, 1, 8, 8)
    session = runtime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    logits, *given = session.run(None, {"images": images.numpy()})
    for name, found in zip(file.coded, given, strict=True):
        assert found.tobytes() == weights[name].numpy().tobytes(), name
    with torch.no_grad():
        np.testing.assert_allclose(logits, network(images).numpy(), rtol=1e-4, atol=1e-5)
    assert [prop.value for prop in model.metadata_props] == [file.recipe]


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    recipe = small_recipe(quantization=BC)
    network = recipe.model.build(num_classes=10, num_channels=1)
    file = network_file(recipe, network.state_dict(), num_classes=10)
    with pytest.raises(ConfigurationError, match=r"need the package onnx; install it with"):
        onnx_bytes(file, network, (1, 8, 8))
