"""ModelSpec, the base class of all networks, and functions that they share."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from quantlab.errors import ConfigurationError, brief
from quantlab.plain_values import require_bool, require_instance
from quantlab.tasks.dimensions import Dimensions

_INITIALIZATIONS = ("default", "xavier")
_BIAS_STD = 0.1
"""Standard deviation of biases in the public code of the mirror-descent paper."""


@dataclass(frozen=True)
class ModelSpec:
    """The architecture of a network, including its size but not its weights."""

    is_named: ClassVar[bool] = True
    """Whether a name of quantlab, or of a library's list of models, determines the network. Files
    of networks are loaded without running other code."""

    def build_for(self, dimensions: Dimensions) -> nn.Module:
        """Build the network for a dataset, initialized from torch's default generator.

        A network that depends on more than the number of its outputs and the first size of its
        input, such as one for text, defines this method instead of `build`.

        Args:
            dimensions: the dimensions of its inputs and targets.

        Raises:
            ConfigurationError: if the network does not fit them.
        """
        return self.build(num_classes=dimensions.num_classes, num_channels=dimensions.input[0])

    def build(self, *, num_classes: int, num_channels: int) -> nn.Module:
        """Build the network for images or signals, initialized from torch's default generator.

        Args:
            num_classes: number of outputs: classes in classification, where the output is (batch,
                num_classes) logits.
            num_channels: number of channels of the input (batch, num_channels, height, width).

        Raises:
            ConfigurationError: if the network needs more to be built; see `build_for`.
        """
        raise ConfigurationError(
            f"{type(self).__name__}: cannot be built from the numbers of classes and channels "
            "alone; call build_for with the dimensions of a dataset"
        )

    @property
    def name(self) -> str:
        """Name of the architecture in tables."""
        return type(self).__name__

    def is_built_from_channels(self, dimensions: Dimensions) -> bool:
        """Whether `build`, which only knows two numbers, returns the same network as `build_for`.

        Files of such networks have these two numbers instead of all dimensions.
        """
        return type(self).build_for is ModelSpec.build_for

    @property
    def packages(self) -> tuple[str, ...]:
        """Packages besides torch that define the network. Results record their versions."""
        return ()


@dataclass(frozen=True, kw_only=True)
class NormalizedModel(ModelSpec, ABC):
    """A network with batch normalization, and two options of the mirror-descent paper."""

    affine: bool = True
    """Whether batch normalization has learnable scales and shifts. The mirror-descent paper trains
    quantized networks without them, and networks in full precision with them (B.4)."""
    initialization: str = "default"
    """``"default"`` for the initialization of torch's layers; ``"xavier"`` for that of the paper's
    public code, which draws parameters of two or more dimensions from the uniform distribution of
    Glorot and Bengio (2010), and biases from N(0, 0.1^2). Batch normalization begins with scales of
    1 and shifts of 0."""

    def __post_init__(self) -> None:
        require_bool(self, "affine")
        if self.initialization not in _INITIALIZATIONS:
            raise ConfigurationError(
                f"{type(self).__name__}.initialization = {brief(self.initialization)}: must be one "
                f"of {', '.join(_INITIALIZATIONS)}"
            )

    def build(self, *, num_classes: int, num_channels: int) -> nn.Module:
        """Build the network, with batch normalization and initialization as chosen."""
        model = self.network(num_classes=num_classes, num_channels=num_channels)
        for module in model.modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                if not self.affine:
                    module.affine = False
                    module.register_parameter("weight", None)
                    module.register_parameter("bias", None)
            elif self.initialization == "xavier":
                for parameter in module.parameters(recurse=False):
                    if parameter.dim() >= 2:
                        nn.init.xavier_uniform_(parameter)
                    else:
                        nn.init.normal_(parameter, std=_BIAS_STD)
        return model

    @abstractmethod
    def network(self, *, num_classes: int, num_channels: int) -> nn.Module:
        """Build the network with torch's initialization and learnable batch normalization.

        Args:
            num_classes: see `build`.
            num_channels: see `build`.
        """


@dataclass(frozen=True, kw_only=True)
class ScaledLayers(ModelSpec, ABC):
    """Another network, to whose convolution and linear layers scales are added."""

    base: ModelSpec
    """The network without scales."""
    exclude: tuple[str, ...] = ()
    """Module types and patterns of layers without a scale; see `Quantization.exclude`."""

    def __post_init__(self) -> None:
        require_instance(self, "base", ModelSpec)
        given: Any = self.exclude  # kept as it is, because an empty list has another fingerprint
        is_text = isinstance(given, str) or not isinstance(given, Iterable)
        if is_text or not all(isinstance(pattern, str) for pattern in given):
            raise ConfigurationError(
                f"{type(self).__name__}.exclude = {brief(given)}: must be a sequence of patterns, "
                'such as ("Linear",)'
            )

    @abstractmethod
    def add_scales(self, model: nn.Module) -> None:
        """Add scales to the layers of a network that was built."""

    @property
    def packages(self) -> tuple[str, ...]:
        """Those of the network without scales."""
        return self.base.packages

    def is_built_from_channels(self, dimensions: Dimensions) -> bool:
        """Whether the network without scales is."""
        return self.base.is_built_from_channels(dimensions)

    def build_for(self, dimensions: Dimensions) -> nn.Module:
        """Build the network, and add scales to its layers."""
        model = self.base.build_for(dimensions)
        self.add_scales(model)
        return model

    def build(self, *, num_classes: int, num_channels: int) -> nn.Module:
        """Do the same for images."""
        model = self.base.build(num_classes=num_classes, num_channels=num_channels)
        self.add_scales(model)
        return model


def global_average(features: Tensor) -> Tensor:
    """Average (batch, channels, height, width) or (batch, channels, length) to (batch, channels).

    The mean is computed as a sum and a division. The gradient of `torch.mean` is contiguous even if
    the features are channels-last, which makes the following operations many times slower.
    """
    places = tuple(range(2, features.dim()))
    return features.sum(dim=places) / math.prod(features.shape[2:])
