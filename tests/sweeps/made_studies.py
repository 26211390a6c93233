"""Studies with made-up results, for tests: a queue is run and nothing is trained."""

from collections import Counter

import optuna
from optuna.trial import BaseTrial
from optuna.trial import TrialState as OptunaState

from quantlab import Recipe, override
from sweeps.searching.study_queue import StudyQueue
from sweeps.spec import Cell
from sweeps.storage import Storage, TrialState
from sweeps.study import StudySpec
from tests.quantlab.recipes import quantized
from tests.sweeps.trial_files import ended


def space(trial: BaseTrial) -> Recipe:
    rho0 = trial.suggest_float("rho0", 0.001, 1.0, log=True)
    return override(quantized(), "quantization.sharpness.rho0", rho0)


def score(cell: Cell) -> float:
    """Return a score that is best at rho0 = 0.1, plus a little for the seed."""
    assert cell.recipe.quantization is not None
    rho0 = cell.recipe.quantization.sharpness.at(0, 1)
    return float(0.9 - abs(rho0 - 0.1) + 0.001 * cell.recipe.seed)


def spec(**changes: object) -> StudySpec:
    settings = {"name": "made", "space": space, "configurations": 20, "seeds": (0, 1, 2)}
    return StudySpec(**(settings | changes))  # type: ignore[arg-type]


def finish(storage: Storage, cell: Cell, state: str = "COMPLETE") -> TrialState:
    """Write a result as a worker does, and one line to count how often the trial was trained."""
    folder = storage.trial(cell.fingerprint)
    folder.path.mkdir(parents=True, exist_ok=True)
    with (folder.path / "trained").open("a") as file:
        file.write("once\n")
    folder.result.write(ended(TrialState(state), validation_accuracy=score(cell)))
    return TrialState(state)


def run(queue: StudyQueue, storage: Storage, *, at_once: int = 2) -> None:
    out: list[Cell] = []
    while True:
        while len(out) < at_once and (cells := queue.next()):
            out += cells
        if not out:
            assert queue.is_over
            return
        cell = out.pop(0)
        queue.ended(cell, finish(storage, cell))


def counts(study: optuna.Study) -> Counter[OptunaState]:
    return Counter(trial.state for trial in study.trials)


def trained(storage: Storage) -> list[int]:
    """Return how often each trial was trained."""
    return [
        len(file.read_text().splitlines()) for file in (storage.root / "trials").glob("*/trained")
    ]
