"""Searches for the lowest value of a metric without bounds, with made-up results."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
from optuna.trial import BaseTrial
from optuna.trial import TrialState as OptunaState

from analysis.figures.style import for_print
from quantlab import Recipe
from quantlab.tasks.regression import Regression
from sweeps.reporting.study_figures import optuna_figures
from sweeps.reporting.study_report import measurements_of_study
from sweeps.searching.results import values_text, winner
from sweeps.searching.study_queue import StudyQueue
from sweeps.storage import Storage, TrialState
from sweeps.study import FILE_BYTES, StudySpec, validation_objective
from tests.sweeps.made_studies import score, space, spec
from tests.sweeps.trial_files import ended, epoch

ERROR = validation_objective(Regression().metrics[0])


def numbers(trial: BaseTrial) -> Recipe:
    return replace(space(trial), task=Regression())


def searched(made: StudySpec, storage: Storage) -> StudyQueue:
    """Evaluate all configurations; those with an error above 0.3 diverge."""
    queue = StudyQueue(made, storage)
    while cells := queue.next():
        (cell,) = cells
        folder, error = storage.trial(cell.fingerprint), 1 - score(cell)
        folder.make()
        folder.append_history(replace(epoch(1), validation={"mean_squared_error_hard": error}))
        queue.should_prune(cell.fingerprint)
        state = TrialState.DIVERGED if error > 0.3 else TrialState.COMPLETE
        values = {"mean_squared_error": error, "mean_absolute_error": error}
        size = round(1000 * error)
        folder.result.write(replace(ended(state), validation=values, test=values, file_bytes=size))
        queue.ended(cell, state)
    return queue


def test_the_lowest_error_wins(tmp_path: Path) -> None:
    """A diverged configuration is worse than any error, and curves are those of the task."""
    assert (ERROR.direction, ERROR.of_diverged) == ("minimize", math.inf)
    made = spec(space=numbers, objectives=(ERROR,), configurations=14, seeds=(0, 1))
    made.require_valid()
    storage = Storage(tmp_path)
    study = searched(made, storage).study
    for trial in study.trials:
        expected = 0.1 + abs(trial.params["rho0"] - 0.1)
        assert trial.intermediate_values[1] == pytest.approx(expected)
    assert study.direction.name == "MINIMIZE"
    values = [trial.value for trial in study.trials if trial.state is OptunaState.COMPLETE]
    pruned = [trial for trial in study.trials if trial.state is OptunaState.PRUNED]
    finite = [value for value in values if value is not None and math.isfinite(value)]
    assert len(finite) < len(values)
    best = winner(made, study)
    assert best.value == min(finite)
    assert pruned
    assert min(trial.intermediate_values[1] for trial in pruned) > best.value
    assert values_text(made, best) == f"validation mean squared error {best.value:.4g}"
    ranked = measurements_of_study(made, study, storage).ranked
    assert ranked["objective.validation mean squared error"].is_monotonic_increasing
    with for_print():
        assert {drawn.name for drawn in optuna_figures(made, study)} >= {"history", "curves"}


def test_errors_and_bytes_have_a_front(tmp_path: Path) -> None:
    made = spec(space=numbers, objectives=(ERROR, FILE_BYTES), configurations=8, seeds=(0,))
    made.require_valid()
    storage = Storage(tmp_path)
    study = searched(made, storage).study
    measured = measurements_of_study(made, study, storage)
    front = measured.configurations[measured.configurations["on_front"]]
    lowest = measured.configurations["objective.validation mean squared error"].min()
    assert front["objective.validation mean squared error"].tolist() == [lowest]
    assert any(math.isinf(trial.values[1]) for trial in study.trials)
    with for_print():
        assert "hypervolume" in {drawn.name for drawn in optuna_figures(made, study)}
