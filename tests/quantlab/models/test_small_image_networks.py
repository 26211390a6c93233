"""The networks of the mirror-descent paper, compared with torchvision's and counted by hand."""

import hashlib
import math

import pytest
import torch
import torchvision.models
from torch import nn

from quantlab import ConfigurationError
from quantlab.models.base import NormalizedModel
from quantlab.models.mobilenet_v2 import MobileNetV2
from quantlab.models.resnet import ResNet18
from quantlab.models.vgg import VGG16
from quantlab.models.weights import quantized_weights
from quantlab.packs.network import Stacking
from quantlab.packs.stacking import choose_stacking

NETWORKS = (VGG16, ResNet18, MobileNetV2)
SMALL = (VGG16(width=4), ResNet18(width=4), ResNet18(width=4, stem_stride=2), MobileNetV2())


def built(spec: NormalizedModel, *, num_classes: int = 10) -> nn.Module:
    torch.manual_seed(0)
    return spec.build(num_classes=num_classes, num_channels=3)


@pytest.mark.parametrize(
    ("spec", "parameters", "of_normalization", "quantized", "layers"),
    [
        (VGG16(), 15_255_626, 10_496, 15_239_872, 16),
        (ResNet18(), 11_173_962, 9_600, 11_164_352, 21),
        (MobileNetV2(), 2_236_682, 34_112, 2_202_560, 53),
    ],
    ids=str,
)
def test_parameter_counts(
    spec: NormalizedModel, parameters: int, of_normalization: int, quantized: int, layers: int
) -> None:
    """From the papers' tables of layers: 13 + 3, 1 + 16 + 3 + 1, and 1 + 50 + 1 + 1 layers."""
    with torch.device("meta"):
        affine, plain = spec, type(spec)(affine=False)
        counts = [
            sum(parameter.numel() for parameter in built(each).parameters())
            for each in (affine, plain)
        ]
        weights = quantized_weights(built(plain))
    assert counts == [parameters, parameters - of_normalization]
    assert (sum(weight.numel() for weight in weights.values()), len(weights)) == (quantized, layers)


@pytest.mark.parametrize("spec", SMALL, ids=str)
@pytest.mark.parametrize("size", [8, 32, 64])
def test_images_of_several_sizes_give_logits(spec: NormalizedModel, size: int) -> None:
    with torch.device("meta"):
        model = built(spec, num_classes=7)
        assert model(torch.empty(2, 3, size, size)).shape == (2, 7)


@pytest.mark.parametrize(
    ("spec", "last", "size", "features"),
    [
        (VGG16(width=4), "features", 32, 1),
        (ResNet18(width=4), "layer4", 32, 4),
        (ResNet18(width=4, stem_stride=2), "layer4", 64, 4),
        (MobileNetV2(), "bn2", 32, 4),
    ],
    ids=str,
)
def test_size_of_the_last_features(
    spec: NormalizedModel, last: str, size: int, features: int
) -> None:
    shapes: list[torch.Size] = []
    with torch.device("meta"):
        model = built(spec)
        model.get_submodule(last).register_forward_hook(
            lambda layer, inputs, output: shapes.append(output.shape[2:])
        )
        model(torch.empty(2, 3, size, size))
    assert shapes == [(features, features)]


@pytest.mark.parametrize("kind", NETWORKS)
def test_without_learnable_normalization_nothing_else_changes(kind: type[NormalizedModel]) -> None:
    small = {} if kind is MobileNetV2 else {"width": 4}
    affine, plain = built(kind(**small)), built(kind(**small, affine=False))
    norms = [m for m in plain.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
    assert norms
    assert not [name for norm in norms for name, _ in norm.named_parameters()]
    state = plain.state_dict()
    assert all(torch.equal(state[name], affine.state_dict()[name]) for name in state)
    images = torch.randn(4, 3, 8, 8)
    assert torch.equal(affine(images), plain(images))


def random_statistics(model: nn.Module) -> nn.Module:
    """The network in evaluation mode, with running statistics and scales away from 0 and 1."""
    for name, value in model.state_dict().items():
        if value.dim() == 1 and value.is_floating_point():
            if name.endswith(("running_var", "weight")):
                value.uniform_(0.5, 1.5)
            else:
                value.normal_(std=0.3)
    return model.eval()


def test_resnet18_is_torchvisions_with_a_small_stem() -> None:
    own = random_statistics(built(ResNet18()))
    other = torchvision.models.resnet18(num_classes=10)
    other.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    other.maxpool = nn.Identity()
    names = {"shortcut": "downsample", "linear": "fc"}
    renamed = {}
    for name, value in own.state_dict().items():
        parts = [names.get(part, part) for part in name.split(".")]
        renamed[".".join(parts)] = value
    other.load_state_dict(renamed)
    images = torch.randn(2, 3, 16, 16)
    torch.testing.assert_close(own(images), other.eval()(images))


def test_mobilenet_v2_is_torchvisions_with_smaller_strides_and_relu() -> None:
    own = random_statistics(built(MobileNetV2()))
    other = torchvision.models.mobilenet_v2(num_classes=10).eval()
    for convolution in (other.features[0][0], other.features[2].conv[1][0]):
        assert convolution.stride == (2, 2)
        convolution.stride = (1, 1)
    for module in other.modules():
        for name, child in module.named_children():
            if isinstance(child, nn.ReLU6):
                setattr(module, name, nn.ReLU())
    own_state, state = own.state_dict(), other.state_dict()
    assert [value.shape for value in own_state.values()] == [each.shape for each in state.values()]
    other.load_state_dict(dict(zip(state, own_state.values(), strict=True)))
    images = torch.randn(2, 3, 16, 16)
    torch.testing.assert_close(own(images), other(images))


def test_vgg16_is_torchvisions_with_a_small_classifier() -> None:
    own = random_statistics(built(VGG16(width=64)))
    state = own.state_dict()
    features = torchvision.models.vgg.make_layers(torchvision.models.vgg.cfgs["D"], batch_norm=True)
    head = ("linear1", "bn1", "linear2", "bn2", "linear3")
    body = [value for name, value in state.items() if not name.startswith(head)]
    features.load_state_dict(dict(zip(features.state_dict(), body, strict=True)))
    x = features.eval()(images := torch.randn(2, 3, 32, 32)).flatten(1)
    for number in (1, 2):
        x = x @ state[f"linear{number}.weight"].T + state[f"linear{number}.bias"]
        norm = {key: state[f"bn{number}.{key}"] for key in ("running_mean", "running_var")}
        x = (x - norm["running_mean"]) / (norm["running_var"] + 1e-5).sqrt()
        x = (x * state[f"bn{number}.weight"] + state[f"bn{number}.bias"]).relu()
    expected = x @ state["linear3.weight"].T + state["linear3.bias"]
    torch.testing.assert_close(own(images), expected)


@pytest.mark.parametrize(
    ("spec", "names", "digest"),
    [
        (VGG16(), 107, "af0882315c3ac983"),
        (ResNet18(), 122, "6fe1ca18d86ad8f4"),
        (MobileNetV2(), 314, "68e73b7d13c2ef87"),
        (MobileNetV2(affine=False), 210, "99aabf45e191968f"),
    ],
    ids=str,
)
def test_order_of_the_state_dict(spec: NormalizedModel, names: int, digest: str) -> None:
    """Checkpoints of optimizers hold their state in the order of the parameters."""
    with torch.device("meta"):
        state = list(built(spec).state_dict())
    assert len(state) == names
    assert hashlib.sha256("\n".join(state).encode()).hexdigest()[:16] == digest


@pytest.mark.parametrize("spec", [*SMALL, VGG16(width=4, affine=False)], ids=str)
def test_packs_fold_the_networks(spec: NormalizedModel) -> None:
    assert choose_stacking(built(spec), (3, 8, 8)) is Stacking.FOLDED


@pytest.mark.parametrize("kind", NETWORKS)
def test_xavier_initialization(kind: type[NormalizedModel]) -> None:
    small = {} if kind is MobileNetV2 else {"width": 8}
    spec = kind(**small, initialization="xavier")
    model = built(spec)
    biases = []
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            weight = module.weight.detach()
            area = weight[0, 0].numel()
            bound = math.sqrt(6 / (area * (weight.shape[0] + weight.shape[1])))
            assert 0.9 * bound < weight.abs().max() <= bound
            assert abs(weight.mean()) < 0.2 * bound
            biases += [] if module.bias is None else [module.bias.detach()]
        elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            assert module.weight.unique().tolist() == [1.0]
            assert module.bias.unique().tolist() == [0.0]
    drawn = torch.cat(biases)
    assert drawn.square().mean().sqrt() == pytest.approx(0.1, rel=0.25)
    again = built(spec).parameters()
    assert all(torch.equal(*pair) for pair in zip(model.parameters(), again, strict=True))


def test_names_in_tables() -> None:
    assert [spec.name for spec in (VGG16(), ResNet18(), MobileNetV2())] == [
        "VGG-16",
        "ResNet-18",
        "MobileNetV2",
    ]
    assert VGG16(width=8).name == "VGG-16-w8"
    assert ResNet18(width=8).name == "ResNet-18-w8"


@pytest.mark.parametrize("kind", NETWORKS)
def test_options_are_checked(kind: type[NormalizedModel]) -> None:
    message = r"initialization = 'glorot': must be one of default, xavier"
    with pytest.raises(ConfigurationError, match=message):
        kind(initialization="glorot")
    with pytest.raises(ConfigurationError, match=r"\.affine = 0: must be True or False"):
        kind(affine=0)  # type: ignore[arg-type]
