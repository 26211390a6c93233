"""Figure 6 of "Training Quantized Nets": six networks and datasets, six methods, full precision."""

from quantlab.papers.quantized_nets import EXPERIMENTS, METHODS, SEEDS, RoundingMethod, recipe
from sweeps.spec import Block, SweepSpec


def block(dataset: str, network: str, method: RoundingMethod | None) -> Block:
    """Return the runs of a method in a panel of Figure 6.

    Args:
        dataset: name of the dataset.
        network: name of the network.
        method: the method; None for the network in full precision.
    """
    name = "FP" if method is None else method.name
    return Block(
        f"{dataset} {network} {name}",
        method=name,
        base=recipe(method, dataset, network),
        seeds=SEEDS[:1] if dataset == "ImageNet" else SEEDS,
    )


SWEEP = SweepSpec(
    name="quantized_nets",
    description="Training Quantized Nets, Figure 6: rounding and BinaryConnect on six networks",
    experiment="quantized_nets",
    blocks=tuple(
        block(dataset, network, method)
        for dataset, network in EXPERIMENTS
        for method in (None, *METHODS)
    ),
    seeds=SEEDS,
)
