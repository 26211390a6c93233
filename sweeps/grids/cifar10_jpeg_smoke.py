"""A smoke test of ResNet20 on an image folder: PC and PQ, two sets, a small subset, two epochs.

The data folder must contain CIFAR-10 as image files, ``cifar10-jpeg/{train,test}/<class>/*.jpg``;
any other 32x32 images in class folders will do.
"""

import torch

from quantlab import OptimizerSpec, Quantization, Recipe
from quantlab.datasets.augmentation import CropFlip
from quantlab.datasets.image_folder import ImageFolder
from quantlab.models.resnet import ResNet
from quantlab.quantization_sets import BINARY, TERNARY
from quantlab.quantizers.piecewise_linear import PiecewiseLinear
from quantlab.schedules import Constant, Linear
from quantlab.update_rules import PROX_CONNECT, PROX_QUANT
from sweeps.spec import Axis, Block, SweepSpec

BASE = Recipe(
    model=ResNet(depth=20),
    dataset=ImageFolder(
        folder="cifar10-jpeg",
        validation_images=500,
        train_images=1000,
        test_images=1000,
        mean=(0.4914, 0.4822, 0.4465),
        std=(0.247, 0.243, 0.261),
        augmentation=CropFlip(padding=4, flip=True),
    ),
    optimizer=OptimizerSpec(
        algorithm=torch.optim.SGD,
        learning_rate=Constant(0.1),
        options={"momentum": 0.9, "weight_decay": 1e-4},
    ),
    epochs=2,
    batch_size=128,
)

SETS = Axis("set", "quantization.quantizer.levels", {"binary": BINARY, "ternary": TERNARY})


SWEEP = SweepSpec(
    name="cifar10_jpeg_smoke",
    description="ResNet20 on a few images of a CIFAR-10 image folder: does everything fit?",
    base=BASE,
    blocks=tuple(
        Block(
            label,
            overrides={
                "quantization": Quantization(
                    rule=rule, quantizer=PiecewiseLinear(), sharpness=Linear(rho0=rho0)
                ),
                "batchnorm_epochs": 1,
            },
            axes=(SETS,),
        )
        for label, rule, rho0 in (("PQ", PROX_QUANT, 1e-3), ("PC", PROX_CONNECT, 0.1))
    ),
    seeds=(0,),
)
