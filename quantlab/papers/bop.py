"""Bop: binary weights that have no latents and flip, and Adam for all other parameters.

Source: Helwegen et al., "Latent Weights Do Not Exist: Rethinking Binarized Neural Network
Optimization", NeurIPS 2019 (arXiv 1906.02107), and the public code of its authors. The network and
the binary activations of its experiments are not part of this package.
"""

from quantlab.optim.bop import Bop
from quantlab.optimizer_spec import OptimizerSpec
from quantlab.quantization_sets import BINARY
from quantlab.quantizers.nearest import Nearest
from quantlab.recipe import Quantization
from quantlab.schedules import Constant, Schedule, StepDecay
from quantlab.update_rules import PROX_CONNECT

__all__ = [
    "CIFAR10_BATCH_SIZE",
    "CIFAR10_EPOCHS",
    "CIFAR10_OPTIMIZER",
    "CIFAR10_QUANTIZATION",
    "THRESHOLD",
    "optimizer",
    "quantization",
]

THRESHOLD = 1e-8
"""Threshold of all published networks."""


def optimizer(learning_rate: Schedule, *, threshold: float = THRESHOLD) -> OptimizerSpec:
    """Return Bop for the quantized weights and Adam for all others.

    Args:
        learning_rate: that of Adam.
        threshold: a weight flips if the average of its gradients exceeds it and has its sign.
    """
    return OptimizerSpec(
        algorithm=Bop, learning_rate=learning_rate, options={"threshold": threshold}
    )


def quantization(adaptivity: Schedule, *, exclude: tuple[str, ...] = ()) -> Quantization:
    """Return the quantization that belongs to `optimizer`.

    Args:
        adaptivity: the adaptivity rate gamma of the averages, as a multiple of the learning rate.
        exclude: layers that stay in full precision.
    """
    return Quantization(
        rule=PROX_CONNECT, quantizer=Nearest(BINARY), step_scale=adaptivity, exclude=exclude
    )


CIFAR10_EPOCHS, CIFAR10_BATCH_SIZE = 500, 50
CIFAR10_OPTIMIZER = optimizer(Constant(0.01))
CIFAR10_QUANTIZATION = quantization(StepDecay(0.01, milestones=(100, 200, 300, 400)))
"""Section 5.2, as in the public code: gamma is 1e-4 and is multiplied by 0.1 every 100 epochs."""
