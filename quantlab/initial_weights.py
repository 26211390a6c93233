"""Initial weights of a network: from a file, a trial, torchvision or timm, or random levels."""

import hashlib
import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from quantlab.datasets.loading.files import require_relative
from quantlab.errors import ConfigurationError, brief, first_line
from quantlab.files.partial import replacing
from quantlab.models.external.timm_model import imported_timm
from quantlab.models.state_dicts import fit_weights, load_weights
from quantlab.models.weights import quantized_weights
from quantlab.plain_values import require_items
from quantlab.quantization_sets import BINARY, quantization_set


def no_other_trials(fingerprint: str) -> Path:
    """Default of ``weights_of`` for callers that do not know of other trials.

    Raises:
        ConfigurationError: always.
    """
    raise ConfigurationError(
        f"TrialWeights.fingerprint = {fingerprint!r}: no other trials are known here; pass the "
        "argument weights_of, which maps a fingerprint to the file of the trial's weights"
    )


@dataclass(frozen=True)
class InitialWeights(ABC):
    """Weights that a model has before its first step, batch normalization included."""

    @property
    def are_trained(self) -> bool:
        """Whether the weights come from training, so that the recipe is a fine-tuning."""
        return True

    @property
    def files(self) -> tuple[str, ...]:
        """Files and folders within the data folder that the weights are read from."""
        return ()

    @abstractmethod
    def check(self, data_dir: Path, weights_of: Callable[[str], Path]) -> None:
        """Check, before any trial starts, that the weights exist.

        Args:
            data_dir: the data folder.
            weights_of: maps a fingerprint to the file of that trial's final weights.

        Raises:
            ConfigurationError: if the weights are missing; the message names the expected file.
        """

    @abstractmethod
    def load(self, model: nn.Module, data_dir: Path, weights_of: Callable[[str], Path]) -> None:
        """Load the weights into a model.

        Args:
            model: the network, which is changed in place.
            data_dir: the data folder.
            weights_of: maps a fingerprint to the file of that trial's final weights.

        Raises:
            ConfigurationError: if the weights are missing, damaged, or of another architecture.
        """


@dataclass(frozen=True)
class WeightsFile(InitialWeights):
    """A state dict in a file; `quantlab.models.state_dicts` lists the supported formats.

    The recipe's identity covers the file's name and the digest, not its content. Give the digest if
    files of this name may have different contents.
    """

    file: str
    """Path relative to the data folder. A recipe never holds an absolute path."""
    sha256: str = ""
    """First digits of the file's SHA-256, which is checked before use; "" for no check."""
    entry: str = ""
    """Key of the state dict within the file, such as ``"state_dict_ema"``; "" for the only state
    dict in the file, or the only one that fits the network."""
    skip: tuple[str, ...] = ()
    """Shell-style patterns of names that are not loaded, such as ``("fc.*",)`` for a last layer of
    other classes. They keep the network's own initialization."""

    def __post_init__(self) -> None:
        require_relative(self, "file")
        if not isinstance(self.sha256, str) or not re.fullmatch("[0-9a-f]{0,64}", self.sha256):
            raise ConfigurationError(
                f"WeightsFile.sha256 = {self.sha256!r}: must be text of up to 64 hexadecimal digits"
            )
        if not isinstance(self.entry, str):
            raise ConfigurationError(f"WeightsFile.entry = {brief(self.entry)}: must be text")
        require_items(self, "skip", str, "a sequence of patterns")

    @property
    def files(self) -> tuple[str, ...]:
        """The name of the file."""
        return (self.file,)

    def check(self, data_dir: Path, weights_of: Callable[[str], Path]) -> None:
        """Check that the file exists and that its digest matches."""
        path = data_dir / self.file
        if not path.is_file():
            raise ConfigurationError(
                f"WeightsFile.file = {self.file!r}: the file {path} does not exist; put it there, "
                "or correct the name or the data folder"
            )
        if self.sha256:
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            if not digest.startswith(self.sha256):
                raise ConfigurationError(
                    f"WeightsFile.sha256 = {self.sha256!r}: the file {path} has {digest[:16]}...; "
                    "correct the digest, or replace the file"
                )

    def load(self, model: nn.Module, data_dir: Path, weights_of: Callable[[str], Path]) -> None:
        self.check(data_dir, weights_of)
        load_weights(model, data_dir / self.file, self.entry, self.skip)


@dataclass(frozen=True)
class TrialWeights(InitialWeights):
    """The final weights of another trial, named by its fingerprint."""

    fingerprint: str
    """``fingerprint(recipe)`` of that trial's recipe: 16 hexadecimal digits."""

    def __post_init__(self) -> None:
        text: object = self.fingerprint
        if not isinstance(text, str) or not re.fullmatch("[0-9a-f]{16}", text):
            raise ConfigurationError(
                f"TrialWeights.fingerprint = {self.fingerprint!r}: must be a recipe's fingerprint, "
                "16 hexadecimal digits"
            )

    def check(self, data_dir: Path, weights_of: Callable[[str], Path]) -> None:
        """Check that the file of that trial's weights exists."""
        path = weights_of(self.fingerprint)
        if not path.is_file():
            raise ConfigurationError(
                f"TrialWeights.fingerprint = {self.fingerprint!r}: that trial has no final weights "
                f"yet (the file {path} does not exist); it must be trained first"
            )

    def load(self, model: nn.Module, data_dir: Path, weights_of: Callable[[str], Path]) -> None:
        self.check(data_dir, weights_of)
        load_weights(model, weights_of(self.fingerprint))


@dataclass(frozen=True)
class RandomLevels(InitialWeights):
    """Weights that start at random levels, each with the same probability.

    The other parameters keep the network's own initialization. On {-1, 1}, the weights are
    Rademacher variables.

    Source: "Training Quantized Nets", H.3.
    """

    exclude: tuple[str, ...] = ()
    """Module types and patterns of layers that keep the network's initialization; see
    `Quantization.exclude`."""
    levels: tuple[float, ...] = BINARY
    """The levels."""

    def __post_init__(self) -> None:
        require_items(self, "exclude", str, "a sequence of patterns")
        object.__setattr__(self, "levels", quantization_set(self.levels))

    @property
    def are_trained(self) -> bool:
        """Always false."""
        return False

    def check(self, data_dir: Path, weights_of: Callable[[str], Path]) -> None:
        """Do nothing, because the weights come from no file."""

    @torch.no_grad()
    def load(self, model: nn.Module, data_dir: Path, weights_of: Callable[[str], Path]) -> None:
        """Draw the weights from torch's default generator.

        Raises:
            ConfigurationError: see `quantlab.models.weights.quantized_weights`.
        """
        levels = torch.tensor(self.levels)
        owner = type(self).__name__
        for weight in quantized_weights(model, self.exclude, owner=owner).values():
            weight.copy_(levels[torch.randint(len(levels), weight.shape)])


@dataclass(frozen=True)
class TorchvisionWeights(InitialWeights):
    """Pretrained weights of a torchvision model, downloaded once into the data folder."""

    name: str
    """torchvision's name of the weights, such as ``"ResNet18_Weights.IMAGENET1K_V1"``."""
    skip: tuple[str, ...] = ()
    """See `WeightsFile.skip`."""

    def __post_init__(self) -> None:
        self._weights()
        require_items(self, "skip", str, "a sequence of patterns")

    @property
    def files(self) -> tuple[str, ...]:
        """The name of the file, as torchvision stores it."""
        return (f"torchvision/{self._weights().url.rpartition('/')[2]}",)

    def check(self, data_dir: Path, weights_of: Callable[[str], Path]) -> None:
        """Check the file under ``torchvision/`` in the data folder; download it if missing."""
        self._state_dict(data_dir)

    def load(self, model: nn.Module, data_dir: Path, weights_of: Callable[[str], Path]) -> None:
        fit_weights(model, self._state_dict(data_dir), f"weights {self.name}", self.skip)

    def _weights(self) -> Any:
        import torchvision.models  # which takes seconds

        try:
            return torchvision.models.get_weight(self.name)
        except (ValueError, KeyError, AttributeError) as error:
            raise ConfigurationError(
                f"TorchvisionWeights.name = {self.name!r}: torchvision has no such weights; must "
                'be a name such as "ResNet18_Weights.IMAGENET1K_V1"'
            ) from error

    def _state_dict(self, data_dir: Path) -> dict[str, Any]:
        weights = self._weights()
        folder = data_dir / "torchvision"
        try:
            state: dict[str, Any] = weights.get_state_dict(
                model_dir=str(folder), progress=False, check_hash=True, weights_only=True
            )
        except Exception as error:  # network errors and damaged files are of many kinds
            file = folder / weights.url.rpartition("/")[2]
            what = "is damaged" if file.exists() else "does not exist, and the download failed"
            raise ConfigurationError(
                f"TorchvisionWeights.name = {self.name!r}: the file {file} {what} "
                f"({first_line(error)}); download {weights.url} to this file"
            ) from error
        return state


@dataclass(frozen=True)
class TimmWeights(InitialWeights):
    """Pretrained weights of a model of timm, downloaded once into the data folder."""

    name: str
    """timm's name of the model with the tag of the weights, such as ``"resnet18.a1_in1k"``."""
    skip: tuple[str, ...] = ()
    """See `WeightsFile.skip`. The last layer (``"fc.*"``, ``"head.*"``) is that of the dataset with
    which the weights were trained; a transformer for images of another size has other position
    embeddings (``"pos_embed"``)."""

    def __post_init__(self) -> None:
        known = imported_timm("TimmWeights").list_pretrained()
        if self.name not in known:
            start = f"{str(self.name).partition('.')[0]}."
            alike = [name for name in known if name.startswith(start)][:5]
            raise ConfigurationError(
                f"TimmWeights.name = {brief(self.name)}: must be a name of timm.list_pretrained(), "
                f"such as {', '.join(alike) or 'resnet18.a1_in1k'}"
            )
        require_items(self, "skip", str, "a sequence of patterns")

    @property
    def files(self) -> tuple[str, ...]:
        """``timm/<name>.pt``."""
        return (f"timm/{self.name}.pt",)

    def check(self, data_dir: Path, weights_of: Callable[[str], Path]) -> None:
        """Check the file under ``timm/`` in the data folder; download it if missing."""
        file = data_dir / self.files[0]
        if file.exists():
            return
        timm = imported_timm("TimmWeights")
        try:
            model = timm.create_model(self.name, pretrained=True)
        except Exception as error:  # network errors are of many kinds
            raise ConfigurationError(
                f"TimmWeights.name = {self.name!r}: the file {file} does not exist, and the "
                f"download failed ({first_line(error)}); save the state dict of "
                f"timm.create_model({self.name!r}, pretrained=True) to this file with torch.save"
            ) from error
        file.parent.mkdir(parents=True, exist_ok=True)
        with replacing(file) as whole:
            torch.save(model.state_dict(), whole)

    def load(self, model: nn.Module, data_dir: Path, weights_of: Callable[[str], Path]) -> None:
        self.check(data_dir, weights_of)
        load_weights(model, data_dir / self.files[0], skip=self.skip)
