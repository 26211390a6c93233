"""Faults that stop a queue: each is reported in one line, and no result is lost."""

import itertools
import math
import re
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.pruners import BasePruner, NopPruner
from optuna.samplers import RandomSampler
from optuna.storages import RDBStorage
from optuna.storages._rdb.models import BaseModel
from optuna.trial import BaseTrial, FrozenTrial
from optuna.trial import TrialState as OptunaState
from sqlalchemy import event
from sqlalchemy.engine import Engine

from quantlab import ConfigurationError, Recipe, override
from sweeps.running import late_results
from sweeps.searching import shared_study
from sweeps.searching.results import load, num_finished
from sweeps.searching.study_queue import StudyQueue
from sweeps.storage import Storage, optuna_database
from sweeps.study import Objective
from tests.sweeps.made_studies import counts, finish, run, space, spec, trained


class FailingPruner(BasePruner):
    """Raises an error."""

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        raise KeyError("a slip")


class FailingSampler(RandomSampler):
    """Raises an error in one of its methods."""

    def __init__(self, seed: int, method: str) -> None:
        super().__init__(seed=seed)
        self.method = method

    def before_trial(self, study: Any, trial: FrozenTrial) -> None:
        if self.method == "before" and trial.number == 1:
            raise RuntimeError("no space")

    def sample_independent(self, study: Any, trial: FrozenTrial, *parameter: Any) -> Any:
        if self.method == "suggest" and trial.number == 1:
            raise RuntimeError("no value")
        return super().sample_independent(study, trial, *parameter)

    def after_trial(self, study: Any, trial: FrozenTrial, state: OptunaState, values: Any) -> None:
        if self.method == "after" and trial.number == 1:
            raise RuntimeError("no more")


def require_fault(queue: StudyQueue, storage: Storage, message: str) -> None:
    """Require that the queue stops with a message, while it is asked for more as Tune does."""
    out = []
    while queue.fault is None and (cells := queue.next()):
        out += cells
        cell = out.pop(0)
        queue.ended(cell, finish(storage, cell))
    assert re.search(message, str(queue.fault)), queue.fault
    assert len(str(queue.fault).splitlines()) == 1
    assert queue.next() == []
    queue.close()  # the system releases the locks when the process ends


def require_all_of(queue: StudyQueue, storage: Storage, budget: int) -> None:
    """Require that the queue finishes its budget, and that nothing is trained twice."""
    run(queue, storage)
    assert num_finished(queue.study) == budget
    assert set(trained(storage)) == {1}


def test_a_pruner_that_fails_stops_the_search(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    queue = StudyQueue(spec(pruner=FailingPruner(), configurations=3), storage)
    require_fault(
        queue, storage, r"pruner failed: KeyError: 'a slip' \(.*faults.py, line \d+, in prune"
    )
    assert trained(storage) == [1]
    require_all_of(StudyQueue(spec(pruner=NopPruner(), configurations=3), storage), storage, 3)


@pytest.mark.parametrize(
    ("method", "says"), [("before", "no space"), ("after", "no more"), ("suggest", "no value")]
)
def test_a_sampler_that_fails_stops_the_search(tmp_path: Path, method: str, says: str) -> None:
    storage = Storage(tmp_path)
    failing = spec(
        sampler=lambda seed: FailingSampler(seed, method), configurations=3, pruner=NopPruner()
    )
    queue = StudyQueue(failing, storage)
    message = rf"sampler FailingSampler failed: RuntimeError: {says} \(.*faults.py, line \d+, in"
    require_fault(queue, storage, message)
    require_all_of(StudyQueue(spec(configurations=3, pruner=NopPruner()), storage), storage, 3)


def objective(of: Any) -> Objective:
    return Objective("mine", "maximize", of=of, of_diverged=0.0)


def accuracy(recipe: Recipe, result: Mapping[str, Any]) -> float:
    return float(result["validation_accuracy"])


def test_an_objective_without_values_stops_after_three_trials(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    settings = {"configurations": 9, "seeds": (0,), "pruner": NopPruner()}
    queue = StudyQueue(spec(objectives=(objective(lambda *_: math.nan),), **settings), storage)
    lines: list[str] = []
    queue.on_finished = lines.append
    run(queue, storage, at_once=1)
    assert trained(storage) == [1] * 3
    assert "configuration 0: failed after 0 of 1 seeds: objective 'mine': the value nan" in lines[0]
    require_all_of(
        StudyQueue(spec(objectives=(objective(accuracy),), **settings), storage), storage, 9
    )


def test_a_configuration_without_a_value_counts_against_the_budget(tmp_path: Path) -> None:
    turns = itertools.cycle((math.nan, 0.5))
    storage = Storage(tmp_path)
    settings = spec(objectives=(objective(lambda *_: next(turns)),), configurations=8, seeds=(0,))
    queue = StudyQueue(settings, storage)
    run(queue, storage)
    assert counts(queue.study) == {OptunaState.FAIL: 4, OptunaState.COMPLETE: 4}


def test_a_space_that_always_fails_stops_the_search(tmp_path: Path) -> None:
    def never(trial: BaseTrial) -> Recipe:
        raise KeyError(trial.suggest_float("rho0", 0.001, 1.0, log=True))

    queue = StudyQueue(spec(space=never), Storage(tmp_path))
    assert queue.next() == []
    assert queue.is_over
    assert counts(queue.study) == {OptunaState.FAIL: 3}
    later = StudyQueue(spec(configurations=2), Storage(tmp_path))  # once it is corrected
    require_all_of(later, Storage(tmp_path), 2)


def test_another_kind_of_parameter_is_another_study(tmp_path: Path) -> None:
    def with_choices(*choices: float) -> Any:
        def make(trial: BaseTrial) -> Recipe:
            factor = trial.suggest_categorical("factor", choices)
            return override(space(trial), "batch_size", int(32 * factor))

        return make

    storage = Storage(tmp_path)
    run(StudyQueue(spec(space=with_choices(1, 2), configurations=2), storage), storage)
    with pytest.raises(
        ConfigurationError, match=r"parameter 'factor' changed from .*\(1, 2\).* to .*3"
    ):
        StudyQueue(spec(space=with_choices(1, 2, 3), configurations=2), storage)


def test_a_study_of_another_program_is_refused(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'optuna.db'}"
    optuna.create_study(study_name="made", storage=url).add_trial(optuna.create_trial(value=1.0))
    with pytest.raises(
        ConfigurationError, match="`sweeps search` did not create; give the study another name"
    ):
        StudyQueue(spec(), Storage(tmp_path))


@pytest.mark.parametrize("seconds", [300.0, -1.0])
def test_a_result_that_only_its_worker_sees_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    monkeypatch.setattr(late_results, "SEEN_WITHIN_SECONDS", seconds)
    storage = Storage(tmp_path)
    settings = spec(configurations=2, seeds=(0,), pruner=NopPruner())
    queue = StudyQueue(settings, storage)
    lines: list[str] = []
    queue.on_finished = lines.append
    (cell,) = queue.next()
    state = finish(storage, cell)
    result = storage.trial(cell.fingerprint).result.path
    result.rename(tmp_path / "unseen")
    queue.ended(cell, state)
    assert not queue.is_pending(cell), "it would be retried or fail with another trial of its pack"
    if seconds < 0:
        queue.next()
        assert "result.json cannot be read here, although its worker has written it" in lines[0]
        return
    (other,) = queue.next()
    assert other != cell
    queue.ended(other, finish(storage, other))
    assert queue.next() == []
    assert not queue.is_over
    (tmp_path / "unseen").rename(result)
    assert queue.next() == []
    assert queue.is_over
    assert counts(queue.study) == {OptunaState.COMPLETE: 2}


def wordy(trial: BaseTrial) -> Recipe:
    """Fill a page of the database with each configuration."""
    trial.suggest_categorical("note", ("x" * 5000, "y"))
    return space(trial)


@pytest.fixture
def engines(monkeypatch: pytest.MonkeyPatch) -> list[Engine]:
    """The connections to Optuna's storages, in the order in which queues open them."""
    found: list[Engine] = []

    def opened(url: str) -> RDBStorage:
        storage = optuna_database.open_storage(url)
        found.append(storage.engine)
        return storage

    monkeypatch.setattr(shared_study, "open_storage", opened)
    return found


@pytest.fixture
def begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engines: list[Engine]
) -> tuple[StudyQueue, Storage]:
    """A queue with one finished configuration, and a pending trial of another."""
    monkeypatch.setattr(optuna_database, "LOCK_SECONDS", 0.1)
    storage = Storage(tmp_path)
    queue = StudyQueue(spec(space=wordy, configurations=4, seeds=(0,), pruner=NopPruner()), storage)
    (first,), _ = queue.next(), queue.next()
    queue.ended(first, finish(storage, first))
    return queue, storage


def break_(engine: Engine, storage: Storage, how: str) -> None:
    """Break the database as full disks, administrators and other programs do."""
    settings = {"read-only": "query_only = ON", "full": "max_page_count = 1"}
    if how in settings:
        event.listen(engine, "checkout", lambda raw, *_: raw.execute(f"PRAGMA {settings[how]}"))
    if how == "full":
        with sqlite3.connect(storage.root / "optuna.db") as other:
            other.execute("VACUUM")  # which leaves no page of it free
    if how == "no table":
        with sqlite3.connect(storage.root / "optuna.db") as other:
            other.execute("DROP TABLE trial_values")


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("read-only", "attempt to write a readonly database"),
        ("full", "database or disk is full"),
        ("locked", "database is locked"),
        ("no table", "no such table: trial_values"),
    ],
)
def test_a_database_that_fails_stops_the_search(
    begun: tuple[StudyQueue, Storage], engines: list[Engine], how: str, says: str
) -> None:
    queue, storage = begun
    (cell,) = queue.pending
    break_(engines[0], storage, how)
    other = sqlite3.connect(storage.root / "optuna.db")
    if how == "locked":
        other.execute("BEGIN EXCLUSIVE")
    queue.ended(cell, finish(storage, cell))
    while how == "full" and (cells := queue.next()):  # there is still room for some rows
        queue.ended(cells[0], finish(storage, cells[0]))
    assert re.search(rf"--study-storage sqlite:.*cannot be used \(.*{says}", str(queue.fault))
    assert len(str(queue.fault).splitlines()) == 1
    assert queue.next() == []
    other.close()
    engines[0].dispose()
    if how != "no table":  # finished configurations are stored; the next driver finishes the other
        again = StudyQueue(
            spec(space=wordy, configurations=4, seeds=(0,), pruner=NopPruner()), storage
        )
        require_all_of(again, storage, 4)


def test_a_database_of_another_kind_is_named(
    begun: tuple[StudyQueue, Storage], engines: list[Engine]
) -> None:
    _, storage = begun
    engines[0].dispose()
    file = storage.root / "optuna.db"
    with sqlite3.connect(file) as other:
        other.execute("UPDATE alembic_version SET version_num = 'v99.0.0.a'")
        other.execute("UPDATE version_info SET schema_version = 99")
    for text in ("version", "not a database"):
        for read in (lambda: StudyQueue(spec(), storage), lambda: load(spec(), storage, None)):
            with pytest.raises(ConfigurationError, match=f"cannot be used .*{text}") as raised:
                read()
            assert len(str(raised.value).splitlines()) == 1
        file.write_bytes(b"no database at all" * 500)


def test_a_database_may_be_created_by_two_commands_at_once(tmp_path: Path) -> None:
    """Optuna looks which tables are missing; before it creates them, another command does."""
    begun: list[str] = []

    def create(*_: object, **__: object) -> None:
        if not begun:
            begun.append("other")
            StudyQueue(spec(name="other"), Storage(tmp_path))

    event.listen(BaseModel.metadata, "before_create", create)
    try:
        queue = StudyQueue(spec(configurations=1), Storage(tmp_path))
    finally:
        event.remove(BaseModel.metadata, "before_create", create)
    assert begun
    run(queue, Storage(tmp_path))
    assert load(spec(name="other"), Storage(tmp_path), None).study_name == "other"
