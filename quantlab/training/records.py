"""Records of training: EpochRecord for each epoch, and Outcome for the finished network."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

from quantlab.optim.histogram import WeightHistogram
from quantlab.update_rules import Point

if TYPE_CHECKING:
    from quantlab.tasks.dimensions import Dimensions


class Stage(Enum):
    """The two stages of training (ProxConnect paper, B.1.4)."""

    QUANTIZE = "quantize"
    """Latent weights are trained with an update rule. In full precision this is all training."""
    BATCHNORM = "batchnorm"
    """Weights are hard-quantized and frozen. The other parameters, such as batch normalization and
    biases, are trained."""


@dataclass(frozen=True, kw_only=True)
class EpochRecord:
    """The record of one epoch."""

    stage: Stage
    """Stage of the epoch."""
    epoch: int
    """Number of finished epochs, over both stages."""
    step: int
    """Number of finished gradient steps, over both stages."""
    learning_rate: float
    """Learning rate of the epoch's last step."""
    sharpness: float
    """Sharpness rho_t of the epoch's last step, for weights outside of groups with their own. It is
    0 if neither the quantizer nor the backward map is annealed, and in the second stage."""
    sharpness_after: float
    """Sharpness rho_t after the last step. The proximal weights of the accuracies, the gap and the
    histogram below were computed with it."""
    train_loss: float
    """Mean loss over the epoch's examples, at the weights at which gradients were taken."""
    validation: Mapping[str, float] = field(default_factory=dict)
    """The task's main metric on the validation images at the three points, under the names that
    `measured` makes, such as ``accuracy_hard``; NaN without validation images. The values are equal
    in the second stage and in full precision. Batch normalization uses the statistics of training,
    which belong to the weights at which gradients were taken, unless
    `Quantization.reestimate_batchnorm` is set. With `Recipe.moving_average`, these weights are
    those of the average, and its statistics are averages of those of training; the numbers below
    are those of the weights that are trained."""
    quantization_gap: float
    """Root mean square of w minus the hard weights, over all quantized weights."""
    latent_distance: float
    """Mean of abs(hard weight - latent weight) over all quantized weights, which is |w_b - w_r| / d
    in "Training Quantized Nets" (H.4); see `quantlab.optim.weight_measures.latent_distance`. It is
    0 in the second stage and in full precision."""
    flip_rate: float
    """Share of the quantized weights whose hard level is not that of the epoch's beginning."""
    flip_rate_median: float
    """Median of this share over the quantized tensors."""
    flip_distance: float
    """Median distance of the latents of these weights from the nearest middle of a gap, in widths
    of the gap. `quantlab.optim.flips.Flips` describes all three. They are 0, 0 and NaN in the
    second stage and in full precision, and NaN if the epoch continues from a checkpoint of a
    release that did not store its first levels."""
    weight_histogram: WeightHistogram | None
    """Histogram of w; None in the second stage and in full precision."""
    seconds: float
    """Wall time of the epoch, evaluation included."""

    @property
    def validation_accuracy_latent(self) -> float:
        """Accuracy at the latent weights, in [0, 1]; NaN without one."""
        return self.validation.get(measured("accuracy", Point.LATENT), math.nan)

    @property
    def validation_accuracy_proximal(self) -> float:
        """Accuracy at the proximal weights, in [0, 1]; NaN without one."""
        return self.validation.get(measured("accuracy", Point.PROXIMAL), math.nan)

    @property
    def validation_accuracy_hard(self) -> float:
        """Accuracy at the hard weights, in [0, 1]; NaN without one."""
        return self.validation.get(measured("accuracy", Point.HARD), math.nan)


def measured(metric: str, point: Point) -> str:
    """Return the name of a metric at a point in `EpochRecord.validation`."""
    return f"{metric}_{point.value}"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The evaluation of the finished network, which is hard-quantized if the recipe quantizes."""

    validation: Mapping[str, float]
    """The task's metrics on the validation images by their names; NaN without images."""
    test: Mapping[str, float]
    """The task's metrics on the test images by their names."""
    bits: float
    """Mean over all quantized weights of log2 of the number of levels; 32 in full precision."""
    network_bits: float
    """Mean number of bits over all numbers that the network stores. A number that is not quantized
    (in excluded layers, biases and normalization) has 32 bits. A shared weight is counted once."""
    epochs: int
    """Number of epochs of both stages."""
    steps: int
    """Number of gradient steps of both stages."""
    classes: int
    """Number of outputs of the network, which is that of classes in classification. Random guessing
    then has an accuracy of 1 / classes."""
    dimensions: "Dimensions"
    """Dimensions of the network's inputs and targets."""
    training_images: int
    """Number of training images, without the validation images that are held out."""
    selected_epoch: int | None = None
    """Epoch whose network this is, counted from 1 over both stages, if the recipe selects the best;
    None for the last."""

    @property
    def validation_accuracy(self) -> float:
        """Accuracy on the validation images, in [0, 1]; NaN without one."""
        return self.validation.get("accuracy", math.nan)

    @property
    def test_accuracy(self) -> float:
        """Accuracy on the test images, in [0, 1]; NaN without one."""
        return self.test.get("accuracy", math.nan)
