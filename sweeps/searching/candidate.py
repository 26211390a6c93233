"""Candidate: a configuration that this process is evaluating, and the results it has so far."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import optuna

from quantlab import Recipe
from sweeps.evaluation.variants import SETTING
from sweeps.searching.results import seeds_of
from sweeps.searching.shared_study import Claim
from sweeps.spec import Cell
from sweeps.storage.records import Result, TrialState
from sweeps.study import StudySpec


@dataclass(eq=False)
class Candidate:
    """A configuration that this process is evaluating, one seed after the other."""

    spec: StudySpec
    claim: Claim
    recipe: Recipe
    seeds: list[list[Cell]] = field(init=False)
    """The trials of each seed: one, or several if the study has settings or knobs."""
    values: dict[str, list[float]] = field(init=False, default_factory=dict)
    """Fingerprint of a trial that has ended -> its objectives."""
    excesses: dict[str, float] = field(init=False, default_factory=dict)
    """Constraint -> by how much the trials so far exceed it at most; <= 0 if all keep it."""
    reported: int = field(init=False)
    """The last step that was reported to the pruner."""
    is_over: bool = field(init=False, default=False)
    """Whether its outcome is stored; trials of it that have not ended do not count any more."""
    is_repeated: bool = field(init=False, default=False)
    """Whether it has failed, so that the next search needs its trials."""

    def __post_init__(self) -> None:
        self.seeds = seeds_of(self.spec, self.trial.number, self.recipe)
        self.reported = self.claim.reported

    @property
    def trial(self) -> optuna.Trial:
        """The configuration in Optuna's storage."""
        return self.claim.trial

    @property
    def epochs(self) -> int:
        """Epochs of one trial, in the first setting if there are several."""
        trained = self.seeds[0][0].recipe  # which may have others than the recipe of the space
        return trained.epochs + trained.batchnorm_epochs

    @property
    def num_seeds(self) -> int:
        """Number of seeds, from the first one on, all of whose trials have ended."""
        whole = [all(cell.fingerprint in self.values for cell in cells) for cells in self.seeds]
        return next((n for n, is_whole in enumerate(whole) if not is_whole), len(whole))

    @property
    def step(self) -> int:
        """The pruner's step after the seeds that are whole: a number of epochs, or of seeds."""
        return self.num_seeds * self._steps_of_seed

    @property
    def _steps_of_seed(self) -> int:
        return 1 if self.spec.prunes_by_seeds else self.epochs

    @property
    def was_pruned(self) -> bool:
        """Whether a driver that died had decided to prune it, before the next seed was whole."""
        step = self.claim.pruned_at
        return step is not None and step < self.step + self._steps_of_seed

    def add(self, cell: Cell, state: TrialState, result: Result) -> None:
        """Add the result of a trial of this configuration.

        Args:
            cell: the trial.
            state: COMPLETE or DIVERGED.
            result: its result.

        Raises:
            ConfigurationError: an objective or a limit has no value for this result.
        """
        fields: Mapping[str, object] = result.as_mapping()
        is_complete = state is TrialState.COMPLETE
        values = [objective.of_trial(cell.recipe, fields) for objective in self.spec.objectives]
        for constraint in self.spec.constraints if is_complete else ():
            excess = constraint.excess(cell.recipe, fields)
            before = self.excesses.get(constraint.name, excess)
            self.excesses[constraint.name] = max(before, excess)
        self.values[cell.fingerprint] = values

    @property
    def exceeded(self) -> list[str]:
        """Which limits the trials so far exceed, as text."""
        return [
            constraint.text(self.excesses[constraint.name])
            for constraint in self.spec.constraints
            if self.excesses.get(constraint.name, 0.0) > 0
        ]

    def objectives(self) -> list[float]:
        """Return each objective over the seeds that are whole, at least one."""
        trials = [cell for cells in self.seeds[: self.num_seeds] for cell in cells]
        return [
            objective.over_trials(
                _by_setting((cell, self.values[cell.fingerprint][place]) for cell in trials)
            )
            for place, objective in enumerate(self.spec.objectives)
        ]

    def first_objective_with(self, value: float) -> float:
        """Return the first objective, with a further value for the seed that is being trained.

        Args:
            value: the value so far of the only trial of this seed.
        """
        own = [self.values[cells[0].fingerprint][0] for cells in self.seeds[: self.num_seeds]]
        return self.spec.objectives[0].over_trials([[*own, value]])


def _by_setting(values: Iterable[tuple[Cell, float]]) -> list[list[float]]:
    found: defaultdict[str, list[float]] = defaultdict(list)
    for cell, value in values:
        found[cell.coordinates.get(SETTING, "")].append(value)
    return list(found.values())
