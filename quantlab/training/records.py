"""What training tells of itself: the record of an epoch, and the outcome."""

from dataclasses import dataclass
from enum import Enum

from quantlab.optim.histogram import WeightHistogram


class Stage(Enum):
    """The two stages of the protocol (ProxConnect paper, B.1.4)."""

    QUANTIZE = "quantize"
    """Latent weights move under an update rule; plain training without quantization."""
    BATCHNORM = "batchnorm"
    """Weights are hard-quantized and frozen; batch normalization and biases go on training."""


@dataclass(frozen=True, kw_only=True)
class EpochRecord:
    """What one epoch did. Accuracies are fractions in [0, 1]; NaN without validation images."""

    stage: Stage
    epoch: int
    """Epochs finished, counted over both stages, from 1."""
    step: int
    """Gradient steps finished, counted over both stages."""
    learning_rate: float
    """Of the epoch's last step."""
    sharpness: float
    """rho_t of the epoch's last step, outside of weight groups with their own; 0 where the
    quantizer is not annealed, and once it is over."""
    sharpness_after: float
    """rho_t once that step is done: what w was mapped with for the accuracies, the gap and the
    histogram below."""
    train_loss: float
    """Mean cross-entropy over the epoch's images, at the weights of the gradient."""
    validation_accuracy_latent: float
    validation_accuracy_proximal: float
    validation_accuracy_hard: float
    """At the three points; all the same once hard-quantized, or in full precision. Batch
    normalization has the statistics of the training so far, which are those of the weights at which
    the gradient was taken; unless the recipe takes those of hard weights anew."""
    quantization_gap: float
    """Root mean square of w less the hard weights, over the quantized weights."""
    weight_histogram: WeightHistogram | None
    """Of w; None once hard-quantized, and in full precision."""
    seconds: float
    """Wall time of the epoch, evaluation included."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What the finished network is worth. The network is the hard-quantized one if any is."""

    validation_accuracy: float
    """NaN without validation images."""
    test_accuracy: float
    bits: float
    """A quantized weight's: log2 of the number of levels, the mean over all quantized weights; 32
    in full precision."""
    network_bits: float
    """The mean over all numbers that the network stores, of which those that are not quantized
    have 32: excluded and other layers, biases, normalization; a shared weight counts once."""
    epochs: int
    steps: int
    classes: int
    """Of the dataset; guessing is right once in as many."""
    training_images: int
    """What is left of the dataset's once validation images are held out."""
