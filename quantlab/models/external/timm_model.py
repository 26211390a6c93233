"""Models of timm, by name."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from quantlab.errors import ConfigurationError, brief, described
from quantlab.models.base import ModelSpec
from quantlab.plain_values import require_options
from quantlab.tasks.dimensions import Dimensions

_OF_DATASET = ("num_classes", "in_chans")
_OF_WEIGHTS = (
    "pretrained",
    "pretrained_cfg",
    "pretrained_cfg_overlay",
    "pretrained_strict",
    "checkpoint_path",
    "cache_dir",
)
_PLAIN = (bool, int, float, str, type(None))


@dataclass(frozen=True)
class TimmModel(ModelSpec):
    """A model of timm for images, with its own initialization.

    The package timm is needed: ``pip install -e ".[timm]"``. Pretrained weights are the recipe's
    `initial_weights`.
    """

    architecture: str = "resnet18"
    """Name in `timm.list_models`, without the tag of pretrained weights."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Further keyword arguments of `timm.create_model`, such as ``{"img_size": 32}`` for the size
    of images of a transformer. The numbers of classes and channels are those of the dataset."""

    def __post_init__(self) -> None:
        timm = imported_timm("TimmModel")
        if self.architecture not in timm.list_models():
            alike = timm.list_models(f"*{str(self.architecture).partition('.')[0]}*")[:5]
            raise ConfigurationError(
                f"TimmModel.architecture = {brief(self.architecture)}: must be a name of "
                f"timm.list_models(), without the tag of its weights{_listed(alike)}"
            )
        require_options(self, "options", "{'img_size': 32}")
        for name, value in self.options.items():
            where = f"TimmModel.options[{name!r}] = {brief(value)}"
            if name in _OF_DATASET:
                raise ConfigurationError(f"{where}: is that of the dataset; omit it")
            if name in _OF_WEIGHTS:
                raise ConfigurationError(
                    f"{where}: weights are not part of a model; omit it, and give the recipe "
                    "initial_weights = WeightsFile(FILE) or TimmWeights(NAME)"
                )
            parts = value if isinstance(value, list | tuple) else [value]
            if not all(isinstance(part, _PLAIN) for part in parts):
                raise ConfigurationError(f"{where}: must be a number, text or a sequence of these")

    @property
    def name(self) -> str:
        """Name of the architecture."""
        return self.architecture

    @property
    def packages(self) -> tuple[str, ...]:
        """The package timm."""
        return ("timm",)

    def build_for(self, dimensions: Dimensions) -> nn.Module:
        """Build the network with timm's initialization.

        Raises:
            ConfigurationError: if the inputs are not images, or if timm refuses the options.
        """
        if len(dimensions.input) != 3:
            raise ConfigurationError(
                f"TimmModel.architecture = {self.architecture!r}: needs images of the shape "
                f"(channels, height, width), but inputs have the shape {dimensions.input}; choose "
                "another model"
            )
        timm = imported_timm("TimmModel")
        try:
            model: nn.Module = timm.create_model(
                self.architecture,
                num_classes=dimensions.num_classes,
                in_chans=dimensions.input[0],
                **self.options,
            )
        except TypeError as error:
            raise ConfigurationError(
                f"TimmModel.options = {brief(dict(self.options))}: must be keyword arguments of "
                f"{self.architecture}; it raised {described(error)}"
            ) from error
        return model


def imported_timm(owner: str) -> Any:
    """Return the package timm.

    Args:
        owner: name of the class that needs it, for the message.

    Raises:
        ConfigurationError: if it is not installed.
    """
    try:
        import timm
    except ImportError as error:
        raise ConfigurationError(
            f"{owner}: needs the package timm ({error}); install it with "
            'pip install -e ".[timm]" in the folder of quantlab'
        ) from error
    return timm


def _listed(names: list[str]) -> str:
    return f", such as {', '.join(names)}" if names else ""
