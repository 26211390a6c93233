"""Classification models of torchvision, by name."""

from dataclasses import dataclass

import torchvision.models
from torch import nn

from quantlab.errors import ConfigurationError
from quantlab.models.base import ModelSpec

_SEVERAL_OUTPUTS = ("googlenet", "inception_v3")
"""While training, these give auxiliary logits as well."""


@dataclass(frozen=True)
class TorchvisionModel(ModelSpec):
    """A torchvision model for colour images, with its own initialization.

    The ProxConnect paper's ImageNet model is ``resnet18`` (B.3); its first convolution and last
    layer stay in full precision through ``exclude=("conv1", "fc")``.
    """

    architecture: str = "resnet18"
    """As `torchvision.models.get_model` names it."""

    def __post_init__(self) -> None:
        known = torchvision.models.list_models(module=torchvision.models, exclude=_SEVERAL_OUTPUTS)
        if self.architecture not in known:
            raise ConfigurationError(
                f"TorchvisionModel.architecture = {self.architecture!r}: must be one of "
                f"{', '.join(known)}"
            )

    @property
    def name(self) -> str:
        """The architecture's name."""
        return self.architecture

    def build(self, *, num_classes: int, num_channels: int) -> nn.Module:
        """The network, initialized as torchvision does.

        Raises:
            ConfigurationError: the images are not in colour.
        """
        if num_channels != 3:
            raise ConfigurationError(
                f"TorchvisionModel.architecture = {self.architecture!r}: takes images of 3 "
                f"channels, the dataset's have {num_channels}"
            )
        model: nn.Module = torchvision.models.get_model(
            self.architecture, weights=None, num_classes=num_classes
        )
        return model
