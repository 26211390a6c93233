"""The mirror-descent paper's search for hyper-parameters: Table 7, for MD-tanh-S on CIFAR-10.

The paper searches this grid for every method, dataset and network. `search` gives the others. The
study `mirror_descent_search` samples the grid.
"""

from quantlab.papers.mirror_descent import MD_TANH_S, Algorithm, Annealing, recipe
from quantlab.papers.mirror_descent_settings import SEARCH_SPACE
from quantlab.quantization_sets import BINARY
from sweeps.spec import Axis, Block, SweepSpec


def paths(method: Algorithm) -> dict[str, str]:
    """Return the fields of a recipe that Table 7 varies, by their names in the table.

    Args:
        method: a method with an annealed beta.
    """
    where = "step_scale" if method.annealing is Annealing.STEP else "sharpness"
    return {
        "learning_rate": "optimizer.learning_rate.value",
        "lr_scale": "optimizer.learning_rate.factor",
        "beta_scale": f"quantization.{where}.factor",
        "beta_scale_interval": f"quantization.{where}.interval",
    }


def search(
    method: Algorithm,
    levels: tuple[float, ...] = BINARY,
    dataset: str = "CIFAR-10",
    network: str = "ResNet-18",
) -> Block:
    """Return the 400 configurations of Table 7 for a method.

    Args:
        method: a method with an annealed beta, for which the paper has chosen a configuration.
        levels: the quantization set.
        dataset: name of the dataset.
        network: name of the network.
    """
    return Block(
        f"{dataset} {network} {method.name}",
        method=method.name,
        base=recipe(method, levels, dataset_name=dataset, network_name=network),
        axes=tuple(Axis(name, path, SEARCH_SPACE[name]) for name, path in paths(method).items()),
    )


SWEEP = SweepSpec(
    name="mirror_descent_hyperparameters",
    description="The mirror-descent paper's Table 7: 400 configurations of MD-tanh-S",
    # The study has its runs there, and so have earlier releases, whose name for the grid it was.
    experiment="mirror_descent_search",
    blocks=(search(MD_TANH_S),),
    seeds=(0,),
)
