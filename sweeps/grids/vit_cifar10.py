"""The comparison of `bytes_gpt` for images: a ViT of 10.7 million parameters, for a GPU.

The settings are those with which ViTs are trained on small images: patches of 4x4 pixels, AdamW
with a weight decay of 0.05 except on layer normalization and biases, a rate of 1e-3 that is warmed
up and follows a cosine over 200 epochs, label smoothing of 0.1, gradients of a norm of at most 1,
and the crops and flips of the ProxConnect paper.

Every method quantizes the linear layers of the blocks to ternary weights. The patch embedding,
positions, layer normalization and the head stay in full precision, and only they are trained in the
last 40 epochs.
"""

from dataclasses import replace

from quantlab import ParameterGroup, Recipe
from quantlab.models.transformers.vit import ViT
from quantlab.papers.proxconnect import cifar10
from quantlab.schedules import Cosine
from quantlab.tasks.classification import Classification
from sweeps.grids.bytes_gpt import Ternary, adamw
from sweeps.spec import SweepSpec

_OPTIMIZER = replace(
    adamw(Cosine(1e-3, epochs=200, warmup_epochs=10)),
    options={"betas": (0.9, 0.999), "weight_decay": 0.05},
    groups=(
        ParameterGroup(
            parameters=("LayerNorm", "patches.bias", "head.bias"), options={"weight_decay": 0.0}
        ),
    ),
)

SWEEP = SweepSpec(
    name="vit_cifar10",
    description="Ternary ViT-6x384 on CIFAR-10, both regimes",
    blocks=Ternary(
        full_precision=Recipe(
            model=ViT(layers=6, heads=6, width=384, patch=4),
            dataset=cifar10(),
            optimizer=_OPTIMIZER,
            epochs=200,
            batch_size=128,
            task=Classification(label_smoothing=0.1),
        ),
        batchnorm_epochs=40,
        exclude=("patches", "head"),
        rho0={
            "PC": (0.003125, 0.00625, 0.0125),
            "PQ": (2e-7, 2e-6, 2e-5),
            "MD-tanh-s": (1.035, 1.07, 1.18),
        },
        beta_interval=563,
        fine_tuning_rate=Cosine(5e-4, epochs=200, warmup_epochs=10),
    ).blocks(),
    seeds=(0, 1, 2),
)
