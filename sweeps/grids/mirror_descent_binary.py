"""The mirror-descent paper's binary networks: Table 1, with the hyper-parameters of Table 8."""

from quantlab.papers.mirror_descent import BINARY_METHODS, COLUMNS, SEEDS, Algorithm, recipe
from quantlab.quantization_sets import BINARY
from sweeps.spec import Axis, Block, SweepSpec


def block(
    dataset: str,
    network: str,
    method: Algorithm | None,
    set_name: str = "binary",
    levels: tuple[float, ...] = BINARY,
) -> Block:
    """Return one cell of a table.

    Args:
        dataset: name of the dataset.
        network: name of the network.
        method: the method; None for the network in full precision.
        set_name: name of the quantization set.
        levels: the quantization set.
    """
    name = "FP" if method is None else method.name
    path = "quantization.quantizer.levels"
    return Block(
        f"{dataset} {network} {name}",
        method=name,
        base=recipe(method, levels, dataset_name=dataset, network_name=network),
        axes=() if method is None else (Axis("set", path, {set_name: levels}),),
    )


SWEEP = SweepSpec(
    name="mirror_descent_binary",
    description="The mirror-descent paper's Table 1: binary networks on CIFAR and TinyImageNet",
    experiment="mirror_descent",
    blocks=tuple(
        block(dataset, network, method)
        for dataset, network in COLUMNS
        for method in (None, *BINARY_METHODS)
    ),
    seeds=SEEDS,
)
