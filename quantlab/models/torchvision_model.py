"""Classification models of torchvision."""

from dataclasses import dataclass

from torch import nn

from quantlab.errors import ConfigurationError
from quantlab.models.base import ModelSpec

_SEVERAL_OUTPUTS = ("googlenet", "inception_v3")
"""Models that also return auxiliary logits in training mode."""


@dataclass(frozen=True)
class TorchvisionModel(ModelSpec):
    """A torchvision model for colour images, with its own initialization.

    The ProxConnect paper's ImageNet model is ``resnet18`` (B.3); its first convolution and last
    layer stay in full precision through ``exclude=("conv1", "fc")``.
    """

    architecture: str = "resnet18"
    """Name for `torchvision.models.get_model`."""

    def __post_init__(self) -> None:
        import torchvision.models  # which takes seconds

        known = torchvision.models.list_models(module=torchvision.models, exclude=_SEVERAL_OUTPUTS)
        if self.architecture not in known:
            raise ConfigurationError(
                f"TorchvisionModel.architecture = {self.architecture!r}: must be one of "
                f"{', '.join(known)}"
            )

    @property
    def name(self) -> str:
        """Name of the architecture."""
        return self.architecture

    def build(self, *, num_classes: int, num_channels: int) -> nn.Module:
        """Build the network with torchvision's initialization.

        Raises:
            ConfigurationError: if the images do not have 3 channels.
        """
        import torchvision.models

        if num_channels != 3:
            raise ConfigurationError(
                f"TorchvisionModel.architecture = {self.architecture!r}: needs images of 3 "
                f"channels, but those of the dataset have {num_channels}; choose another model"
            )
        model: nn.Module = torchvision.models.get_model(
            self.architecture, weights=None, num_classes=num_classes
        )
        return model
