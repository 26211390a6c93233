"""Task and Metric, the base classes of all losses and measures of quality."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

from quantlab.errors import ConfigurationError

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True)
class Metric(ABC):
    """A measure of quality, which is a function of the mean of a value per example.

    Subclasses are frozen dataclasses that can be built without arguments. Their methods do not
    change their arguments.
    """

    @property
    @abstractmethod
    def name(self) -> str:
        """Name in records and tables: lower-case letters, digits and underscores."""

    @property
    @abstractmethod
    def higher_is_better(self) -> bool:
        """Whether a network with a higher value is the better one."""

    @property
    def label(self) -> str:
        """Name in sentences and figures."""
        return self.name.replace("_", " ")

    @property
    def unit(self) -> str:
        """Unit of printed values, such as ``"%"``; empty for none."""
        return ""

    @property
    def factor(self) -> float:
        """Factor of a value when it is printed, such as 100 for a fraction in percent."""
        return 1.0

    @property
    def least(self) -> float | None:
        """The lowest possible value; None if there is none."""
        return 0.0

    @property
    def most(self) -> float | None:
        """The highest possible value; None if there is none."""
        return None

    @property
    def digits(self) -> int | None:
        """Decimals of printed values; None for four significant digits, whatever the values."""
        return None

    def shown(self, value: float) -> str:
        """Return a value as text with its unit: ``"98.61 %"``, ``"2.309 bits a byte"``."""
        form = ".4g" if self.digits is None else f".{self.digits}f"
        return f"{self.factor * value:{form}} {self.unit}".rstrip()

    def applies(self, num_outputs: int) -> bool:
        """Whether the metric tells networks with a number of outputs apart."""
        return True

    @abstractmethod
    def each(self, outputs: "Tensor", targets: "Tensor") -> "Tensor":
        """Return the value of every example, (batch,): floating, or bool for a count.

        Args:
            outputs: (batch, ...) what the network returned.
            targets: (batch, ...) what the dataset has for it.
        """

    def of_mean(self, mean: float) -> float:
        """Return the metric from the mean of `each` over all examples."""
        return mean


@dataclass(frozen=True)
class Fraction(Metric):
    """A fraction of all cases, which is printed in percent. More are better."""

    @property
    def higher_is_better(self) -> bool:
        """Always true."""
        return True

    @property
    def unit(self) -> str:
        """Percent."""
        return "%"

    @property
    def factor(self) -> float:
        """100."""
        return 100.0

    @property
    def digits(self) -> int:
        """2."""
        return 2

    @property
    def most(self) -> float:
        """1."""
        return 1.0


@dataclass(frozen=True)
class LowerIsBetter(Metric):
    """A measure of which less is better."""

    @property
    def higher_is_better(self) -> bool:
        """Always false."""
        return False


@dataclass(frozen=True)
class Task(ABC):
    """What a network is trained for: a loss, and metrics, the first of which is the main one.

    The main metric is measured after every epoch, and is what trials are compared and selected by.
    The others are measured for the finished network. Subclasses are frozen dataclasses that can be
    built without arguments.
    """

    @property
    @abstractmethod
    def metrics(self) -> tuple[Metric, ...]:
        """The metrics, at least one."""

    @abstractmethod
    def each_loss(self, outputs: "Tensor", targets: "Tensor") -> "Tensor":
        """Return the loss of every example, (batch,).

        Args:
            outputs: (batch, ...) what the network returned.
            targets: (batch, ...) what the dataset has for it.
        """

    def loss(self, outputs: "Tensor", targets: "Tensor") -> "Tensor":
        """Return the mean loss of a batch, a number, which must be the mean of `each_loss`."""
        return self.each_loss(outputs, targets).mean()

    @property
    def has_temperature(self) -> bool:
        """Whether the loss of distillation divides outputs, which are logits, by a temperature."""
        return True

    def each_distillation_loss(
        self, outputs: "Tensor", teacher_outputs: "Tensor", temperature: float
    ) -> "Tensor":
        """Return the distance of every example's outputs from those of a teacher, (batch,).

        Args:
            outputs: (batch, ...) what the network returned.
            teacher_outputs: (batch, ...) what the teacher returned for the same inputs.
            temperature: see `Distillation.temperature`; 1 if the task has none.

        Raises:
            ConfigurationError: if the task has no such loss. A recipe is checked for this.
        """
        raise ConfigurationError(
            f"Recipe.distillation: {type(self).__name__} has no loss of distillation; define its "
            "method each_distillation_loss, or set distillation = None"
        )

    def guess(self, num_outputs: int) -> float | None:
        """Return the value of the main metric of random guessing; None if it is unknown."""
        return None

    @abstractmethod
    def require_outputs(
        self, model: "nn.Module", outputs: object, targets: "Tensor", num_outputs: int
    ) -> None:
        """Check that a forward pass returned what the loss needs.

        Args:
            model: the network, for the message.
            outputs: what it returned.
            targets: targets of the batch.
            num_outputs: number of outputs, which is that of classes in classification.

        Raises:
            ConfigurationError: if it did not.
        """


def described_outputs(outputs: object) -> str:
    """Return what a network returned, for a message: its shape, or its type."""
    from torch import Tensor

    if isinstance(outputs, Tensor):
        return f"shape {tuple(outputs.shape)}"
    return f"a {type(outputs).__name__}"
