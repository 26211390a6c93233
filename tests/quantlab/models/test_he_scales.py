"""Layers with a constant scale: their weights act as weights times sqrt(2 / fan-in)."""

import math
from typing import Any

import pytest
import torch
from torch import nn

from quantlab import ConfigurationError
from quantlab.canonical import canonical_key
from quantlab.models.base import ScaledLayers
from quantlab.models.convnet import ConvNet
from quantlab.models.he_scales import HeScales
from quantlab.models.learned_scales import LearnedScales
from quantlab.models.torchvision_model import TorchvisionModel
from quantlab.models.vgg import VGG16
from quantlab.models.weights import quantized_weights
from quantlab.packs.network import Stacking
from quantlab.packs.stacking import choose_stacking


def test_weights_act_as_scaled_weights_and_biases_as_they_are() -> None:
    """Logits and gradients, of convolutions and linear layers that have biases."""
    torch.manual_seed(0)
    base = VGG16(width=4)
    scaled = HeScales(base=base).build(num_classes=10, num_channels=3).double()
    plain = base.build(num_classes=10, num_channels=3).double()
    plain.load_state_dict(scaled.state_dict())
    scales = {}
    for name, module in plain.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            inputs = module.weight.shape[1:].numel()
            scales[f"{name}.weight"] = math.sqrt(2 / inputs)
            with torch.no_grad():
                module.weight.mul_(scales[f"{name}.weight"])
    assert len(scales) == 16
    images = torch.randn(4, 3, 8, 8, dtype=torch.float64)
    logits, expected = scaled(images), plain(images)
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-5)
    logits.square().sum().backward()
    expected.square().sum().backward()
    for name, parameter in scaled.named_parameters():
        gradient = plain.get_parameter(name).grad
        assert gradient is not None
        torch.testing.assert_close(
            parameter.grad, scales.get(name, 1.0) * gradient, rtol=1e-5, atol=1e-5
        )


def test_layers_can_be_excluded() -> None:
    model = HeScales(base=ConvNet(width=4), exclude=("conv1", "Linear")).build(
        num_classes=10, num_channels=1
    )
    scaled = [name for name, _ in model.named_modules() if name.endswith("he_scale")]
    assert scaled == ["conv2.he_scale", "conv3.he_scale"]


def test_the_state_dict_and_the_quantized_weights_are_those_without_scales() -> None:
    """Pretrained weights of torchvision can be loaded (mirror-descent paper, Table 4)."""
    base = TorchvisionModel("resnet18")
    with torch.device("meta"):
        plain = base.build(num_classes=10, num_channels=3)
        scaled = HeScales(base=base).build(num_classes=10, num_channels=3)
    assert list(scaled.state_dict()) == list(plain.state_dict())
    for exclude in ((), ("conv1", "fc")):
        assert list(quantized_weights(scaled, exclude)) == list(quantized_weights(plain, exclude))


@pytest.mark.parametrize("exclude", [(), ("Linear",)])
def test_packs_do_not_fold_scaled_layers(exclude: tuple[str, ...]) -> None:
    """A folded pack may replace a layer, and with it the scale."""
    model = HeScales(base=ConvNet(width=4), exclude=exclude).build(num_classes=10, num_channels=1)
    assert choose_stacking(model, (1, 8, 8)) is Stacking.VMAP


def test_name_and_base() -> None:
    assert HeScales(base=ConvNet()).name == "ConvNet with He scales"
    with pytest.raises(ConfigurationError, match=r"HeScales\.base = 'resnet18': must be an inst"):
        HeScales(base="resnet18")  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [HeScales, LearnedScales])
@pytest.mark.parametrize("wrong", ["*", "fc", "", 3, None, (1,)], ids=repr)
def test_patterns_are_a_sequence_of_text(kind: type[ScaledLayers], wrong: Any) -> None:
    """A text is not read letter by letter."""
    with pytest.raises(
        ConfigurationError, match=rf"{kind.__name__}\.exclude = .*: must be a sequence of patterns"
    ):
        kind(base=ConvNet(width=4), exclude=wrong)


@pytest.mark.parametrize("kind", [HeScales, LearnedScales])
def test_a_pattern_without_a_match_is_named_with_its_field(kind: type[ScaledLayers]) -> None:
    spec = kind(base=ConvNet(width=4), exclude=("fc",))
    with pytest.raises(
        ConfigurationError, match=rf"^{kind.__name__}\.exclude: 'fc' matches no layer; must match a"
    ):
        spec.build(num_classes=10, num_channels=1)
    listed: Any = ["Linear"]
    assert canonical_key(kind(base=spec.base, exclude=listed)) == canonical_key(
        kind(base=spec.base, exclude=("Linear",))
    )
