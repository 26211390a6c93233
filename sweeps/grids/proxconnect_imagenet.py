"""The ProxConnect paper's ImageNet experiments: Table 4, ResNet18, 9 trials per regime."""

from collections.abc import Callable
from functools import partial

from quantlab import Recipe
from quantlab.datasets import DatasetSpec
from quantlab.papers.proxconnect import (
    BC,
    IMAGENET_END_TO_END_RHO0,
    IMAGENET_FINE_TUNING_RHO0,
    PC,
    RESNET18,
    SEEDS,
    imagenet_end_to_end,
    imagenet_fine_tuning,
)
from sweeps.spec import Axis, Block, PublishedCost, SweepSpec

_TABLE_12 = "ProxConnect paper, Table 12"
FINE_TUNING_COST = PublishedCost("ResNet18 on ImageNet, fine-tuning", 12, "Tesla V100", _TABLE_12)
END_TO_END_COST = PublishedCost("ResNet18 on ImageNet, end-to-end", 27, "Tesla V100", _TABLE_12)


def blocks(dataset: DatasetSpec | None = None) -> tuple[Block, ...]:
    """Return the experiments of both regimes.

    Args:
        dataset: the dataset; None for that of `quantlab.papers.proxconnect`.
    """
    return (
        *_regime(
            "fine-tuning",
            partial(imagenet_fine_tuning, dataset=dataset),
            IMAGENET_FINE_TUNING_RHO0["PC"],
            FINE_TUNING_COST,
        ),
        *_regime(
            "end-to-end",
            partial(imagenet_end_to_end, dataset=dataset),
            IMAGENET_END_TO_END_RHO0["PC"],
            END_TO_END_COST,
        ),
    )


def _regime(
    name: str, recipe: Callable[..., Recipe], rho0: tuple[float, ...], cost: PublishedCost
) -> tuple[Block, ...]:
    """Return the blocks of BC, and of PC with its values of rho0."""
    label = f"{RESNET18.name} {name}"
    return (
        Block(f"{label} BC", method="BC", base=recipe(BC), cost=cost),
        Block(
            f"{label} PC",
            method="PC",
            base=recipe(PC, rho0[0]),
            axes=(Axis("rho0", "quantization.sharpness.rho0", rho0),),
            cost=cost,
        ),
    )


SWEEP = SweepSpec(
    name="proxconnect_imagenet",
    description="The ProxConnect paper on ImageNet: ResNet18, both regimes",
    experiment="proxconnect",
    blocks=blocks(),
    seeds=SEEDS,
)
