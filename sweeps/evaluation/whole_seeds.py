"""Pruners that compare configurations after whole seeds only, and successive halving on them."""

import optuna
from optuna.pruners import BasePruner, SuccessiveHalvingPruner
from optuna.trial import FrozenTrial

from quantlab import ConfigurationError
from quantlab.errors import brief


class WholeSeeds(BasePruner):
    """A pruner that receives the objective after each whole seed, and never within one.

    Its steps are numbers of seeds: 1, 2, 3, and so on. A seed is whole when the configuration has
    been trained with it in all settings and with all values of the knobs.
    """

    def __init__(self, pruner: BasePruner, rungs: tuple[int, int] | None = None) -> None:
        """Wrap a pruner.

        Args:
            pruner: one of Optuna's pruners, whose steps are then numbers of seeds.
            rungs: the arguments `first` and `reduction` of `seed_halving`. Optuna stores values by
                the number of the rung, so that a study must keep them. None for other pruners.

        Raises:
            ConfigurationError: it is no pruner.
        """
        if not isinstance(pruner, BasePruner) or isinstance(pruner, WholeSeeds):
            raise ConfigurationError(
                f"WholeSeeds: pruner = {brief(pruner)}: must be one of Optuna's pruners, such as "
                "SuccessiveHalvingPruner(min_resource=1)"
            )
        self.pruner = pruner
        self.rungs = rungs

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """Return whether the wrapped pruner prunes a configuration.

        Args:
            study: the study in Optuna's storage.
            trial: the configuration, with the values that have been reported.
        """
        return self.pruner.prune(study, trial)


def seed_halving(reduction: int = 2, first: int = 1) -> WholeSeeds:
    """Make a pruner by successive halving, whose rungs are numbers of whole seeds.

    After `first` seeds, after `reduction` times as many, and so on, a configuration goes on only if
    it is in the best ``1 / reduction`` of all that have come so far. This is the asynchronous form
    (Li et al., *A System for Massively Parallel Hyperparameter Tuning*, MLSys 2020, algorithm 2),
    in which nobody waits for others, so that more of the first configurations go on.

    Args:
        reduction: the factor from rung to rung, >= 2.
        first: number of seeds of the first rung, >= 1.

    Raises:
        ConfigurationError: a number is not possible.
    """
    for name, count, least in (("reduction", reduction, 2), ("first", first, 1)):
        if type(count) is not int or count < least:
            raise ConfigurationError(
                f"seed_halving: {name} = {brief(count)}: must be a whole number >= {least}"
            )
    halving = SuccessiveHalvingPruner(min_resource=first, reduction_factor=reduction)
    return WholeSeeds(halving, (first, reduction))
