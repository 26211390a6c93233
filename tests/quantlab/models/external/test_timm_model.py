"""Models of timm by name."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from quantlab import ConfigurationError, TrainingRun, override
from quantlab.export import load, save
from quantlab.initial_weights import TimmWeights
from quantlab.models.external.timm_model import TimmModel
from quantlab.packs import PackedRun
from quantlab.tasks.dimensions import Dimensions
from tests.quantlab.recipes import quantized

timm = pytest.importorskip("timm")
VIT = TimmModel("test_vit", {"img_size": 8, "patch_size": 4, "embed_dim": 24, "num_heads": 2})


def test_a_model_is_that_of_timm() -> None:
    model = VIT.build_for(Dimensions(10, (1, 8, 8)))
    own = timm.create_model("test_vit", num_classes=10, in_chans=1, **VIT.options)
    shapes = {name: value.shape for name, value in own.state_dict().items()}
    assert {name: value.shape for name, value in model.state_dict().items()} == shapes
    assert (VIT.name, VIT.packages) == ("test_vit", ("timm",))


def test_a_transformer_is_trained_and_exported(tmp_path: Path) -> None:
    recipe = override(quantized(model=VIT, epochs=1), "quantization.include", ("pos_embed",))
    run = TrainingRun(recipe)
    assert all(record.train_loss > 0 for record in run)
    final = run.final_weights()
    assert len(final["pos_embed"].unique()) <= 3
    file = save(tmp_path / "vit", recipe, final, dimensions=run.dimensions)
    assert file.dimensions == Dimensions(10, (1, 8, 8))
    network = load(tmp_path / "vit")
    state = network.state_dict()
    assert state.keys() == final.keys()
    assert all(torch.equal(state[name], value) for name, value in final.items())


def test_packs_are_lone_runs_and_random_networks_are_refused() -> None:
    recipes = [replace(quantized(model=VIT, epochs=1), seed=seed) for seed in range(2)]
    losses = [event.record.train_loss for event in PackedRun(recipes) if event.record is not None]
    alone = [[record.train_loss for record in TrainingRun(recipe)] for recipe in recipes]
    expected = [loss for epoch in zip(*alone, strict=True) for loss in epoch]
    assert losses == pytest.approx(expected, rel=1e-4)
    drawing = replace(VIT, options={**VIT.options, "proj_drop_rate": 0.1})
    with pytest.raises(ConfigurationError, match="VisionTransformer draws random numbers, which"):
        PackedRun([replace(recipe, model=drawing) for recipe in recipes])


@pytest.mark.parametrize(
    ("architecture", "options", "says"),
    [
        ("test_vitt", {}, r"TimmModel\.architecture = 'test_vitt': must be a name of timm\.list_"),
        ("test_vit.r160_in1k", {}, r"without the tag of its weights, such as test_vit, "),
        ("local-dir:/tmp", {}, r"must be a name of timm\.list_models"),
        (7, {}, r"TimmModel\.architecture = 7"),
        ("test_vit", {"pretrained": True}, r"initial_weights = WeightsFile\(FILE\) or TimmWeights"),
        ("test_vit", {"num_classes": 3}, r"options\['num_classes'\] = 3: is that of the dataset"),
        ("test_vit", {"norm_layer": dict}, r"options\['norm_layer'\] = .*: must be a number, text"),
        ("test_vit", 3, r"TimmModel\.options = 3: must be a mapping"),
    ],
)
def test_bad_input_is_refused_in_a_line(architecture: Any, options: Any, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says) as refusal:
        TimmModel(architecture, options)
    assert "\n" not in str(refusal.value)


def test_what_does_not_fit_the_data_is_said() -> None:
    with pytest.raises(ConfigurationError, match=r"needs images .* inputs have the shape \(5,\)"):
        VIT.build_for(Dimensions(10, (5,)))
    with pytest.raises(ConfigurationError, match=r"TimmModel\.options = .*of test_vit; it raised"):
        TimmModel("test_vit", {"no_such": 1}).build_for(Dimensions(10, (1, 8, 8)))


def test_pretrained_weights_are_kept_in_the_data_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = TimmWeights("test_resnet.r160_in1k", skip=("fc.*",))
    assert weights.files == ("timm/test_resnet.r160_in1k.pt",)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(
        ConfigurationError,
        match=r"TimmWeights\.name = .* does not exist, and the download failed \(.*torch\.save$",
    ) as refusal:
        weights.check(tmp_path, lambda _: tmp_path)
    assert "\n" not in str(refusal.value)
    saved = timm.create_model("test_resnet").state_dict()
    (tmp_path / "timm").mkdir()
    torch.save(saved, tmp_path / weights.files[0])
    model = TimmModel("test_resnet").build_for(Dimensions(10, (3, 32, 32)))
    weights.load(model, tmp_path, lambda _: tmp_path)
    state = model.state_dict()
    assert all(state[name].equal(value) for name, value in saved.items() if "fc." not in name)
    with pytest.raises(
        ConfigurationError, match=r"of timm\.list_pretrained\(\), such as test_vit\."
    ):
        TimmWeights("test_vit")
