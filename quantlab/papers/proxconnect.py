"""Every setting of the ProxConnect paper's experiments (sections 6.1-6.2, appendix B) as recipes.

Each value names its source in the paper. If the paper does not define a value, or contradicts
itself, a comment explains the choice. Two settings differ from the paper on purpose:

- 5,000 training images (50,000 of ImageNet) are held out, so that rho0 can be chosen without the
  test images. The paper trains on all images and chooses by test accuracy. With fewer images, an
  epoch has fewer steps: B is 352 on CIFAR-10 and 4,810 on ImageNet, where the paper has 391 and
  5,005. ProxConnect uses the same values of rho. The shifts of ProxQuant and reverseProxConnect add
  up over the steps, so that they are smaller at the same rho0: 7.11 in total instead of 7.90 at
  1e-6 on CIFAR-10. ``validation_images=0`` gives the paper's protocol, which the grids
  ``proxconnect_all_images`` use.
- The paper does not state ImageNet's quantization set. The default here is binary.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from quantlab.canonical import fingerprint
from quantlab.datasets import DatasetSpec
from quantlab.datasets.augmentation import CropFlip
from quantlab.datasets.cifar import CIFAR10
from quantlab.datasets.imagenet import ImageNet
from quantlab.errors import ConfigurationError
from quantlab.initial_weights import InitialWeights, TorchvisionWeights, TrialWeights
from quantlab.models import ModelSpec
from quantlab.models.resnet import ResNet
from quantlab.models.torchvision_model import TorchvisionModel
from quantlab.quantization_sets import BINARY, QUATERNARY, TERNARY
from quantlab.quantizers import Quantizer
from quantlab.quantizers.nearest import Nearest
from quantlab.quantizers.piecewise_linear import PiecewiseLinear
from quantlab.recipe import OptimizerSpec, Quantization, Recipe
from quantlab.schedules import Constant, Linear, Schedule, StepDecay
from quantlab.update_rules import PROX_CONNECT, PROX_QUANT, REVERSE_PROX_CONNECT, UpdateRule

__all__ = [
    "BC",
    "CIFAR10_ADAM_DECAYED",
    "CIFAR10_ADAM_FIXED",
    "CIFAR10_END_TO_END_RHO0",
    "CIFAR10_FINE_TUNING_RHO0",
    "CIFAR10_SGD",
    "IMAGENET_ADAM",
    "IMAGENET_END_TO_END_RHO0",
    "IMAGENET_FINE_TUNING_RHO0",
    "IMAGENET_SGD",
    "METHODS",
    "PC",
    "PQ",
    "RESNET18",
    "RESNET18_FULL_PRECISION",
    "RESNET20",
    "RESNET56",
    "RPC",
    "SEEDS",
    "SETS",
    "Method",
    "cifar10",
    "cifar10_end_to_end",
    "cifar10_fine_tuning",
    "cifar10_full_precision",
    "imagenet",
    "imagenet_end_to_end",
    "imagenet_fine_tuning",
]

SEEDS = (0, 1, 2)
"""Seeds of the three runs per configuration (checklist, 3c). The paper does not state the seeds."""

SETS: Mapping[str, tuple[float, ...]] = {
    "binary": BINARY,
    "ternary": TERNARY,
    "quaternary": QUATERNARY,
}
"""The quantization sets {-1, 1}, {-1, 0, 1} and {-1, -0.3, 0.3, 1} (6.1)."""

RESNET20 = ResNet(depth=20)
RESNET56 = ResNet(depth=56)
"""ResNets with option-A shortcuts (B.1.1). All convolution and linear weights are quantized. Batch
normalization, activations and the bias of the last layer are not."""

RESNET18 = TorchvisionModel("resnet18")
"""ResNet18 of torchvision (B.3)."""
RESNET18_FULL_PRECISION = ("conv1", "fc")
"""Layers that stay in full precision: the first convolution and the last layer (B.3)."""


@dataclass(frozen=True)
class Method:
    """A method of the paper, which is a column of Tables 2 and 3."""

    name: str
    rule: UpdateRule
    annealed: bool
    """Whether the quantizer is L_rho^rho with rho_t = (1 + t/B) rho0 (6.1). Otherwise it is the
    projector."""

    def quantization(
        self, levels: tuple[float, ...], rho0: float | None, exclude: tuple[str, ...] = ()
    ) -> Quantization:
        """Return the method on a quantization set. Latent weights are not clipped, as in (3), (31).

        Args:
            levels: the quantization set.
            rho0: sharpness at step 0 for annealed methods; None for the others.
            exclude: layers that stay in full precision.

        Raises:
            ConfigurationError: if `rho0` is missing, or is given for a method without annealing.
        """
        quantizer: Quantizer = Nearest(levels)
        sharpness: Schedule = Constant(0.0)
        if self.annealed:
            if rho0 is None:
                raise ConfigurationError(f"rho0 = None: must be a number for {self.name}")
            # rho = varrho "as this resembles the quantizer ... in the original ProxQuant" (6.1).
            quantizer = PiecewiseLinear(levels)
            sharpness = Linear(rho0)  # "after every gradient step rather than ... every epoch"
        elif rho0 is not None:
            raise ConfigurationError(
                f"rho0 = {rho0!r}: must be None for {self.name}, which is not annealed"
            )
        return Quantization(
            rule=self.rule, quantizer=quantizer, sharpness=sharpness, exclude=exclude
        )


BC = Method("BC", PROX_CONNECT, annealed=False)
"""BinaryConnect, equations (2)-(3)."""
PQ = Method("PQ", PROX_QUANT, annealed=True)
"""ProxQuant, (4)-(5), with L_rho^rho on every set instead of Bai et al.'s ternary map (Table 1)."""
RPC = Method("rPC", REVERSE_PROX_CONNECT, annealed=True)
"""reverseProxConnect, equation (36)."""
PC = Method("PC", PROX_CONNECT, annealed=True)
"""ProxConnect, equation (31)."""

METHODS = (BC, PQ, RPC, PC)
"""All methods, in the order of Tables 2 and 3."""

CIFAR10_FINE_TUNING_RHO0: Mapping[str, tuple[float, ...]] = {
    "PQ": (5e-7, 1e-6, 2e-6),  # Table 6
    "rPC": (5e-7, 1e-6, 2e-6),  # Table 7; PQ's, as the two are alike for small rho (B.1.7)
    "PC": (5e-3, 1e-2, 2e-2),  # Table 8
}
CIFAR10_END_TO_END_RHO0: Mapping[str, tuple[float, ...]] = {
    "PQ": (1e-7, 1e-6, 1e-5),  # Table 9
    "rPC": (1e-7, 1e-6, 1e-5),  # Table 10
    "PC": (5e-3, 1e-2, 2e-2),  # Table 11
}
IMAGENET_FINE_TUNING_RHO0: Mapping[str, tuple[float, ...]] = {"PC": (2e-2, 4e-2)}  # Table 4
IMAGENET_END_TO_END_RHO0: Mapping[str, tuple[float, ...]] = {"PC": (2.5e-3, 5e-3)}  # Table 4


def cifar10(validation_images: int = 5000) -> DatasetSpec:
    """Return CIFAR-10 with the augmentation of B.1.2: pad by 4, crop 32x32, flip at random."""
    return CIFAR10(
        validation_images=validation_images,
        augmentation=CropFlip(padding=4, flip=True),
        mean=(0.4914, 0.4822, 0.4465),
        std=(0.247, 0.243, 0.261),
    )


def imagenet(validation_images: int = 50_000) -> DatasetSpec:
    """Return ImageNet with the augmentation of B.4: random resized crop to 224x224 and flip.

    At inference, images are resized to 256 and cropped to 224 at the centre. B.4 prints a standard
    deviation of 0.224 for blue; the value here is 0.225, as in the code that B.4 cites.
    """
    return ImageNet(
        validation_images=validation_images,
        crop=224,
        resize=256,
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
    )


CIFAR10_SGD = OptimizerSpec(
    algorithm=torch.optim.SGD,
    learning_rate=StepDecay(0.1, milestones=(100, 150), factor=0.1),
    options={"momentum": 0.9, "weight_decay": 1e-4},
)
"""Optimizer of pretraining (B.1.3), and of all methods in end-to-end training (B.1.5)."""

CIFAR10_ADAM_DECAYED = OptimizerSpec(
    algorithm=torch.optim.Adam,
    learning_rate=StepDecay(0.01, milestones=(81, 122), factor=0.1),
)
"""Optimizer of BC in fine-tuning, and of PC, "the optimization setup from BinaryConnect" (B.1.4).
The paper does not state that of rPC; it is the same here, because rPC is similar to PC. To use that
of PQ instead, replace the recipe's optimizer by `CIFAR10_ADAM_FIXED` with `dataclasses.replace`.
The paper states no weight decay, so there is none."""

CIFAR10_ADAM_FIXED = OptimizerSpec(algorithm=torch.optim.Adam, learning_rate=Constant(0.01))
"""Optimizer of PQ in fine-tuning: "fixed learning rate of 0.01 as in Bai et al." (B.1.4)."""

IMAGENET_ADAM = OptimizerSpec(
    algorithm=torch.optim.Adam,
    learning_rate=StepDecay(1e-4, milestones=(15, 30), factor=0.1),
)
"""Optimizer of fine-tuning on ImageNet (B.6): default parameters, "divided by 10 at epoch 15 and
30"."""

IMAGENET_SGD = OptimizerSpec(
    algorithm=torch.optim.SGD,
    learning_rate=StepDecay(0.1, milestones=(30, 60), factor=0.1),
    options={"momentum": 0.9, "weight_decay": 1e-4},
)
"""Optimizer of end-to-end training on ImageNet (B.7)."""


def cifar10_full_precision(
    model: ModelSpec = RESNET20, *, dataset: DatasetSpec | None = None, seed: int = 0
) -> Recipe:
    """Return the pretraining of B.1.3. The paper reports 92.01 % and 93.01 % test accuracy.

    Args:
        model: `RESNET20` or `RESNET56`.
        dataset: dataset; None for `cifar10()`.
        seed: seed of initial weights, data order and augmentation.
    """
    return Recipe(
        model=model,
        dataset=dataset or cifar10(),
        optimizer=CIFAR10_SGD,
        epochs=200,
        batch_size=128,
        seed=seed,
    )


def cifar10_fine_tuning(
    method: Method,
    levels: tuple[float, ...],
    rho0: float | None = None,
    model: ModelSpec = RESNET20,
    *,
    pretrained: InitialWeights | None = None,
    dataset: DatasetSpec | None = None,
    seed: int = 0,
) -> Recipe:
    """Return the fine-tuning of B.1.4 (Tables 2 and 6-8).

    Weights are hard-quantized after 200 epochs, followed by 100 epochs of batch normalization. The
    paper does not state the learning rate of the second stage. Here its schedule continues, so that
    the last value is kept.

    Args:
        method: one of `METHODS`.
        levels: one of `SETS`.
        rho0: one of `CIFAR10_FINE_TUNING_RHO0`; None for BC.
        model: `RESNET20` or `RESNET56`.
        pretrained: initial weights; None for "the last checkpoint of the full precision models",
            which is the trial `cifar10_full_precision` of the same model and dataset.
        dataset: dataset; None for `cifar10()`.
        seed: seed of data order and augmentation. Initial weights are the same for all seeds.
    """
    parent = cifar10_full_precision(model, dataset=dataset)
    return Recipe(
        model=model,
        dataset=parent.dataset,
        initial_weights=pretrained or TrialWeights(fingerprint(parent)),
        optimizer=CIFAR10_ADAM_FIXED if method == PQ else CIFAR10_ADAM_DECAYED,
        quantization=method.quantization(levels, rho0),
        epochs=200,
        batchnorm_epochs=100,
        batch_size=128,
        seed=seed,
    )


def cifar10_end_to_end(
    method: Method,
    levels: tuple[float, ...],
    rho0: float | None = None,
    model: ModelSpec = RESNET20,
    *,
    dataset: DatasetSpec | None = None,
    seed: int = 0,
) -> Recipe:
    """Return the end-to-end training of B.1.5 (Tables 3 and 9-11).

    The arguments are those of `cifar10_fine_tuning`.
    """
    return Recipe(
        model=model,
        dataset=dataset or cifar10(),
        optimizer=CIFAR10_SGD,
        quantization=method.quantization(levels, rho0),
        epochs=200,
        batchnorm_epochs=100,
        batch_size=128,
        seed=seed,
    )


def imagenet_fine_tuning(
    method: Method,
    rho0: float | None = None,
    *,
    levels: tuple[float, ...] = BINARY,
    dataset: DatasetSpec | None = None,
    seed: int = 0,
) -> Recipe:
    """Return the fine-tuning of B.6 (Table 4, left), from torchvision's checkpoint (B.5).

    Weights are hard-quantized after 45 of 50 epochs. "The remaining full-precision layers" are
    trained in the last 5 epochs; they include the first convolution and the last layer.
    """
    return Recipe(
        model=RESNET18,
        dataset=dataset or imagenet(),
        initial_weights=TorchvisionWeights("ResNet18_Weights.IMAGENET1K_V1"),  # resnet18-f37072fd
        optimizer=IMAGENET_ADAM,
        quantization=method.quantization(levels, rho0, RESNET18_FULL_PRECISION),
        epochs=45,
        batchnorm_epochs=5,
        batch_size=256,
        seed=seed,
    )


def imagenet_end_to_end(
    method: Method,
    rho0: float | None = None,
    *,
    levels: tuple[float, ...] = BINARY,
    dataset: DatasetSpec | None = None,
    seed: int = 0,
) -> Recipe:
    """Return the end-to-end training of B.7 (Table 4, right).

    Weights are hard-quantized after 80 of 90 epochs.
    """
    return Recipe(
        model=RESNET18,
        dataset=dataset or imagenet(),
        optimizer=IMAGENET_SGD,
        quantization=method.quantization(levels, rho0, RESNET18_FULL_PRECISION),
        epochs=80,
        batchnorm_epochs=10,
        batch_size=256,
        seed=seed,
    )
