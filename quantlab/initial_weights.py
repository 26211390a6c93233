"""Where training starts from: a file, another trial's network, or torchvision's weights."""

import hashlib
import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torchvision.models
from torch import nn

from quantlab.datasets.files import require_relative
from quantlab.errors import ConfigurationError, brief, first_line
from quantlab.models.state_dicts import fit_weights, load_weights


def no_other_trials(fingerprint: str) -> Path:
    """The ``weights_of`` of whoever has nothing to do with other trials.

    Raises:
        ConfigurationError: always.
    """
    raise ConfigurationError(
        f"TrialWeights.fingerprint = {fingerprint!r}: no other trials are known here; "
        "give weights_of"
    )


@dataclass(frozen=True)
class InitialWeights(ABC):
    """Weights, batch normalization included, that a model has before its first step."""

    @property
    def files(self) -> tuple[str, ...]:
        """Files and folders within the data folder that they are read from; none for none."""
        return ()

    @abstractmethod
    def check(self, data_dir: Path, weights_of: Callable[[str], Path]) -> None:
        """Make sure, before any trial starts, that the weights are there.

        Args:
            data_dir: where data lies.
            weights_of: the file of the final weights of the trial with a fingerprint.

        Raises:
            ConfigurationError: they are not; the message says where they belong.
        """

    @abstractmethod
    def load(self, model: nn.Module, data_dir: Path, weights_of: Callable[[str], Path]) -> None:
        """Load them into a model.

        Raises:
            ConfigurationError: they are missing, damaged, or of another architecture.
        """


@dataclass(frozen=True)
class WeightsFile(InitialWeights):
    """A state dict in a file, as public checkpoints come; see `quantlab.models.state_dicts`.

    The recipe's identity holds the name and the digest, not the content: give the digest wherever
    the name alone does not settle which weights are meant.
    """

    file: str
    """Path within the data folder (relative: a recipe holds no path of a machine)."""
    sha256: str = ""
    """First digits of the file's SHA-256, checked before use; "" for no check."""
    entry: str = ""
    """Under which name the file holds the state dict, such as ``"state_dict_ema"``; "" for the only
    one that it holds, or that fits."""

    def __post_init__(self) -> None:
        require_relative(self, "file")
        if not isinstance(self.sha256, str) or not re.fullmatch("[0-9a-f]{0,64}", self.sha256):
            raise ConfigurationError(
                f"WeightsFile.sha256 = {self.sha256!r}: must be up to 64 hexadecimal digits"
            )
        if not isinstance(self.entry, str):
            raise ConfigurationError(f"WeightsFile.entry = {brief(self.entry)}: must be text")

    @property
    def files(self) -> tuple[str, ...]:
        """The one file."""
        return (self.file,)

    def check(self, data_dir: Path, weights_of: Callable[[str], Path]) -> None:
        """Look for the file and compare its digest."""
        path = data_dir / self.file
        if not path.is_file():
            raise ConfigurationError(f"WeightsFile.file = {self.file!r}: no file {path}")
        if self.sha256:
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            if not digest.startswith(self.sha256):
                raise ConfigurationError(
                    f"WeightsFile.sha256 = {self.sha256!r}: {path} has {digest[:16]}..."
                )

    def load(self, model: nn.Module, data_dir: Path, weights_of: Callable[[str], Path]) -> None:
        self.check(data_dir, weights_of)
        load_weights(model, data_dir / self.file, self.entry)


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
        """Look for that trial's file."""
        path = weights_of(self.fingerprint)
        if not path.is_file():
            raise ConfigurationError(
                f"TrialWeights.fingerprint = {self.fingerprint!r}: that trial has no final weights "
                f"yet ({path}); it must be trained first"
            )

    def load(self, model: nn.Module, data_dir: Path, weights_of: Callable[[str], Path]) -> None:
        self.check(data_dir, weights_of)
        load_weights(model, weights_of(self.fingerprint))


@dataclass(frozen=True)
class TorchvisionWeights(InitialWeights):
    """Pretrained weights of a torchvision model, downloaded once into the data folder."""

    name: str
    """As torchvision names them, such as ``"ResNet18_Weights.IMAGENET1K_V1"``."""

    def __post_init__(self) -> None:
        self._weights()

    @property
    def files(self) -> tuple[str, ...]:
        """The one file."""
        return (f"torchvision/{self._weights().url.rpartition('/')[2]}",)

    def check(self, data_dir: Path, weights_of: Callable[[str], Path]) -> None:
        """Look for the file under ``torchvision/`` in the data folder; download it if missing."""
        self._state_dict(data_dir)

    def load(self, model: nn.Module, data_dir: Path, weights_of: Callable[[str], Path]) -> None:
        fit_weights(model, self._state_dict(data_dir), f"weights {self.name}")

    def _weights(self) -> Any:
        try:
            return torchvision.models.get_weight(self.name)
        except (ValueError, KeyError, AttributeError) as error:
            raise ConfigurationError(
                f"TorchvisionWeights.name = {self.name!r}: torchvision has no such weights, "
                'which are named as in "ResNet18_Weights.IMAGENET1K_V1"'
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
            what = "is damaged" if file.exists() else "is not there, and the download failed"
            raise ConfigurationError(
                f"TorchvisionWeights.name = {self.name!r}: {file} {what} ({first_line(error)}); "
                f"put {weights.url} there"
            ) from error
        return state
