"""Decisions of pruners: they outlive a driver, and a repeated configuration counts once."""

from pathlib import Path

import pytest
from optuna.trial import TrialState as OptunaState

from quantlab import ConfigurationError
from sweeps.searching.shared_study import SharedStudy
from sweeps.searching.study_queue import StudyQueue
from sweeps.spec import Cell
from sweeps.storage import Storage, TrialState
from sweeps.study import StudySpec, better_half, seed_halving
from tests.sweeps.made_studies import counts, spec
from tests.sweeps.trial_files import ended, epoch

HALVED = {"good": {"rho0": 0.01}, "bad": {"rho0": 0.03}, "worse": {"rho0": 0.04}}
"""Known points, the best one first; see `score`."""


def halved(**changes: object) -> StudySpec:
    settings = {"pruner": seed_halving(), "seeds": (0, 1, 2, 3), "known": HALVED}
    return spec(**(settings | {"configurations": 3} | changes))


def score(cell: Cell) -> float:
    assert cell.recipe.quantization is not None
    return 1 - cell.recipe.quantization.sharpness.at(0, 1) + 0.001 * cell.recipe.seed


def finish_halved(queue: StudyQueue, storage: Storage, cell: Cell) -> None:
    folder = storage.trial(cell.fingerprint)
    folder.make()
    folder.result.write(ended(validation_accuracy=score(cell)))
    queue.ended(cell, TrialState.COMPLETE)


def test_a_decision_to_prune_outlives_the_driver(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Optuna stores that a rung is passed before the outcome of the configuration is stored."""
    storage = Storage(tmp_path)
    queue = StudyQueue(halved(), storage)

    def killed(*_: object, **__: object) -> None:
        raise ConfigurationError("the driver is killed")

    while queue.fault is None:
        (cell,) = queue.next()
        with monkeypatch.context() as patch:
            if cell.coordinates["configuration"] == "1":
                patch.setattr(SharedStudy, "tell", killed)
            finish_halved(queue, storage, cell)
    queue.close()
    again = StudyQueue(halved(), storage)
    lines: list[str] = []
    again.on_finished = lines.append
    (cell,) = again.next()
    assert cell.coordinates["configuration"] == "2"
    assert lines == ["configuration 1 (bad): pruned after 1 of 4 seeds"]


def test_a_decision_within_a_seed_trains_no_further(tmp_path: Path) -> None:
    made = spec(pruner=better_half(startup=1), seeds=(0,), configurations=2)
    storage = Storage(tmp_path)
    queue = StudyQueue(made, storage)
    good, bad = queue.next()[0], queue.next()[0]
    for cell, accuracy in ((good, 0.8), (bad, 0.2)):
        folder = storage.trial(cell.fingerprint)
        folder.make()
        folder.append_history(epoch(1, validation_accuracy_hard=accuracy))
    assert not queue.should_prune(good.fingerprint)
    folder = storage.trial(good.fingerprint)
    folder.result.write(ended(validation_accuracy=0.8))
    queue.ended(good, TrialState.COMPLETE)
    assert queue.should_prune(bad.fingerprint)
    queue.close()  # it is killed before the worker has stopped
    again = StudyQueue(made, storage)
    assert again.next() == []
    assert counts(again.study) == {OptunaState.COMPLETE: 1, OptunaState.PRUNED: 1}


def test_a_repeated_configuration_counts_once_on_a_rung(tmp_path: Path) -> None:
    """After one seed, 0.98 is in the better half of 0.99, 0.98, 0.97, 0.96, and not of five."""
    storage = Storage(tmp_path)
    queue = StudyQueue(halved(), storage)
    finish_halved(queue, storage, queue.next()[0])
    queue.ended(queue.next()[0], TrialState.FAILED)  # the second seed of the best configuration
    queue.close()
    for changes in ({}, {"known": HALVED | {"second": {"rho0": 0.02}}, "configurations": 4}):
        queue = StudyQueue(halved(**changes), storage)
        while cells := queue.next():
            finish_halved(queue, storage, cells[0])
        queue.close()
    ends = [(trial.params["rho0"], trial.last_step) for trial in queue.study.trials]
    assert ends == [(0.01, 1), (0.03, 1), (0.04, 1), (0.01, 4), (0.02, 2)]
