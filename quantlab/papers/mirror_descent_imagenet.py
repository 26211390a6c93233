"""The ImageNet experiments of the mirror-descent paper: Tables 3, 4 and 11."""

from dataclasses import dataclass

import torch

from quantlab.initial_weights import InitialWeights, TorchvisionWeights
from quantlab.mirror_maps.shifted_tanh import ShiftedTanh
from quantlab.models import ModelSpec
from quantlab.models.he_scales import HeScales
from quantlab.models.torchvision_model import TorchvisionModel
from quantlab.papers.mirror_descent import dataset
from quantlab.papers.mirror_descent_settings import IMAGENET_SETTINGS, ImageNetSetting
from quantlab.quantization_sets import BINARY
from quantlab.recipe import OptimizerSpec, ParameterGroup, Quantization, Recipe
from quantlab.schedules import Cosine
from quantlab.update_rules import PROX_CONNECT

RESNET18 = TorchvisionModel("resnet18")
"""ResNet-18 of torchvision, with learnable batch normalization."""


@dataclass(frozen=True, kw_only=True)
class Ablation:
    """A row of Table 4: MD-tanh-s, with or without some parts."""

    pretrained: bool
    float_ends: bool
    """Whether the first convolution and the last layer stay in full precision."""
    float_bias: bool
    """Whether the bias of the last layer stays in full precision; no other layer has one."""
    layer_scales: bool = False
    """Whether each quantized layer has a constant scale, after McDonnell (2018)."""

    @property
    def name(self) -> str:
        """Name in tables."""
        ends, bias = ("float" if own else "binary" for own in (self.float_ends, self.float_bias))
        scales = "yes" if self.layer_scales else "no"
        return f"MD-tanh-s [conv1+fc {ends}, bias {bias}, bn float, layerwise scale {scales}]"


_FLOAT = {"float_ends": True, "float_bias": True}
_BINARY_ENDS = {"float_ends": False, "float_bias": True}
_BINARY = {"float_ends": False, "float_bias": False}

TABLE_4 = (
    Ablation(pretrained=True, **_FLOAT),
    Ablation(pretrained=False, **_FLOAT),
    Ablation(pretrained=True, **_BINARY_ENDS),
    Ablation(pretrained=False, **_BINARY_ENDS),
    Ablation(pretrained=True, **_BINARY),
    Ablation(pretrained=False, **_BINARY),
    Ablation(pretrained=True, **_BINARY_ENDS, layer_scales=True),
    Ablation(pretrained=True, **_BINARY, layer_scales=True),
)
"""The rows of Table 4. The first, the second and the sixth are MD-tanh-s, MD-tanh-s* and
MD-tanh-s*+ of Table 3."""


def imagenet(row: Ablation | None, *, seed: int = 0) -> Recipe:
    """Return an experiment of Tables 3 and 4, with the hyper-parameters of Table 11.

    The network of the last epoch counts (B.4). Pretrained weights are those of torchvision, as the
    paper does not name its own.

    Args:
        row: one of `TABLE_4`; None for REF.
        seed: seed of initial weights, data order and augmentation.
    """
    pretrained = row is not None and row.pretrained
    setting = IMAGENET_SETTINGS["REF" if row is None else "pretrained" if pretrained else "scratch"]
    weights: InitialWeights | None = None
    if pretrained:
        weights = TorchvisionWeights("ResNet18_Weights.IMAGENET1K_V1")
    model: ModelSpec = RESNET18
    if row is not None and row.layer_scales:
        model = HeScales(base=RESNET18)
    return Recipe(
        model=model,
        dataset=dataset("ImageNet"),
        initial_weights=weights,
        optimizer=_optimizer(setting),
        quantization=None if row is None else _quantization(row, setting),
        epochs=setting.epochs,
        batch_size=setting.batch_size,
        seed=seed,
    )


def _quantization(row: Ablation, setting: ImageNetSetting) -> Quantization:
    return Quantization(
        rule=PROX_CONNECT,
        quantizer=ShiftedTanh(BINARY),
        sharpness=setting.beta(),
        exclude=("conv1", "fc") if row.float_ends else (),
        include=() if row.float_bias else ("fc.bias",),
    )


def _optimizer(setting: ImageNetSetting) -> OptimizerSpec:
    """Return SGD with a cosine learning rate, without weight decay on batch normalization.

    The paper says that the warm-up begins at "a small learning rate"; see `Cosine`.
    """
    rate = Cosine(setting.learning_rate, setting.epochs, setting.warmup_epochs)
    return OptimizerSpec(
        algorithm=torch.optim.SGD,
        learning_rate=rate,
        options={"momentum": setting.momentum, "weight_decay": setting.weight_decay},
        groups=(ParameterGroup(parameters=("BatchNorm2d",), options={"weight_decay": 0.0}),),
    )
