import pytest
import torch

from quantlab import ConfigurationError
from quantlab.models import ModelSpec
from quantlab.models.convnet import ConvNet, SignalConvNet
from quantlab.models.resnet import ResNet
from quantlab.models.weights import quantized_weights


@pytest.mark.parametrize(
    ("depth", "parameters", "quantized"), [(20, 269_722, 268_336), (56, 853_018, 848_944)]
)
def test_t51_parameter_counts_of_the_cifar_resnets(
    depth: int, parameters: int, quantized: int
) -> None:
    model = ResNet(depth=depth).build(num_classes=10, num_channels=3)
    assert sum(p.numel() for p in model.parameters()) == parameters
    weights = quantized_weights(model)
    assert sum(p.numel() for p in weights.values()) == quantized
    assert len(weights) == depth
    assert list(weights)[-1] == "linear.weight"


@pytest.mark.parametrize("spec", [ConvNet(width=4), ResNet(depth=8, width=4)], ids=str)
def test_models_give_logits(spec: ModelSpec) -> None:
    model = spec.build(num_classes=7, num_channels=3)
    assert model(torch.randn(2, 3, 32, 32)).shape == (2, 7)


def test_names() -> None:
    assert ResNet(depth=56).name == "ResNet56"
    assert ResNet(depth=8, width=8).name == "ResNet8-w8"


@pytest.mark.parametrize("depth", [7, 9, 2, 21])
def test_impossible_depths_are_named(depth: int) -> None:
    with pytest.raises(ConfigurationError, match=rf"ResNet\.depth = {depth}: must be 6n \+ 2"):
        ResNet(depth=depth)


def test_a_signal_is_an_image_of_one_row() -> None:
    signals = SignalConvNet(width=4, kernel_size=3).build(num_classes=5, num_channels=2)
    images = ConvNet(width=4).build(num_classes=5, num_channels=2)
    rows = {
        name: value[:, :, None].expand(-1, -1, 3, -1) if value.dim() == 3 else value
        for name, value in signals.state_dict().items()
    }
    images.load_state_dict(rows)
    x = torch.randn(6, 2, 11)
    torch.testing.assert_close(signals(x), images(x[:, :, None]))


def test_a_kernel_of_even_length_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"kernel_size = 4: must be an odd number >= 1"):
        SignalConvNet(kernel_size=4)
