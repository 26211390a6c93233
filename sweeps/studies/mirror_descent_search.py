"""The mirror-descent paper's search space, Table 7, sampled instead of searched exhaustively.

It is that of MD-tanh-S for a binary ResNet-18 on CIFAR-10, as in the grid
`mirror_descent_hyperparameters`. The paper's own choice (Table 8) is evaluated first.
"""

from optuna.trial import BaseTrial

from quantlab import Recipe, override
from quantlab.papers.mirror_descent import MD_TANH_S
from quantlab.papers.mirror_descent_settings import SEARCH_SPACE
from sweeps.grids.mirror_descent_hyperparameters import SWEEP, paths
from sweeps.study import StudySpec, better_half

BASE = SWEEP.blocks[0].base
assert BASE is not None


def space(trial: BaseTrial) -> Recipe:
    """Suggest a cell of Table 7's grid."""
    recipe = BASE
    assert recipe is not None
    for name, path in paths(MD_TANH_S).items():
        recipe = override(recipe, path, trial.suggest_categorical(name, SEARCH_SPACE[name]))
    return recipe


STUDY = StudySpec(
    name="mirror_descent_search",
    description="the mirror-descent paper's Table 7 for a binary ResNet-18 on CIFAR-10",
    experiment="mirror_descent_search",
    space=space,
    configurations=60,
    seeds=(0,),
    pruner=better_half(after=BASE.epochs // 2),
    known={
        "Table 8": {
            "learning_rate": 0.001,
            "lr_scale": 0.3,
            "beta_scale": 1.02,
            "beta_scale_interval": 200,
        }
    },
)
