"""The experiments of "Training Quantized Nets: A Deeper Understanding" in its appendix.

H.1 to H.4 and Tables 2 and 3 are those of the appendix, which alone was at hand. A comment explains
each choice that it leaves open; `docs/decisions.md` lists them.

With the gradient g at the quantized weights and the optimizer's step, SGD's or Adam's:

=======  =========================  ==================================================
method   step                       what is stored between steps
=======  =========================  ==================================================
SR       w <- SR(w - alpha g)       quantized weights, and the moments of the optimizer
R        w <- R(w - alpha g)        quantized weights, and the moments of the optimizer
BC       w_r <- w_r - alpha g(w_b)  real weights w_r, of which w_b is the nearest level
=======  =========================  ==================================================

SR rounds at random to one of the adjacent levels, and R to the nearest one. SR and R are the rule
of ProxQuant with a map onto the levels, and BC is that of ProxConnect.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch.optim import Optimizer

from quantlab.datasets import DatasetSpec
from quantlab.datasets.cifar import CIFAR10, CIFAR100
from quantlab.errors import ConfigurationError, brief
from quantlab.initial_weights import RandomLevels
from quantlab.models import ModelSpec
from quantlab.models.resnet import ResNet
from quantlab.models.torchvision_model import TorchvisionModel
from quantlab.models.vgg import VGG9, VGGBC
from quantlab.papers.proxconnect import imagenet
from quantlab.quantization_sets import BINARY
from quantlab.quantizers import Quantizer
from quantlab.quantizers.nearest import Nearest
from quantlab.quantizers.stochastic_rounding import StochasticRounding
from quantlab.quantizers.unbounded.grid import NearestOnGrid, StochasticOnGrid
from quantlab.recipe import OptimizerSpec, Quantization, Recipe
from quantlab.schedules import StepDecay
from quantlab.update_rules import PROX_CONNECT, PROX_QUANT

__all__ = [
    "BC_ADAM",
    "BC_SGD",
    "BIG_BATCHES",
    "BIG_SR_ADAM",
    "EXPERIMENTS",
    "LINEAR",
    "METHODS",
    "NETWORKS",
    "R_ADAM",
    "SEEDS",
    "SR_ADAM",
    "SR_SGD",
    "WEIGHT_DECAY",
    "RoundingMethod",
    "dataset",
    "optimizer",
    "recipe",
]

SEEDS = (0, 1, 2)
"""Seeds of the runs per configuration; the appendix does not say how many runs there are."""
BATCH_SIZE = 128
"""H.1."""
BIG_BATCHES: Mapping[str, int] = {"WRN-56-2": 512, "ResNet-18": 512}
"""Batch size of Big-batch SR-ADAM (H.1), which is `BIG_BATCH` for the other networks."""
BIG_BATCH = 1024
LINEAR = ("Linear",)
"""Layers in full precision: only the weights of convolutions are quantized (H.1)."""
WEIGHT_DECAY = 1e-5
"""The weight decay of Figure 7 (H.4); all other trials have none (H.1)."""

NETWORKS: Mapping[str, ModelSpec] = {
    "VGG-9": VGG9(),
    "VGG-BC": VGGBC(),
    "ResNet-56": ResNet(depth=56),
    "WRN-56-2": ResNet(depth=56, widening=2),
    "ResNet-18": TorchvisionModel("resnet18"),
}
"""The networks of H.1."""
EXPERIMENTS = (
    ("CIFAR-10", "VGG-9"),
    ("CIFAR-10", "VGG-BC"),
    ("CIFAR-10", "ResNet-56"),
    ("CIFAR-10", "WRN-56-2"),
    ("CIFAR-100", "ResNet-56"),
    ("ImageNet", "ResNet-18"),
)
"""Datasets and networks of Figure 6, (a) to (f)."""

CIFAR_EPOCHS = 160
"""H.3, on BC with a learning rate of 0.01 instead of 500 epochs with 0.003."""
IMAGENET_EPOCHS = 90
"""Not in the appendix: the usual training of ResNet-18, with drops after 30 and 60 epochs."""
_DROPS = {CIFAR_EPOCHS: (82, 123), IMAGENET_EPOCHS: (30, 60)}
"""Epochs at which the learning rate drops to a tenth, which the appendix does not have. On CIFAR,
they are those of He et al. (2016), H.1's reference for ResNets: after 32,000 and 48,000 of 64,000
steps at the same batch size, which are 164 epochs."""

ADAM_RATE = 0.01
"""H.3 on BC-ADAM; the other methods with Adam have the same."""
SGD_RATE, MOMENTUM = 0.1, 0.9
"""Not in the appendix: those of He et al. (2016)."""


@dataclass(frozen=True)
class RoundingMethod:
    """A method of the paper."""

    name: str
    """Name in tables."""
    algorithm: type[Optimizer] = torch.optim.Adam
    rounding: str = "stochastic"
    """``"stochastic"`` (SR), ``"nearest"`` (R), or ``"binaryconnect"`` (BC)."""
    has_big_batches: bool = False

    @property
    def keeps_real_weights(self) -> bool:
        """Whether real weights are stored beside the quantized ones."""
        return self.rounding == "binaryconnect"

    def quantization(
        self,
        levels: tuple[float, ...] = BINARY,
        *,
        resolution: float | None = None,
        exclude: tuple[str, ...] = LINEAR,
    ) -> Quantization:
        """Return the method on a quantization set.

        Args:
            levels: the quantization set.
            resolution: distance Delta of the levels of the unbounded grid {k Delta}, which then
                replaces `levels`; None for `levels`.
            exclude: layers that stay in full precision.
        """
        is_random = self.rounding == "stochastic"
        quantizer: Quantizer
        if resolution is not None:
            quantizer = (StochasticOnGrid if is_random else NearestOnGrid)(resolution)
        else:
            quantizer = (StochasticRounding if is_random else Nearest)(levels)
        if not self.keeps_real_weights:
            return Quantization(rule=PROX_QUANT, quantizer=quantizer, exclude=exclude)
        # BinaryConnect, H.1's reference for VGG-BC, clips the real weights to [-1, 1].
        bound = max(map(abs, levels)) if resolution is None else None
        return Quantization(
            rule=PROX_CONNECT, quantizer=quantizer, exclude=exclude, latent_bound=bound
        )

    def initial_weights(
        self, levels: tuple[float, ...] = BINARY, exclude: tuple[str, ...] = LINEAR
    ) -> RandomLevels | None:
        """Return what the method starts from: random levels for SR and R (H.3).

        Args:
            levels: the quantization set.
            exclude: layers that keep the network's initialization.
        """
        return None if self.keeps_real_weights else RandomLevels(exclude=exclude, levels=levels)


SR_SGD = RoundingMethod("SR-SGD", torch.optim.SGD)
SR_ADAM = RoundingMethod("SR-ADAM")
BIG_SR_ADAM = RoundingMethod("Big-batch SR-ADAM", has_big_batches=True)
R_ADAM = RoundingMethod("R-ADAM", rounding="nearest")
BC_SGD = RoundingMethod("BC-SGD", torch.optim.SGD, rounding="binaryconnect")
BC_ADAM = RoundingMethod("BC-ADAM", rounding="binaryconnect")

METHODS = (BC_ADAM, BC_SGD, BIG_SR_ADAM, SR_ADAM, SR_SGD, R_ADAM)
"""All methods."""


def dataset(name: str) -> DatasetSpec:
    """Return a dataset of Figure 6, whose validation images are the test images.

    The paper draws test errors over the epochs. Nothing is chosen by them here: the methods have no
    number that is tuned, and the last epoch counts. The augmentation is that of He et al. (2016),
    because the appendix has none: crops with a padding of 4 pixels and flips on CIFAR.

    Args:
        name: ``"CIFAR-10"``, ``"CIFAR-100"`` or ``"ImageNet"``.

    Raises:
        ConfigurationError: if the name is another one.
    """
    known: Mapping[str, DatasetSpec] = {
        "CIFAR-10": CIFAR10(validation_images=0, validation_split="test"),
        "CIFAR-100": CIFAR100(validation_images=0, validation_split="test"),
        "ImageNet": replace(imagenet(0), validation_split="test"),
    }
    if name not in known:
        raise ConfigurationError(f"dataset = {brief(name)}: must be one of {', '.join(known)}")
    return known[name]


def optimizer(
    algorithm: type[Optimizer], epochs: int = CIFAR_EPOCHS, *, weight_decay: float = 0.0
) -> OptimizerSpec:
    """Return the optimizer of a method.

    Args:
        algorithm: SGD or Adam.
        epochs: number of epochs, `CIFAR_EPOCHS` or `IMAGENET_EPOCHS`.
        weight_decay: weight decay, which is 0 except for Figure 7.
    """
    is_sgd = algorithm is torch.optim.SGD
    rate = StepDecay(SGD_RATE if is_sgd else ADAM_RATE, milestones=_DROPS[epochs])
    options = {"momentum": MOMENTUM} if is_sgd else {}
    return OptimizerSpec(
        algorithm=algorithm, learning_rate=rate, options={**options, "weight_decay": weight_decay}
    )


def batch_size(method: RoundingMethod | None, network_name: str) -> int:
    """Return the batch size of a method, None for full precision (H.1)."""
    if method is None or not method.has_big_batches:
        return BATCH_SIZE
    return BIG_BATCHES.get(network_name, BIG_BATCH)


def recipe(
    method: RoundingMethod | None,
    dataset_name: str = "CIFAR-10",
    network_name: str = "VGG-9",
    *,
    levels: tuple[float, ...] = BINARY,
    weight_decay: float = 0.0,
    accumulation: int = 1,
    seed: int = 0,
) -> Recipe:
    """Return an experiment of Figure 6, or of Figure 7 with a weight decay.

    Args:
        method: the method; None for the network in full precision, trained with Adam.
        dataset_name: see `dataset`.
        network_name: one of `NETWORKS`.
        levels: the quantization set of the convolutions.
        weight_decay: weight decay.
        accumulation: see `Recipe.accumulation`. A part of a batch is normalized by its own
            statistics; big batches in parts of 128 images have the statistics of usual ones.
        seed: seed of initial weights, data order, augmentation and rounding.

    Raises:
        ConfigurationError: if a name is unknown.
    """
    data = dataset(dataset_name)
    if network_name not in NETWORKS:
        raise ConfigurationError(
            f"network = {brief(network_name)}: must be one of {', '.join(NETWORKS)}"
        )
    epochs = IMAGENET_EPOCHS if dataset_name == "ImageNet" else CIFAR_EPOCHS
    algorithm = torch.optim.Adam if method is None else method.algorithm
    return Recipe(
        model=NETWORKS[network_name],
        dataset=data,
        optimizer=optimizer(algorithm, epochs, weight_decay=weight_decay),
        quantization=None if method is None else method.quantization(levels),
        initial_weights=None if method is None else method.initial_weights(levels),
        epochs=epochs,
        batch_size=batch_size(method, network_name),
        accumulation=accumulation,
        seed=seed,
    )
