"""The hyper-parameters of the mirror-descent paper's experiments: its Tables 6 to 11.

The numbers were typed from the paper. In three places sources disagree, or a number is not printed:

- MD-softmax on CIFAR-100 with VGG-16 has a learning rate of 1e-3 in Table 8, and of 1e-4 in the
  script.
- Binary PQ on CIFAR-100 with VGG-16 has no `lr_scale` here, as in a second transcription of Table
  8; the text of the paper that was at hand has 0.5.
- Table 9 has no weight decay for TinyImageNet. Here it is that of the table's other networks: 1e-4
  for REF and PQ*, and 0 for the others.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from quantlab.errors import ConfigurationError
from quantlab.schedules import Schedule, Staircase

__all__ = [
    "BATCH_SIZE",
    "BETA_CAP",
    "BINARY_SETTINGS",
    "IMAGENET_SETTINGS",
    "ITERATIONS",
    "LR_INTERVAL",
    "MOBILENET_SETTINGS",
    "SEARCH_SPACE",
    "TERNARY_SETTINGS",
    "ImageNetSetting",
    "Setting",
    "published_setting",
]

ITERATIONS = 100_000
"""Number K of gradient steps on CIFAR-10, CIFAR-100 and TinyImageNet (Table 6)."""
BATCH_SIZE = 128
"""Number b of images per gradient step on the same datasets (Table 6)."""
LR_INTERVAL = 30_000
"""Number of gradient steps after which the learning rate is multiplied by `lr_scale` (caption of
Table 8)."""
BETA_CAP = 1e35
"""Largest beta. The paper caps it "at an arbitrarily chosen maximum value" (3.1); this one is from
its public code. MD-softmax-s on CIFAR-100 with a ternary ResNet-18 reaches it (1.1^1000)."""


@dataclass(frozen=True)
class Setting:
    """The hyper-parameters of one method, on one dataset, with one network."""

    learning_rate: float
    lr_scale: float | None = None
    """Factor of the learning rate after every `LR_INTERVAL` steps; None for a constant rate."""
    beta_scale: float | None = None
    """Factor of beta after every `beta_scale_interval` steps; for PQ, the regularization rate; None
    if nothing is annealed."""
    beta_scale_interval: int | None = None
    """Number of steps; None for PQ, and if nothing is annealed."""
    weight_decay: float = 0.0
    """Weight decay of the optimizer (Tables 9 and 10; "zero weight decay", Table 8)."""

    def rate(self) -> Staircase:
        """Return the learning rate of every step."""
        scale = 1.0 if self.lr_scale is None else self.lr_scale
        return Staircase(self.learning_rate, scale, LR_INTERVAL)

    def beta(self) -> Schedule:
        """Return beta of every step: 1 at step 0, and multiplied for the first time after step 0.

        The pseudocode multiplies beta after every iteration. The experiments do it in every
        `beta_scale_interval` of them, and the public code does it after the first step of each
        interval.

        Raises:
            ConfigurationError: if a hyper-parameter of beta is None.
        """
        return _beta(self.beta_scale, self.beta_scale_interval)


CIFAR10_RESNET18 = ("CIFAR-10", "ResNet-18")
CIFAR100_RESNET18 = ("CIFAR-100", "ResNet-18")
CIFAR10_VGG16 = ("CIFAR-10", "VGG-16")
CIFAR100_VGG16 = ("CIFAR-100", "VGG-16")
TINY_RESNET18 = ("TinyImageNet", "ResNet-18")
CIFAR10_MOBILENET = ("CIFAR-10", "MobileNetV2")
CIFAR100_MOBILENET = ("CIFAR-100", "MobileNetV2")

Settings: TypeAlias = dict[tuple[str, str], dict[str, Setting]]
"""Dataset and network -> method -> its setting."""

BINARY_SETTINGS: Settings = {
    CIFAR10_RESNET18: {
        "MD-softmax": Setting(0.001, 0.2, 1.02, 200),
        "MD-tanh": Setting(0.001, 0.3, 1.01, 100),
        "MD-softmax-s": Setting(0.001, 0.3, 1.02, 200),
        "MD-tanh-s": Setting(0.001, 0.3, 1.02, 200),
        "PMF*": Setting(0.001, 0.3, 1.1, 1000),
        "GD-tanh": Setting(0.001, 0.3, 1.1, 1000),
        "BC": Setting(0.001, 0.3),
        "PQ": Setting(0.01, 0.5, 0.0001),
    },
    CIFAR100_RESNET18: {
        "MD-softmax": Setting(0.001, 0.2, 1.05, 500),
        "MD-tanh": Setting(0.001, 0.3, 1.05, 500),
        "MD-softmax-s": Setting(0.001, 0.2, 1.1, 200),
        "MD-tanh-s": Setting(0.001, 0.2, 1.2, 500),
        "PMF*": Setting(0.001, 0.3, 1.01, 100),
        "GD-tanh": Setting(0.001, 0.5, 1.01, 100),
        "BC": Setting(0.001, 0.2),
        "PQ": Setting(0.1, None, 0.001),
    },
    CIFAR10_VGG16: {
        "MD-softmax": Setting(0.01, 0.2, 1.05, 500),
        "MD-tanh": Setting(0.001, 0.3, 1.1, 1000),
        "MD-softmax-s": Setting(0.001, 0.3, 1.2, 2000),
        "MD-tanh-s": Setting(0.001, 0.2, 1.2, 2000),
        "PMF*": Setting(0.001, 0.5, 1.05, 500),
        "GD-tanh": Setting(0.001, 0.3, 1.1, 1000),
        "BC": Setting(0.0001, 0.3),
        "PQ": Setting(0.01, 0.5, 0.0001),
    },
    CIFAR100_VGG16: {
        "MD-softmax": Setting(0.001, 0.3, 1.01, 100),
        "MD-tanh": Setting(0.001, 0.3, 1.05, 500),
        "MD-softmax-s": Setting(0.0001, 0.2, 1.2, 500),
        "MD-tanh-s": Setting(0.001, 0.5, 1.05, 500),
        "PMF*": Setting(0.0001, 0.5, 1.02, 200),
        "GD-tanh": Setting(0.001, 0.5, 1.1, 1000),
        "BC": Setting(0.0001, 0.2),
        "PQ": Setting(0.01, None, 0.0001),
    },
    TINY_RESNET18: {
        "MD-softmax": Setting(0.001, 0.2, 1.02, 200),
        "MD-tanh": Setting(0.001, 0.5, 1.2, 2000),
        "MD-softmax-s": Setting(0.001, 0.1, 1.02, 100),
        "MD-tanh-s": Setting(0.001, 0.1, 1.2, 500),
        "PMF*": Setting(0.001, 0.5, 1.01, 100),
        "GD-tanh": Setting(0.001, 0.5, 1.01, 100),
        "BC": Setting(0.001, 0.5),
        "PQ": Setting(0.01, None, 0.0001),
    },
}
"""Table 8, binary quantization. "We use Adam optimizer with zero weight decay"."""

TERNARY_SETTINGS: Settings = {
    CIFAR10_RESNET18: {
        "REF": Setting(0.1, 0.3, weight_decay=0.0001),
        "MD-softmax-s": Setting(0.001, 0.3, 1.05, 500),
        "MD-tanh-s": Setting(0.01, 0.2, 1.2, 1000),
        "GD-tanh": Setting(0.01, 0.5, 1.02, 500),
        "PQ": Setting(0.01, 0.3, 0.0001),
        "PQ*": Setting(0.01, None, 0.0001, weight_decay=0.0001),
    },
    CIFAR100_RESNET18: {
        "REF": Setting(0.1, 0.1, weight_decay=0.0001),
        "MD-softmax-s": Setting(0.001, 0.1, 1.1, 100),
        "MD-tanh-s": Setting(0.001, 0.5, 1.1, 500),
        "GD-tanh": Setting(0.01, 0.5, 1.02, 1000),
        "PQ": Setting(0.01, 0.2, 0.0001),
        "PQ*": Setting(0.001, None, 0.0001, weight_decay=0.0001),
    },
    CIFAR10_VGG16: {
        "REF": Setting(0.1, 0.2, weight_decay=0.0001),
        "MD-softmax-s": Setting(0.001, 0.3, 1.05, 500),
        "MD-tanh-s": Setting(0.01, 0.3, 1.1, 1000),
        "GD-tanh": Setting(0.01, 0.3, 1.01, 500),
        "PQ": Setting(0.01, None, 1e-07),
        "PQ*": Setting(0.1, None, 0.0001, weight_decay=0.0001),
    },
    CIFAR100_VGG16: {
        "REF": Setting(0.1, 0.2, weight_decay=0.0001),
        "MD-softmax-s": Setting(0.0001, 0.3, 1.05, 100),
        "MD-tanh-s": Setting(0.001, 0.5, 1.1, 500),
        "GD-tanh": Setting(0.01, 0.2, 1.05, 2000),
        "PQ": Setting(0.01, None, 0.0001),
        "PQ*": Setting(0.0001, None, 0.0001, weight_decay=0.0001),
    },
    TINY_RESNET18: {
        "REF": Setting(0.1, 0.1, weight_decay=0.0001),
        "MD-softmax-s": Setting(0.001, 0.1, 1.2, 500),
        "MD-tanh-s": Setting(0.01, 0.1, 1.2, 2000),
        "GD-tanh": Setting(0.01, 0.5, 1.05, 2000),
        "PQ": Setting(0.01, None, 0.01),
        "PQ*": Setting(0.01, None, 0.0001, weight_decay=0.0001),
    },
}
"""Table 9, ternary quantization, and the floating-point reference of Tables 1 and 5. "We use Adam
optimizer except for REF for which SGD with momentum 0.9 is used"."""

MOBILENET_SETTINGS: Settings = {
    CIFAR10_MOBILENET: {
        "REF": Setting(0.01, 0.5, weight_decay=0.0001),
        "BC": Setting(0.001, 0.5),
        "MD-softmax-s": Setting(0.01, 0.3, 1.1, 1000),
        "MD-tanh-s": Setting(0.01, 0.2, 1.2, 2000),
    },
    CIFAR100_MOBILENET: {
        "REF": Setting(0.01, 0.5, weight_decay=0.0001),
        "BC": Setting(0.001, 0.2),
        "MD-softmax-s": Setting(0.01, 0.1, 1.1, 500),
        "MD-tanh-s": Setting(0.01, 0.1, 1.02, 100),
    },
}
"""Table 10, binary quantization of MobileNetV2."""

SEARCH_SPACE: Mapping[str, tuple[float, ...]] = {
    "learning_rate": (0.1, 0.01, 0.001, 0.0001),
    "lr_scale": (0.1, 0.2, 0.3, 0.5),
    "beta_scale": (1.01, 1.02, 1.05, 1.1, 1.2),
    "beta_scale_interval": (100, 200, 500, 1000, 2000),
}
"""Table 7, the search space of all experiments."""


@dataclass(frozen=True)
class ImageNetSetting:
    """A column of Table 11: SGD with momentum 0.875 and a cosine learning rate."""

    learning_rate: float
    warmup_epochs: int
    beta_scale: float | None
    beta_scale_interval: int | None
    batch_size: int
    epochs: int
    weight_decay: float = 3.0517e-05
    """It does not act on batch normalization."""
    momentum: float = 0.875

    def beta(self) -> Schedule:
        """Return beta of every step; see `Setting.beta`."""
        return _beta(self.beta_scale, self.beta_scale_interval)


IMAGENET_SETTINGS: Mapping[str, ImageNetSetting] = {
    "REF": ImageNetSetting(2.048, 8, None, None, 2048, epochs=90),
    "scratch": ImageNetSetting(2.048, 8, 1.02, 62, 2048, epochs=90),
    "pretrained": ImageNetSetting(0.0768, 0, 1.02, 275, 256, epochs=55),
}
"""Table 11, with the epochs of Table 6: REF, MD-tanh-s from scratch, and from a pretrained
network."""


def _beta(scale: float | None, interval: int | None) -> Schedule:
    if scale is None or interval is None:
        raise ConfigurationError(
            f"beta_scale = {scale}, beta_scale_interval = {interval}: must be numbers for a method "
            "that anneals beta, such as 1.02 and 200"
        )
    return Staircase(1.0, scale, interval, cap=BETA_CAP, after_first=True)


def published_setting(dataset: str, network: str, method: str, *, num_levels: int) -> Setting:
    """Return the hyper-parameters that the paper chose for a method.

    Two methods of Table 1 have no column in Table 8, and use another one: REF is that of Table 9,
    as the accuracies are the same in Tables 1 and 5, and PQ* has the numbers of PQ.

    Args:
        dataset: ``"CIFAR-10"``, ``"CIFAR-100"`` or ``"TinyImageNet"``.
        network: ``"VGG-16"``, ``"ResNet-18"`` or ``"MobileNetV2"``.
        method: name of the method in the tables.
        num_levels: 2 for binary and 3 for ternary quantization.

    Raises:
        ConfigurationError: if the tables have no column for these.
    """
    place = (dataset, network)
    table = TERNARY_SETTINGS if num_levels == 3 else BINARY_SETTINGS | MOBILENET_SETTINGS
    settings = dict(table.get(place, {})) if num_levels in (2, 3) else {}
    if num_levels == 2 and place in BINARY_SETTINGS:
        settings |= {"REF": TERNARY_SETTINGS[place]["REF"], "PQ*": settings["PQ"]}
    if method not in settings:
        known = ", ".join(settings) or "(there is none)"
        raise ConfigurationError(
            f"method = {method!r}: must be one of those for which the paper gives hyper-parameters "
            f"with {num_levels} levels, on {dataset} with {network}: {known}; pass `setting`"
        )
    return settings[method]
