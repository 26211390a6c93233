"""Classification: cross-entropy and accuracy."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from quantlab.errors import ConfigurationError
from quantlab.plain_values import require_count, require_number
from quantlab.tasks.base import Fraction, Metric, Task, described_outputs

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True)
class TopAccuracy(Fraction):
    """Fraction of examples whose class is among the k classes with the highest logits.

    Of classes with equal logits, the first ones come first.
    """

    count: int = 1
    """Number k of classes, >= 1."""

    def __post_init__(self) -> None:
        require_count(self, "count", 1)

    @property
    def name(self) -> str:
        """``"accuracy"`` or ``"accuracy_top5"``."""
        return "accuracy" if self.count == 1 else f"accuracy_top{self.count}"

    @property
    def label(self) -> str:
        """``"accuracy"`` or ``"top-5 accuracy"``."""
        return "accuracy" if self.count == 1 else f"top-{self.count} accuracy"

    def applies(self, num_outputs: int) -> bool:
        """Whether there are more than k classes. The accuracy always applies."""
        return self.count == 1 or num_outputs > self.count

    def each(self, outputs: "Tensor", targets: "Tensor") -> "Tensor":
        """Return whether each class is found, (batch,) bool."""
        hits = outputs.argmax(dim=1) == targets
        if self.count == 1:
            return hits
        first = outputs.argsort(dim=1, descending=True, stable=True)[:, : self.count]
        return hits | (first == targets[:, None]).any(dim=1)


@dataclass(frozen=True)
class Classification(Task):
    """Cross-entropy of (batch, num_classes) logits, and the accuracy."""

    label_smoothing: float = 0.0
    """Share of every label that is spread over all classes, in [0, 1). It changes the loss only."""

    def __post_init__(self) -> None:
        smoothing = require_number(self, "label_smoothing")
        if smoothing >= 1:
            raise ConfigurationError(
                f"Classification.label_smoothing = {smoothing:g}: must be >= 0 and < 1"
            )
        object.__setattr__(self, "label_smoothing", float(smoothing))

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """The accuracy, and the top-5 accuracy with more than five classes."""
        return (TopAccuracy(), TopAccuracy(5))

    def each_loss(self, outputs: "Tensor", targets: "Tensor") -> "Tensor":
        """Return the cross-entropy of every example."""
        import torch.nn.functional as F

        return F.cross_entropy(
            outputs, targets, reduction="none", label_smoothing=self.label_smoothing
        )

    def loss(self, outputs: "Tensor", targets: "Tensor") -> "Tensor":
        """Return the mean cross-entropy, in one call of torch."""
        import torch.nn.functional as F

        return F.cross_entropy(outputs, targets, label_smoothing=self.label_smoothing)

    def each_distillation_loss(
        self, outputs: "Tensor", teacher_outputs: "Tensor", temperature: float
    ) -> "Tensor":
        """Return T^2 KL(teacher || network) of every example, without label smoothing."""
        from quantlab.tasks.divergence import softened_divergence

        return softened_divergence(outputs, teacher_outputs, temperature)

    def guess(self, num_outputs: int) -> float:
        """Return 1 / classes."""
        return 1 / num_outputs

    def require_outputs(
        self, model: "nn.Module", outputs: object, targets: "Tensor", num_outputs: int
    ) -> None:
        """Check that targets are classes, and that there is one logit per class."""
        from torch import Tensor

        if targets.is_floating_point() or targets.dim() != 1:
            other = "Regression()" if targets.is_floating_point() else "LanguageModelling()"
            raise ConfigurationError(
                f"Classification: targets have the type {targets.dtype} and the shape "
                f"{tuple(targets.shape[1:])} for each example; must be one class, a whole number, "
                f"so choose another task, such as {other}"
            )
        batch = len(targets)
        if isinstance(outputs, Tensor) and outputs.shape == (batch, num_outputs):
            return
        raise ConfigurationError(
            f"{type(model).__name__}.forward returned {described_outputs(outputs)} for {batch} "
            f"images of {num_outputs} classes; must return a tensor of shape ({batch}, "
            f"{num_outputs}), one logit per class"
        )
