"""Layers with a learned scale: weights are in Q, and act as weights in s Q."""

from pathlib import Path

import torch

from quantlab import TrainingRun
from quantlab.models.convnet import ConvNet
from quantlab.models.learned_scales import LearnedScales
from quantlab.packs import PackedRun
from tests.quantlab.recipes import quantized

SCALED = LearnedScales(base=ConvNet(width=4))


def test_a_scale_of_two_is_weights_and_biases_twice_as_large() -> None:
    torch.manual_seed(0)
    scaled = SCALED.build(num_classes=10, num_channels=1).eval()
    images = torch.rand(3, 1, 8, 8)
    with torch.no_grad():
        scaled.get_parameter("linear.scale.factor").fill_(2.0)
        plain = ConvNet(width=4).build(num_classes=10, num_channels=1).eval()
        plain.load_state_dict(
            {name: value for name, value in scaled.state_dict().items() if "scale" not in name}
        )
        for name in ("linear.weight", "linear.bias"):
            plain.get_parameter(name).mul_(2.0)
        torch.testing.assert_close(scaled(images), plain(images))
    assert len(scaled.state_dict()) == len(plain.state_dict()) + 4


def test_scales_are_trained_and_weights_end_in_the_set() -> None:
    run = TrainingRun(quantized(model=SCALED), data_dir=Path("data"))
    for _ in run:
        pass
    weights = run.final_weights()
    scales = [value for name, value in weights.items() if name.endswith("scale.factor")]
    assert len(scales) == 4
    assert all(scale != 1.0 for scale in scales)
    for name in ("conv1.weight", "linear.weight"):
        assert set(weights[name].unique().tolist()) <= {-1.0, 0.0, 1.0}


def test_without_a_layer() -> None:
    model = LearnedScales(base=ConvNet(width=4), exclude=("Linear",)).build(
        num_classes=10, num_channels=1
    )
    names = [name for name, _ in model.named_parameters() if "scale" in name]
    assert names == [f"conv{i}.scale.factor" for i in (1, 2, 3)]


def test_in_a_pack_as_alone() -> None:
    recipes = [quantized(model=SCALED, seed=seed) for seed in (0, 1)]
    pack = PackedRun(recipes, data_dir=Path("data"))
    for _ in pack.train():
        pass
    for recipe, member in zip(recipes, pack.members, strict=True):
        alone = TrainingRun(recipe, data_dir=Path("data"))
        for _ in alone:
            pass
        own, other = alone.final_weights(), member.final_weights()
        for name in own:
            torch.testing.assert_close(own[name], other[name], rtol=1e-3, atol=1e-3)
