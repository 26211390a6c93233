"""`load_trial`: a network that is found by its folder, its fingerprint or its recipe."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from quantlab import ConfigurationError, OptimizerSpec, Recipe, fingerprint, load_trial, override
from quantlab.datasets.arrays import Arrays, Normalization
from quantlab.datasets.digits import Digits
from quantlab.datasets.imagenet import ImageFiles, ImageNet
from quantlab.datasets.images.decoding import read_image
from quantlab.datasets.text.byte_text import ByteText
from quantlab.models.convnet import ConvNet
from quantlab.models.external.any_module import AnyModule
from quantlab.models.mlp import MLP
from quantlab.models.transformers.gpt import GPT
from quantlab.schedules import Constant
from quantlab.tasks.language_modelling import LanguageModelling
from quantlab.tasks.regression import Regression
from sweeps.storage import Storage
from sweeps.worker.trial import run_trial
from tests.quantlab.datasets.test_torch_dataset import recipe as recipe_of_signals
from tests.quantlab.image_trees import write_images
from tests.quantlab.recipes import quantized, small_recipe

KEPT = Path(__file__).parents[2] / "sweeps" / "storage" / "kept_storage" / "runs"
FINISHED, STOPPED = "b105e4df502b9fb4", "0c91ba345da60333"


@dataclass(frozen=True, kw_only=True)
class Darker(Digits):
    """A user's dataset."""

    std: tuple[float, ...] = (0.5,)


def own_network(num_classes: int) -> nn.Module:
    """A user's network."""
    return nn.Sequential(nn.Flatten(), nn.Linear(64, num_classes))


def trained(folder: Path, recipe: Recipe) -> Path:
    """The folder of a trial that is trained with the data in `folder`."""
    trial = Storage(folder).trial(fingerprint(recipe))
    run_trial(recipe, trial, data_dir=folder)
    return trial.path


def recipe_on(dataset: Any, model: Any, **changes: Any) -> Recipe:
    settings: dict[str, Any] = {
        "model": model,
        "dataset": dataset,
        "optimizer": OptimizerSpec(learning_rate=Constant(0.01)),
        "epochs": 1,
        "batch_size": 16,
    }
    return Recipe(**(settings | changes))


def digits(folder: Path) -> tuple[Recipe, Callable[[], Tensor]]:
    recipe = override(quantized(), "epochs", 1)
    return recipe, lambda: recipe.dataset.load(folder).test.pixels  # type: ignore[attr-defined]


def rows(folder: Path) -> tuple[Recipe, Callable[[], Tensor]]:
    """Rows whose normalization is computed from the training rows."""
    table = np.random.default_rng(0).normal(3, 2, (60, 4))
    np.savez(folder / "a.npz", x=table, y=table.sum(1))
    np.save(folder / "tests.npy", table[:10] + 1)
    np.save(folder / "sums.npy", table[:10].sum(1))
    arrays = Arrays(
        inputs="a.npz:x",
        targets="a.npz:y",
        test_inputs="tests.npy",
        test_targets="sums.npy",
        validation_images=10,
        normalization=Normalization(),
    )
    recipe = recipe_on(arrays, MLP(hidden=(4,)), task=Regression())
    order = arrays.load(folder).test.positions  # type: ignore[attr-defined]
    return recipe, lambda: torch.from_numpy(table[:10] + 1)[order]


def text(folder: Path) -> tuple[Recipe, Callable[[], Tensor]]:
    (folder / "a.txt").write_bytes(bytes(range(97, 117)) * 20)
    dataset = ByteText(path="a.txt", length=8, validation_images=4, test_images=4)
    network = GPT(layers=1, heads=2, width=8, context=8)
    recipe = recipe_on(dataset, network, task=LanguageModelling())
    return recipe, lambda: dataset.load(folder).test.table[:, :-1]  # type: ignore[attr-defined]


def files(folder: Path) -> tuple[Recipe, Callable[[], Tensor]]:
    """Images that are resized and cropped when they are read."""
    write_images(folder / "imagenet", {"train": 6, "val": 1})
    dataset = ImageNet(validation_images=4, test_images=1, crop=24, resize=28)

    def image() -> Tensor:
        test = dataset.load(folder).test
        assert isinstance(test, ImageFiles)
        pixels = np.array(read_image(test.paths[0]))
        return torch.from_numpy(pixels).permute(2, 0, 1)[None]

    return recipe_on(dataset, ConvNet(width=4)), image


@pytest.mark.parametrize("data", [digits, rows, text, files], ids=lambda data: data.__name__)
def test_the_outputs_for_the_sources_examples_are_those_of_the_dataset(
    tmp_path: Path, data: Callable[[Path], tuple[Recipe, Callable[[], Tensor]]]
) -> None:
    recipe, examples = data(tmp_path)
    folder = trained(tmp_path, recipe)
    loaded = load_trial(folder, data_dir=tmp_path)
    assert loaded.dataset == recipe.dataset
    assert not any(module.training for module in loaded.modules())
    state = torch.load(folder / "weights.pt", weights_only=True)
    assert loaded.network.state_dict().keys() == state.keys()
    test = recipe.dataset.load(tmp_path).test
    ((inputs, _),) = recipe.dataset.batches(test, batch_size=1000)
    with torch.no_grad():
        assert torch.equal(loaded.preprocess(examples()), inputs)
        assert torch.equal(loaded(examples()), loaded.network(inputs))
    for name, value in loaded.network.state_dict().items():
        assert torch.equal(value, state[name])


def test_a_network_of_an_earlier_release_is_found_by_the_digits_of_its_fingerprint() -> None:
    loaded = load_trial("b1", storage=KEPT)
    assert loaded.folder == KEPT / "trials" / FINISHED
    test = loaded.dataset.load(Path()).test
    with torch.no_grad():
        predicted = loaded(test.pixels).argmax(1)  # type: ignore[attr-defined]
    assert float((predicted == test.labels).double().mean()) == pytest.approx(0.6833333333333333)


def test_what_a_user_defines_is_loaded_with_the_recipe(tmp_path: Path) -> None:
    recipe = small_recipe(
        model=AnyModule(own_network), dataset=Darker(train_images=64, test_images=9), epochs=1
    )
    folder = trained(tmp_path, recipe)
    with pytest.raises(ConfigurationError, match=r"'own_network', which is not part .* the recipe"):
        load_trial(folder)
    with pytest.raises(ConfigurationError, match=r"'Darker', which is not part .* the recipe"):
        load_trial(trained(tmp_path, override(recipe, "model", ConvNet(width=4))))
    loaded = load_trial(recipe, storage=tmp_path)
    assert loaded.folder == folder
    pixels = torch.full((1, 1, 8, 8), 255, dtype=torch.uint8)
    torch.testing.assert_close(loaded.preprocess(pixels), torch.full((1, 1, 8, 8), 0.7126 / 0.5))
    with pytest.raises(ConfigurationError, match="train the recipe, or give the folder"):
        load_trial(override(recipe, "seed", 9), storage=tmp_path)


def test_examples_of_a_users_dataset_are_inputs(tmp_path: Path) -> None:
    recipe = override(recipe_of_signals(), "epochs", 1)
    trained(tmp_path, recipe)
    loaded, signals = load_trial(recipe, storage=tmp_path), torch.rand(3, 6).double()
    assert loaded.preprocess(signals) is signals
    assert loaded(signals).shape == (3, 1)


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (torch.zeros(2, 1, 8, 8), r"float32: must be pixels \(batch, 1, height, width\)"),
        (torch.zeros(2, 3, 8, 8).byte(), r"must be pixels \(batch, 1, height, width\)"),
        (torch.zeros(1, 8, 8).byte(), r"\(1, 8, 8\): must be a batch .* \(batch, 1, 8, 8\)"),
    ],
    ids=["normalized", "colour", "one image"],
)
def test_other_images_than_pixels_are_refused(pixels: Tensor, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        load_trial(FINISHED, storage=KEPT)(pixels)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("", r"0c91ba345da60333: has no result.json, because it has not finished"),
        ("f", "0 trials in .*trials have a fingerprint with these first digits$"),
        ("digits", "the folder does not exist; give the folder of a trial, or the first digits"),
        (3, "trial 3: must be the folder of a trial, its fingerprint, or its recipe"),
        (KEPT / "trials" / FINISHED / "weights.pt", "but is a file; give .*b105e4df502b9fb4$"),
    ],
)
def test_other_trials_are_refused(given: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        load_trial(given or KEPT / "trials" / STOPPED, storage=KEPT)


def damaged(name: str, content: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        (folder / name).write_bytes(content((folder / name).read_bytes()))

    return damage


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (damaged("result.json", lambda text: text[:50]), "result.json is damaged"),
        (damaged("result.json", lambda text: b"\xff" + text), "result.json is damaged"),
        (damaged("result.json", lambda text: b"[]"), "result.json is damaged"),
        (
            damaged("result.json", lambda text: text.replace(b"COMPLETE", b"DIVERGED")),
            "is DIVERGED; must be COMPLETE",
        ),
        (damaged("recipe.json", lambda text: b"{}"), "has no recipe with a model; give the recipe"),
        (damaged("weights.pt", lambda data: data[:-9]), r"weights.pt: the file is damaged"),
        (
            damaged("result.json", lambda text: text.replace(b"abe7", b"0be7")),
            "weights.pt is damaged, or belongs to another trial; .* remove result.json",
        ),
        (lambda folder: (folder / "weights.pt").unlink(), "its network weights.pt is missing"),
        (lambda folder: (folder / "recipe.json").unlink(), "its file recipe.json is missing"),
    ],
)
def test_damaged_trials_are_refused(
    tmp_path: Path, damage: Callable[[Path], None], message: str
) -> None:
    folder = tmp_path / FINISHED
    shutil.copytree(KEPT / "trials" / FINISHED, folder)
    damage(folder)
    with pytest.raises(ConfigurationError, match=message):
        load_trial(folder)
