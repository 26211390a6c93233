"""ResNet20 fine-tuned from a public checkpoint in two epochs: BC, PQ and PC on two sets.

The data folder must contain CIFAR-10 as image files, ``cifar10-jpeg/{train,test}/<class>/*.jpg``,
and the public option-A checkpoint of ResNet20, ``pretrained/resnet20-12fca82f.th``.

The paper fine-tunes for 200 epochs. Here, 4 gradient steps correspond to one of them, so that the
766 steps of two epochs cover the paper's whole range of rho: with rho0 = 1e-2, PC's map becomes the
projector after 1/4 (ternary) and 1/2 (binary) of the steps. For PQ, the sum of all shifts matters:
it is 7.4 here with rho0 = 1e-4, and 7.9 in the paper with 1e-6.
"""

from dataclasses import replace

from quantlab.datasets.augmentation import CropFlip
from quantlab.datasets.image_folder import ImageFolder
from quantlab.initial_weights import WeightsFile
from quantlab.papers.proxconnect import BC, PC, PQ, SETS, Method, cifar10_fine_tuning
from quantlab.schedules import Linear, StepDecay
from sweeps.spec import Axis, Block, SweepSpec

STEPS_FOR_A_PAPER_EPOCH = 4

TWO_SETS = {name: SETS[name] for name in ("binary", "ternary")}

PAPER = cifar10_fine_tuning(
    BC,
    SETS["binary"],
    pretrained=WeightsFile("pretrained/resnet20-12fca82f.th", sha256="12fca82f"),
    dataset=ImageFolder(
        folder="cifar10-jpeg",
        validation_images=1000,
        mean=(0.485, 0.456, 0.406),  # as the checkpoint was trained
        std=(0.229, 0.224, 0.225),
        augmentation=CropFlip(padding=4, flip=True),
    ),
)


def block(method: Method, rho0: float | None = None) -> Block:
    """Return the block of one method, with the paper's optimizer for it."""
    optimizer = cifar10_fine_tuning(method, SETS["binary"], rho0).optimizer
    if method is not PQ:  # the paper's two drops come after 41 % and 61 % of the epochs
        optimizer = replace(optimizer, learning_rate=StepDecay(0.01, milestones=(1,)))
    quantization = method.quantization(SETS["binary"], rho0)
    if rho0 is not None:
        annealing = Linear(rho0, period=STEPS_FOR_A_PAPER_EPOCH)
        quantization = replace(quantization, sharpness=annealing)
    return Block(
        method.name,
        overrides={"optimizer": optimizer, "quantization": quantization},
        axes=(Axis("set", "quantization.quantizer.levels", TWO_SETS),),
    )


SWEEP = SweepSpec(
    name="cifar10_jpeg_fine_tuning",
    description="ResNet20 from a public checkpoint: which methods survive two epochs?",
    base=replace(PAPER, epochs=2, batchnorm_epochs=1),
    blocks=(block(BC), block(PQ, 1e-4), block(PC, 1e-2)),
    seeds=(0,),
)
