"""The experiments of "Mirror Descent View for Neural Network Quantization" as recipes.

Each value names its source in the paper (the mirror-descent paper: Ajanthan et al., AISTATS 2021).
If the paper does not define a value, or its public code does something else, a comment explains the
choice. `quantlab.papers.mirror_descent_settings` has the hyper-parameters.

The methods differ in the projection P, in where the annealed beta acts, and in how the gradient at
the weights w = P(w~) becomes that of the latents w~:

==============  ====================  =======================  =================================
method          projection            beta                     gradient of the latents
==============  ====================  =======================  =================================
MD-tanh         tanh(w~)              scales the step, (15)    g
MD-tanh-s       tanh(beta w~)         is in the projection     g
GD-tanh         tanh(beta w~)         is in the projection     beta (1 - w^2) g
MD-softmax      softmax(u~)           scales the step, (20)    q g
MD-softmax-s    softmax(beta u~)      is in the projection     q g
PMF             softmax(beta u~)      is in the projection     beta (diag(u) - u u^T) q g
PMF*            softmax(beta u~)      is in the projection     beta (I - u u^T) q g
BC              sign(w~)              -                        g
==============  ====================  =======================  =================================

MD-tanh and MD-softmax store the dual point. Their steps are exactly (15) and (20), and they have no
state that absorbs, and no NaN, which the closed forms have in float32.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum

import torch

from quantlab.backward_maps import (
    BackwardMap,
    ClippedIdentity,
    Jacobian,
    SoftmaxShortcut,
    StraightThrough,
)
from quantlab.datasets import DatasetSpec
from quantlab.datasets.augmentation import CropFlip
from quantlab.datasets.cifar import CIFAR10, CIFAR100
from quantlab.datasets.imagenet import ImageNet
from quantlab.datasets.tiny_imagenet import TinyImageNet
from quantlab.errors import ConfigurationError
from quantlab.mirror_maps.shifted_tanh import ShiftedTanh
from quantlab.mirror_maps.softmax import Softmax
from quantlab.models.base import NormalizedModel
from quantlab.models.mobilenet_v2 import MobileNetV2
from quantlab.models.resnet import ResNet18
from quantlab.models.vgg import VGG16
from quantlab.papers.mirror_descent_settings import (
    BATCH_SIZE,
    Setting,
    published_setting,
)
from quantlab.quantization_sets import BINARY, TERNARY
from quantlab.quantizers import Quantizer
from quantlab.quantizers.binary_relax import BinaryRelax
from quantlab.quantizers.nearest import Nearest
from quantlab.quantizers.piecewise_linear import PiecewiseLinear
from quantlab.recipe import OptimizerSpec, Quantization, Recipe
from quantlab.schedules import ProxQuantEpochs
from quantlab.update_rules import PROX_CONNECT, PROX_QUANT

SEEDS = (0, 1, 2)
"""Seeds of the runs per configuration. The paper's code runs once."""

SETS: Mapping[str, tuple[float, ...]] = {"binary": BINARY, "ternary": TERNARY}
"""The quantization sets of section 5 and of B.3."""

TERNARY_STEEPNESS = 4.0
"""Steepness of the shifted tanh of exact mirror descent on more than two levels. The paper has no
such method. In Theorem 2, the mirror map of annealed descent is Phi / beta with a fixed Phi, and
the steepness belongs to Phi. Up to a steepness of 1.31, the projection (21) is steepest at 0, so
that no weight would stay there. 4 is the beta of Figure 3."""


class Annealing(Enum):
    """What a method anneals."""

    NOTHING = "nothing"
    PROJECTION = "projection"
    """beta is the steepness of the projection: equations (12), (21) and (23)."""
    STEP = "step"
    """beta scales the step in the dual space: equations (15) and (20), and Theorem 2."""
    REGULARIZER = "regularizer"
    """The strength of ProxQuant's regularizer grows with the epoch."""


@dataclass(frozen=True)
class Algorithm:
    """A method of the paper: a row of Tables 1, 2, 3 and 5."""

    name: str
    """Name in tables. The suffix -s is the paper's; it marks the numerically stable form."""
    quantizer: Callable[[tuple[float, ...]], Quantizer]
    """Makes the projection onto a quantization set."""
    annealing: Annealing = Annealing.NOTHING
    backward: BackwardMap = field(default_factory=StraightThrough)
    float_layers: bool = False
    """Whether biases, linear layers and shortcuts stay in full precision, and on more than two
    levels the first convolution too: the original setup of ProxQuant (captions of Tables 1, 5)."""
    settings_of: str = ""
    """Name of the method whose published hyper-parameters are used; its own if empty."""

    def quantization(
        self,
        levels: tuple[float, ...],
        setting: Setting,
        *,
        exclude: tuple[str, ...] = (),
        include: tuple[str, ...] = (),
    ) -> Quantization:
        """Return the method on a quantization set.

        Args:
            levels: the quantization set.
            setting: hyper-parameters, of which those of annealing are used. ProxQuant's strength is
                also proportional to the learning rate.
            exclude: see `Quantization.exclude`.
            include: see `Quantization.include`.

        Raises:
            ConfigurationError: if the method needs a hyper-parameter that is None.
        """
        chosen = Quantization(
            rule=PROX_CONNECT,
            quantizer=self.quantizer(levels),
            backward=self.backward,
            exclude=exclude,
            include=include,
        )
        match self.annealing:
            case Annealing.NOTHING:
                return chosen
            case Annealing.PROJECTION:
                return replace(chosen, sharpness=setting.beta())
            case Annealing.STEP:
                return replace(chosen, step_scale=setting.beta())
            case Annealing.REGULARIZER:
                if setting.beta_scale is None:
                    raise ConfigurationError(
                        f"beta_scale = None: must be a number for {self.name}, whose "
                        "regularization rate it is"
                    )
                strength = ProxQuantEpochs(setting.beta_scale, setting.rate())
                # "clip" of ProxQuant's code. L_rho^rho clips anyway.
                bound = None if len(levels) == 2 else max(map(abs, levels))
                return replace(chosen, rule=PROX_QUANT, sharpness=strength, latent_bound=bound)


def _dual_tanh(levels: tuple[float, ...]) -> Quantizer:
    return ShiftedTanh(levels, beta=1.0 if len(levels) == 2 else TERNARY_STEEPNESS)


def _dual_softmax(levels: tuple[float, ...]) -> Quantizer:
    return Softmax(levels, beta=1.0)


def _prox_quant(levels: tuple[float, ...]) -> Quantizer:
    """Return the maps of ProxQuant's code, with fixed levels.

    On {-1, 1} it is the proximal map of rho | |w| - 1 |, which is L_rho^rho. On more levels, it is
    (w + rho P_Q(w)) / (1 + rho), where ProxQuant estimates other levels for each layer.
    """
    return PiecewiseLinear(levels) if len(levels) == 2 else BinaryRelax(levels)


MD_TANH = Algorithm("MD-tanh", _dual_tanh, Annealing.STEP)
"""Mirror descent with tanh, equation (15) and Algorithm 1, by the stored dual point artanh(w). On
more than two levels, it is exact mirror descent with the shifted tanh (21); see
`TERNARY_STEEPNESS`."""
MD_TANH_S = Algorithm("MD-tanh-s", ShiftedTanh, Annealing.PROJECTION)
"""Algorithm 2, equation (23) with (12), or with (21) on the ternary set."""
MD_SOFTMAX = Algorithm("MD-softmax", _dual_softmax, Annealing.STEP)
"""Exponentiated gradient descent, equation (20), by the stored dual point log(u)."""
MD_SOFTMAX_S = Algorithm("MD-softmax-s", Softmax, Annealing.PROJECTION)
"""Equation (23) with the softmax projection (16)."""
GD_TANH = Algorithm("GD-tanh", ShiftedTanh, Annealing.PROJECTION, Jacobian())
"""Gradient descent on f(tanh(beta w~)): the Jacobian of the projection is in the update (5)."""
PMF = Algorithm("PMF", Softmax, Annealing.PROJECTION, Jacobian(), settings_of="PMF*")
"""Proximal mean-field with the Jacobian of the softmax, which no published number has used."""
PMF_AUTHORS = Algorithm("PMF*", Softmax, Annealing.PROJECTION, SoftmaxShortcut())
"""Proximal mean-field as the public code computes it, with beta (I - u u^T). This is PMF* of Tables
1 and 8."""
BC = Algorithm("BC", Nearest)
"""BinaryConnect, deterministic: equation (1) with the identity as Jacobian."""
BC_MASKED = Algorithm("BC masked", Nearest, backward=ClippedIdentity(), settings_of="BC")
"""BinaryConnect as the public code trains it by default: no gradient where |w~| > 1."""
PQ = Algorithm("PQ", _prox_quant, Annealing.REGULARIZER)
"""ProxQuant with all parameters quantized, equation (24). The regularization rate is `reg_rate` of
ProxQuant's code: the strength is learning rate x rate x epoch."""
PQ_FLOAT = Algorithm("PQ*", _prox_quant, Annealing.REGULARIZER, float_layers=True)
"""ProxQuant in its original setup. On the ternary set, the paper's PQ* also optimizes the levels of
each layer (caption of Table 5), which are fixed here."""

BINARY_METHODS = (
    BC,
    PQ,
    PQ_FLOAT,
    PMF_AUTHORS,
    GD_TANH,
    MD_SOFTMAX,
    MD_TANH,
    MD_SOFTMAX_S,
    MD_TANH_S,
)
"""The methods of Table 1, in its order, without REF and without the numbers that are
quoted from the PMF paper."""
TERNARY_METHODS = (PQ, PQ_FLOAT, GD_TANH, MD_SOFTMAX_S, MD_TANH_S)
"""The methods of Table 5, in its order, without REF."""
MOBILENET_METHODS = (BC, MD_SOFTMAX_S, MD_TANH_S)
"""The methods of Table 2, in its order, without REF."""

COLUMNS = (
    ("CIFAR-10", "VGG-16"),
    ("CIFAR-10", "ResNet-18"),
    ("CIFAR-100", "VGG-16"),
    ("CIFAR-100", "ResNet-18"),
    ("TinyImageNet", "ResNet-18"),
)
"""Dataset and network of the columns of Tables 1 and 5."""

EPOCHS: Mapping[str, int] = {"CIFAR-10": 285, "CIFAR-100": 285, "TinyImageNet": 128}
"""Epochs in which at least 100,000 steps are taken (Table 6), with 352 or 782 steps each."""

_AUGMENTATION = CropFlip(padding=4, flip=True)
"""Random crop and flip (B.4), with the padding of the public code."""
_MEAN, _STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)
"""Normalization of CIFAR images in the public code; the paper states none."""


def dataset(name: str) -> DatasetSpec:
    """Return a dataset with the split of Table 6.

    The validation images of CIFAR are the last 5,000 training images, as in the public code. Those
    of TinyImageNet and ImageNet are also the test images, because the labels of the test images are
    not public.

    Args:
        name: ``"CIFAR-10"``, ``"CIFAR-100"``, ``"TinyImageNet"`` or ``"ImageNet"``.
    """
    match name:
        case "CIFAR-10" | "CIFAR-100":
            kind = CIFAR10 if name == "CIFAR-10" else CIFAR100
            return kind(
                validation_images=5000,
                validation_split="last",
                augmentation=_AUGMENTATION,
                mean=_MEAN,
                std=_STD,
            )
        case "TinyImageNet":
            return TinyImageNet(validation_images=0, validation_split="test")
        case "ImageNet":
            return ImageNet(validation_images=0, crop=224, resize=256)
    raise ConfigurationError(
        f"dataset = {name!r}: must be CIFAR-10, CIFAR-100, TinyImageNet or ImageNet"
    )


def network(name: str, *, dataset: str, affine: bool) -> NormalizedModel:
    """Return a network of B.4 with the initialization of the public code.

    Args:
        name: ``"VGG-16"``, ``"ResNet-18"`` or ``"MobileNetV2"``.
        dataset: name of the dataset. On TinyImageNet, "the stride of the first convolutional layer
            of ResNet-18 is set to 2".
        affine: whether batch normalization has learnable parameters: "only for the floating point
            networks". The public code has none there, either.
    """
    match name:
        case "VGG-16":
            return VGG16(affine=affine, initialization="xavier")
        case "ResNet-18":
            stride = 2 if dataset == "TinyImageNet" else 1
            return ResNet18(affine=affine, initialization="xavier", stem_stride=stride)
        case "MobileNetV2":
            return MobileNetV2(affine=affine, initialization="xavier")
    raise ConfigurationError(f"network = {name!r}: must be VGG-16, ResNet-18 or MobileNetV2")


_FIRST_CONVOLUTION = {"VGG-16": "features.0.0", "ResNet-18": "conv1", "MobileNetV2": "conv1"}


def _layers_of(
    method: Algorithm, network: str, levels: tuple[float, ...]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the patterns of `Quantization.exclude` and `Quantization.include`."""
    if not method.float_layers:
        return (), ("*.bias",)  # "we quantize all learnable parameters" (5)
    first = () if len(levels) == 2 else (_FIRST_CONVOLUTION[network],)
    shortcuts = ("*.shortcut.*",) if network == "ResNet-18" else ()
    return ("Linear", *shortcuts, *first), ()


def optimizer(setting: Setting, *, algorithm: type[torch.optim.Optimizer]) -> OptimizerSpec:
    """Return Adam, or SGD with momentum 0.9, with the learning rate of a setting."""
    options = {"momentum": 0.9} if algorithm is torch.optim.SGD else {}
    if setting.weight_decay:
        options["weight_decay"] = setting.weight_decay
    return OptimizerSpec(algorithm=algorithm, learning_rate=setting.rate(), options=options)


def recipe(
    method: Algorithm | None,
    levels: tuple[float, ...] = BINARY,
    *,
    dataset_name: str = "CIFAR-10",
    network_name: str = "ResNet-18",
    setting: Setting | None = None,
    seed: int = 0,
) -> Recipe:
    """Return an experiment of Tables 1, 2 and 5.

    All start from random weights, and "the model with the best validation accuracy is chosen"
    (B.4). Validation accuracies are those of the rounded weights, as in the public code, and the
    chosen network is rounded in the end. No stage follows the rounding.

    Args:
        method: the method; None for REF, the network in full precision.
        levels: `BINARY` or `TERNARY`. It has no effect on REF.
        dataset_name: see `dataset`.
        network_name: see `network`.
        setting: hyper-parameters; None for those that the paper chose.
        seed: seed of initial weights, data order and augmentation.

    Raises:
        ConfigurationError: if the dataset is not one of `EPOCHS`, or if the paper has no
            hyper-parameters for the arguments and `setting` is None.
    """
    if setting is None:
        column = "REF" if method is None else method.settings_of or method.name
        setting = published_setting(
            dataset_name, network_name, column, num_levels=2 if method is None else len(levels)
        )
    data = dataset(dataset_name)
    if dataset_name not in EPOCHS:
        raise ConfigurationError(
            f"dataset = {dataset_name!r}: must be one of {', '.join(EPOCHS)}; the recipes for "
            "ImageNet are in quantlab.papers.mirror_descent_imagenet"
        )
    quantization = None
    if method is not None:
        exclude, include = _layers_of(method, network_name, levels)
        quantization = method.quantization(levels, setting, exclude=exclude, include=include)
    return Recipe(
        model=network(network_name, dataset=dataset_name, affine=method is None),
        dataset=data,
        optimizer=optimizer(
            setting, algorithm=torch.optim.SGD if method is None else torch.optim.Adam
        ),
        quantization=quantization,
        epochs=EPOCHS[dataset_name],
        batch_size=BATCH_SIZE,
        select="best",
        seed=seed,
    )
