"""load_trial: the network of a finished trial, with the preprocessing of its data."""

import hashlib
import io
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from quantlab.canonical import canonical_json, fingerprint
from quantlab.datasets import DatasetSpec
from quantlab.errors import ConfigurationError, brief
from quantlab.export.network import network_with
from quantlab.export.recipe_json import DATA, NETWORK, read_part
from quantlab.models import ModelSpec
from quantlab.recipe import Recipe
from quantlab.tasks.dimensions import Dimensions
from quantlab.training.checkpoint import require_intact_archive

_PREFIX = re.compile(r"[0-9a-f]{1,16}")
_ADVICE = "give the recipe instead of the folder, such as load_trial(SWEEP.cells[0].recipe)"


class TrainedNetwork(nn.Module):
    """The network of a trial, which takes examples as the source of its dataset has them."""

    def __init__(
        self,
        network: nn.Module,
        dimensions: Dimensions,
        dataset: DatasetSpec,
        recipe: str,
        folder: Path,
        data_dir: Path,
    ) -> None:
        """Join a network and its preprocessing; see `load_trial`.

        Args:
            network: the network.
            dimensions: dimensions of its inputs and outputs.
            dataset: dataset that it was trained on.
            recipe: canonical JSON of its recipe.
            folder: folder of the trial.
            data_dir: the data folder.
        """
        super().__init__()
        self.network = network
        """The network alone, which takes the inputs that `preprocess` returns."""
        self.dimensions = dimensions
        """Dimensions of the inputs and outputs of the network."""
        self.dataset = dataset
        """Dataset that the network was trained on."""
        self.recipe = recipe
        """Canonical JSON of the recipe."""
        self.folder = folder
        """Folder of the trial."""
        self.data_dir = data_dir

    def preprocess(self, examples: Tensor) -> Tensor:
        """Convert examples to inputs of the network.

        Args:
            examples: (batch, ...) examples as the source of the dataset has them: uint8 pixels
                (batch, channels, height, width) of images, rows of an array, bytes of a text, or
                what a `torch.utils.data.Dataset` returns.

        Returns:
            (batch, ...) inputs, such as normalized images.

        Raises:
            ConfigurationError: if the examples are of another type or shape, or if a normalization
                that is computed from training examples needs data that is missing.
        """
        inputs = self.dataset.preprocess(examples, self.data_dir)
        if inputs.dim() != 1 + len(self.dimensions.input):
            wanted = ", ".join(map(str, ("batch", *self.dimensions.input)))
            raise ConfigurationError(
                f"examples of the shape {tuple(examples.shape)}: must be a batch with as many axes "
                f"as ({wanted}); examples[None] is a batch of one"
            )
        return inputs

    def forward(self, examples: Tensor) -> Any:
        """Return the outputs of the network for examples; see `preprocess`.

        Args:
            examples: (batch, ...) examples.

        Returns:
            What the network returns, such as logits (batch, num_classes).
        """
        return self.network(self.preprocess(examples))


def load_trial(
    trial: Path | str | Recipe, *, storage: Path | str = "runs", data_dir: Path | str = "data"
) -> TrainedNetwork:
    """Load the network of a finished trial.

    The files of the trial are data only. Only classes of quantlab's release build the network, and
    no other code is imported or run, unless a recipe is given.

    Args:
        trial: the folder of the trial, its fingerprint or the first digits of it, or its recipe,
            which is needed if the network or the dataset is of a class or function of the user.
        storage: folder of all results, in which the trial is found by its fingerprint or recipe.
        data_dir: the data folder, which is read only if the preprocessing depends on the data.

    Returns:
        The network on the CPU, in evaluation mode, with the preprocessing of its data. Its weights
        are those that the results of the trial were measured with.

    Raises:
        ConfigurationError: if there is no such trial, if it has not finished, if its files are
            damaged, or if its recipe is needed.
        OSError: if a file cannot be read.
    """
    data = Path(data_dir)
    folder = _folder_of(trial, Path(storage))
    where = f"trial {folder}"
    result = _result(folder, where)
    if isinstance(trial, Recipe):
        text = canonical_json(trial)
        model, dataset = trial.model, trial.dataset
    else:
        text = _read(folder / "recipe.json", where)
        model = read_part(text, NETWORK, where, _ADVICE)
        dataset = read_part(text, DATA, where, _ADVICE)
    of = _dimensions(result, dataset, data, where)
    network = _network(model, of, result, folder)
    return TrainedNetwork(network, of, dataset, text, folder, data).eval()


def _folder_of(trial: Path | str | Recipe, storage: Path) -> Path:
    """Return the folder of a trial.

    Raises:
        ConfigurationError: if there is none, or several.
    """
    trials = storage / "trials"
    if isinstance(trial, Recipe):
        folder = trials / fingerprint(trial)
        if not folder.is_dir():
            raise ConfigurationError(
                f"trial {folder}: the folder does not exist; train the recipe, or give the folder "
                "of its results as storage"
            )
        return folder
    if not isinstance(trial, Path | str):
        raise ConfigurationError(
            f"trial {brief(trial)}: must be the folder of a trial, its fingerprint, or its recipe"
        )
    folder = Path(trial)
    if folder.is_dir():
        return folder
    if folder.exists():
        raise ConfigurationError(
            f"trial {folder}: must be the folder of a trial, but is a file; give {folder.parent}"
        )
    if not _PREFIX.fullmatch(str(trial)):
        raise ConfigurationError(
            f"trial {folder}: the folder does not exist; give the folder of a trial, or the first "
            f"digits of its fingerprint, which is the name of a folder in {trials}"
        )
    found = sorted(path for path in trials.glob(f"{trial}*") if path.is_dir())
    if len(found) != 1:
        such_as = ", ".join(path.name for path in found[:3])
        raise ConfigurationError(
            f"trial {trial}: {len(found)} trials in {trials} have a fingerprint with these first "
            "digits" + (f", such as {such_as}; give more digits" if found else "")
        )
    return found[0]


def _result(folder: Path, where: str) -> Mapping[str, Any]:
    """Return the record of the result of a finished trial."""
    path = folder / "result.json"
    if not path.exists():
        raise ConfigurationError(
            f"{where}: has no {path.name}, because it has not finished; continue its sweep"
        )
    try:
        result = json.loads(_read(path, where))
        state = result["state"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ConfigurationError(f"{where}: {path.name} is damaged; train it again") from error
    if state != "COMPLETE":
        raise ConfigurationError(f"{where}: is {state}; must be COMPLETE to have a network")
    found: Mapping[str, Any] = result
    return found


def _read(path: Path, where: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise ConfigurationError(f"{where}: its file {path.name} is missing") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{where}: its file {path.name} is damaged") from error


def _dimensions(
    result: Mapping[str, Any], dataset: DatasetSpec, data_dir: Path, where: str
) -> Dimensions:
    """Return the dimensions in the result, or those of the dataset if an older release wrote it."""
    text = result.get("dimensions")
    if not text:
        return dataset.find_dimensions(data_dir)
    try:
        return Dimensions.from_json(text)
    except (ValueError, TypeError) as error:
        raise ConfigurationError(f"{where}: result.json is damaged ({error})") from error


def _network(
    model: ModelSpec, of: Dimensions, result: Mapping[str, Any], folder: Path
) -> nn.Module:
    path = folder / "weights.pt"
    if not path.is_file():
        raise ConfigurationError(
            f"trial {folder}: its network {path.name} is missing; to train the trial again, remove "
            "result.json beside it"
        )
    require_intact_archive(path)
    data = path.read_bytes()
    expected = result.get("weights_sha256")  # an older release wrote none
    if expected and hashlib.sha256(data).hexdigest() != expected:
        raise ConfigurationError(
            f"trial {folder}: {path.name} is damaged, or belongs to another trial; to train the "
            "trial again, remove result.json beside it"
        )
    weights = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    return network_with(model, of, weights, f"trial {folder}")
