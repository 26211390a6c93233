"""The ProxConnect paper's CIFAR-10 experiments: Tables 2, 3 and 6-11, 181 trials per network.

Each network is trained once in full precision, and every fine-tuning trial starts from its weights.
The recipes, their values of rho0 and the seeds are those of `quantlab.papers.proxconnect`, with
validation images held out; `proxconnect_all_images` holds out none.
"""

from collections.abc import Callable, Mapping

from quantlab import Recipe, fingerprint
from quantlab.datasets import DatasetSpec
from quantlab.initial_weights import TrialWeights
from quantlab.models import ModelSpec
from quantlab.papers.proxconnect import (
    CIFAR10_END_TO_END_RHO0,
    CIFAR10_FINE_TUNING_RHO0,
    METHODS,
    RESNET20,
    RESNET56,
    SEEDS,
    SETS,
    Method,
    cifar10_end_to_end,
    cifar10_fine_tuning,
    cifar10_full_precision,
)
from sweeps.spec import Axis, Block, PublishedCost, SweepSpec

FINE_TUNING = "fine-tuning"
END_TO_END = "end-to-end"
REGIMES = (FINE_TUNING, END_TO_END)

_TABLE_5 = "ProxConnect paper, Table 5"
COSTS: Mapping[ModelSpec, PublishedCost] = {
    RESNET20: PublishedCost("ResNet20 on CIFAR-10", 1.5, "GeForce GTX 1080 Ti", _TABLE_5),
    RESNET56: PublishedCost("ResNet56 on CIFAR-10", 3.0, "GeForce GTX 1080 Ti", _TABLE_5),
}


def as_published(recipe: Recipe) -> Recipe:
    """Return the recipe unchanged."""
    return recipe


def blocks(
    model: ModelSpec,
    *,
    regimes: tuple[str, ...] = REGIMES,
    sets: tuple[str, ...] = tuple(SETS),
    dataset: DatasetSpec | None = None,
    fine_tuning_rho0: Mapping[str, tuple[float, ...]] = CIFAR10_FINE_TUNING_RHO0,
    end_to_end_rho0: Mapping[str, tuple[float, ...]] = CIFAR10_END_TO_END_RHO0,
    adapt: Callable[[Recipe], Recipe] = as_published,
) -> tuple[Block, ...]:
    """Return the experiments on one network, with its pretraining first if it is needed.

    Args:
        model: the network.
        regimes: a selection of `REGIMES`.
        sets: keys of `quantlab.papers.proxconnect.SETS`.
        dataset: the dataset; None for the paper's.
        fine_tuning_rho0: method -> values of rho0, for methods that have one.
        end_to_end_rho0: the same for the regime end-to-end.
        adapt: changes every recipe, for a smaller budget.
    """
    cost = COSTS.get(model)
    pretraining = adapt(cifar10_full_precision(model, dataset=dataset))
    pretrained = TrialWeights(fingerprint(pretraining))

    def recipe(regime: str, method: Method, rho0: float | None) -> Recipe:
        levels = SETS[sets[0]]
        if regime == END_TO_END:
            return cifar10_end_to_end(method, levels, rho0, model, dataset=dataset)
        return cifar10_fine_tuning(
            method, levels, rho0, model, pretrained=pretrained, dataset=dataset
        )

    def block(regime: str, method: Method) -> Block:
        values = (fine_tuning_rho0 if regime == FINE_TUNING else end_to_end_rho0).get(method.name)
        axes = [Axis("set", "quantization.quantizer.levels", {name: SETS[name] for name in sets})]
        if values:
            axes.append(Axis("rho0", "quantization.sharpness.rho0", values))
        return Block(
            f"{model.name} {regime} {method.name}",
            method=method.name,
            base=adapt(recipe(regime, method, values[0] if values else None)),
            axes=tuple(axes),
            cost=cost,
        )

    first = Block(
        f"{model.name} pretraining",
        method="FP",
        base=pretraining,
        seeds=(pretraining.seed,),  # "the last checkpoint of the full precision models": one
        cost=cost,
    )
    return (
        *([first] if FINE_TUNING in regimes else []),
        *(block(regime, method) for regime in regimes for method in METHODS),
    )


SWEEP = SweepSpec(
    name="proxconnect_cifar10",
    description="The ProxConnect paper on CIFAR-10: both networks, both regimes",
    experiment="proxconnect",
    blocks=(*blocks(RESNET20), *blocks(RESNET56)),
    seeds=SEEDS,
)
