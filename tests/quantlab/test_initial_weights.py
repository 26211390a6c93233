"""Initial weights from files, other trials and torchvision."""

import hashlib
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision.models

from quantlab import ConfigurationError, Recipe, TrainingRun, fingerprint
from quantlab.datasets.imagenet import ImageNet
from quantlab.initial_weights import (
    InitialWeights,
    TorchvisionWeights,
    TrialWeights,
    WeightsFile,
)
from quantlab.models.convnet import ConvNet
from quantlab.models.torchvision_model import TorchvisionModel
from tests.quantlab.image_trees import write_images
from tests.quantlab.recipes import SGD, quantized, small_recipe


def no_trial(fingerprint: str) -> Path:
    raise AssertionError(f"asked for trial {fingerprint}")


def trained_state() -> dict[str, torch.Tensor]:
    run = TrainingRun(small_recipe(epochs=1))
    list(run)
    return run.final_weights()


def assert_starts_from(recipe: Recipe, state: dict[str, Any], **settings: Any) -> None:
    run = TrainingRun(recipe, **settings)
    start = run.optimizer.state_dict()["latent"] if recipe.quantization else []
    own = run.model.state_dict()
    assert own.keys() == state.keys()
    if recipe.quantization is None:
        for name, value in state.items():
            assert torch.equal(own[name], value), name
    else:  # the model holds P(w*); the latents are what was loaded
        weights = [state[name] for name in state if name.endswith("weight") and "bn" not in name]
        assert torch.equal(torch.cat(start), torch.cat([value.flatten() for value in weights]))
        assert torch.equal(own["bn1.running_var"], state["bn1.running_var"])


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("make", [small_recipe, quantized], ids=["plain", "quantized"])
def test_a_file_in_any_public_form(make: Any, prefix: str, nested: bool, tmp_path: Path) -> None:
    state = trained_state()
    content: dict[str, Any] = {f"{prefix}{name}": value for name, value in state.items()}
    file = tmp_path / "pretrained" / "net.th"
    file.parent.mkdir()
    torch.save({"state_dict": content} if nested else content, file)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    weights = WeightsFile("pretrained/net.th", sha256=digest[:8])
    weights.check(tmp_path, no_trial)
    assert_starts_from(make(initial_weights=weights), state, data_dir=tmp_path)


def test_the_seed_no_longer_matters_for_the_start_but_for_the_order(tmp_path: Path) -> None:
    torch.save(trained_state(), tmp_path / "net.pt")
    runs = [
        TrainingRun(
            small_recipe(initial_weights=WeightsFile("net.pt"), seed=seed), data_dir=tmp_path
        )
        for seed in (0, 1)
    ]
    states = [run.model.state_dict() for run in runs]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    losses = [next(iter(run)).train_loss for run in runs]
    assert losses[0] != losses[1]


def test_another_trials_network(tmp_path: Path) -> None:
    parent = small_recipe(epochs=1)
    run = TrainingRun(parent)
    list(run)
    file = tmp_path / f"{fingerprint(parent)}.pt"
    torch.save(run.final_weights(), file)

    def weights_of(trial: str) -> Path:
        return tmp_path / f"{trial}.pt"

    weights = TrialWeights(fingerprint(parent))
    weights.check(tmp_path, weights_of)
    assert_starts_from(
        quantized(initial_weights=weights), run.final_weights(), weights_of=weights_of
    )
    with pytest.raises(
        ConfigurationError, match=r"no other trials are known here; pass .* weights_of"
    ):
        TrainingRun(quantized(initial_weights=weights))
    file.unlink()
    with pytest.raises(ConfigurationError, match=r"has no final weights yet .* trained first"):
        weights.check(tmp_path, weights_of)


def test_torchvisions_weights_are_taken_from_the_data_folder(tmp_path: Path) -> None:
    """From a file of torchvision's name; without it, and without a network, they are missing."""
    name = "ResNet18_Weights.IMAGENET1K_V1"
    write_images(tmp_path / "imagenet", {"train": 4, "val": 2})
    torch.manual_seed(5)
    state = torchvision.models.resnet18(num_classes=3).state_dict()
    folder = tmp_path / "torchvision"
    folder.mkdir()
    torch.save(state, folder / "resnet18-f37072fd.pth")
    recipe = Recipe(
        model=TorchvisionModel("resnet18"),
        dataset=ImageNet(validation_images=2, crop=32, resize=36),
        optimizer=SGD,
        initial_weights=TorchvisionWeights(name),
        epochs=1,
    )
    assert_starts_from(recipe, state, data_dir=tmp_path)
    torch.save(torchvision.models.resnet18().state_dict(), folder / "resnet18-f37072fd.pth")
    with pytest.raises(ConfigurationError, match=r"weights ResNet18_.* does not fit ResNet"):
        TrainingRun(recipe, data_dir=tmp_path)


def test_a_failed_download_says_where_the_file_belongs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for proxy in ("https_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(proxy, "http://127.0.0.1:9")  # nobody listens there
    weights = TorchvisionWeights("ResNet18_Weights.IMAGENET1K_V1")
    with pytest.raises(
        ConfigurationError, match=r"the download failed .*; download https://\S+ to this file"
    ):
        weights.check(tmp_path, no_trial)
    (tmp_path / "torchvision").mkdir(exist_ok=True)
    (tmp_path / "torchvision" / "resnet18-f37072fd.pth").write_bytes(b"PK\x03\x04 half")
    with pytest.raises(ConfigurationError, match=r"resnet18-f37072fd\.pth is damaged \("):
        weights.check(tmp_path, no_trial)


def test_what_is_wrong_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigurationError, match=r"WeightsFile.file = 'none\.pt': the file .* does not exist"
    ):
        WeightsFile("none.pt").check(tmp_path, no_trial)
    torch.save(trained_state(), tmp_path / "net.pt")
    with pytest.raises(ConfigurationError, match=r"WeightsFile.sha256 = '0000': .* has [0-9a-f]"):
        WeightsFile("net.pt", sha256="0000").check(tmp_path, no_trial)
    wide = small_recipe(model=ConvNet(width=5), initial_weights=WeightsFile("net.pt"))
    with pytest.raises(ConfigurationError, match=r"net\.pt: does not fit _ConvNet"):
        TrainingRun(wide, data_dir=tmp_path)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: WeightsFile("/abs.pt"), "must be a name within the data folder"),
        (lambda: WeightsFile("../up.pt"), "must be a name within the data folder"),
        (lambda: WeightsFile("a.pt", sha256="xyz"), "hexadecimal"),
        (lambda: WeightsFile(5), "must be a name within the data folder"),
        (lambda: WeightsFile("a.pt", sha256=None), "hexadecimal"),
        (lambda: TrialWeights(small_recipe()), "a recipe's fingerprint, 16 hexadecimal digits"),
        (lambda: TrialWeights("PC"), "a recipe's fingerprint, 16 hexadecimal digits"),
        (lambda: TorchvisionWeights("ResNet18"), "torchvision has no such weights"),
        (lambda: TorchvisionWeights("ResNet18_Weights.V9"), "torchvision has no such weights"),
        (lambda: small_recipe(initial_weights="net.pt"), "must be .* InitialWeights"),
    ],
)
def test_bad_values_are_refused(build: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        build()


def test_they_are_part_of_the_identity() -> None:
    starts: list[InitialWeights | None] = [
        None,
        WeightsFile("a.pt"),
        WeightsFile("a.pt", sha256="12"),
        TrialWeights("0" * 16),
        TorchvisionWeights("ResNet18_Weights.IMAGENET1K_V1"),
    ]
    assert len({fingerprint(small_recipe(initial_weights=start)) for start in starts}) == 5
