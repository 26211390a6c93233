"""The queue of a study's configurations, with made-up results: nothing is trained."""

import os
import random
import re
import signal
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import optuna
import pytest
from optuna.trial import BaseTrial
from optuna.trial import TrialState as OptunaState

from quantlab import ConfigurationError, Recipe, override
from sweeps.placement.packing import Packing
from sweeps.searching import shared_study
from sweeps.searching.results import failed_points, num_finished, summary_lines
from sweeps.searching.study_queue import StudyQueue
from sweeps.storage import Storage, TrialState
from sweeps.storage.records import Failure
from sweeps.storage.sharing import is_held
from sweeps.study import BITS, VALIDATION_ACCURACY, Objective, better_half
from tests.forked import PROCESSES
from tests.services import PostgreSQL, needs_postgresql, postgresql
from tests.sweeps.made_studies import counts, finish, run, space, spec, trained
from tests.sweeps.trial_files import epoch


def test_a_study_spends_its_budget_and_prunes_the_worse_half(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    queue = StudyQueue(spec(), storage)
    run(queue, storage)
    states = counts(queue.study)
    assert states[OptunaState.COMPLETE] + states[OptunaState.PRUNED] == 20
    assert 5 <= states[OptunaState.PRUNED] <= 15
    assert abs(queue.study.best_params["rho0"] - 0.1) < 0.05
    best = queue.study.best_trial
    assert best.value == pytest.approx(0.9 - abs(best.params["rho0"] - 0.1) + 0.001)
    # A pruned one has had one or two seeds, the others all three.
    assert len(trained(storage)) < 20 * 3
    assert set(trained(storage)) == {1}


def test_known_points_come_first(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    queue = StudyQueue(
        spec(known={"a": {"rho0": 0.1}, "b": {"rho0": 0.5}}, configurations=4), storage
    )
    run(queue, storage, at_once=1)
    assert [trial.params["rho0"] for trial in queue.study.trials[:2]] == [0.1, 0.5]
    StudyQueue(spec(known={"a": {"rho0": 0.1}}, configurations=4), storage)  # not once more
    assert len(queue.study.trials) == 4


def test_a_known_point_beyond_the_budget_is_named(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    run(StudyQueue(spec(configurations=2, seeds=(0,)), storage), storage)
    late = {"seeds": (0,), "known": {"PC": {"rho0": 0.1}}}
    made = spec(configurations=2, **late)
    queue = StudyQueue(made, storage)
    run(queue, storage)
    line = "known: PC, not evaluated, because the budget of 2 configurations is spent; enlarge"
    assert [one for one in summary_lines(made, queue.study, storage) if one.startswith(line)]
    larger = spec(configurations=3, **late)
    queue = StudyQueue(larger, storage)
    assert "not evaluated" not in "\n".join(summary_lines(larger, queue.study, storage))
    run(queue, storage)
    assert queue.study.trials[-1].params == {"rho0": 0.1}
    assert "not evaluated" not in "\n".join(summary_lines(larger, queue.study, storage))


def test_a_search_continues_after_drivers_died(tmp_path: Path) -> None:
    """Several drivers leave pending trials behind; the last one takes them over."""
    storage = Storage(tmp_path)
    rng = random.Random(0)
    for _ in range(6):
        queue = StudyQueue(spec(), storage)
        for _ in range(rng.randrange(1, 12)):
            for cell in queue.next():
                if rng.random() < 0.7:
                    queue.ended(cell, finish(storage, cell))
        queue.close()  # the system releases the locks of a dead process
    last = StudyQueue(spec(), storage)
    run(last, storage)
    states = counts(last.study)
    assert states[OptunaState.COMPLETE] + states[OptunaState.PRUNED] == 20
    assert set(states) <= {OptunaState.COMPLETE, OptunaState.PRUNED}
    assert set(trained(storage)) == {1}


@pytest.fixture(scope="module")
def server() -> Iterator[PostgreSQL]:
    with postgresql() as running:
        yield running


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=needs_postgresql)])
def url(request: pytest.FixtureRequest) -> str | None:
    """URL of Optuna's storage; None for the default SQLite file."""
    if request.param == "sqlite":
        return None
    server: PostgreSQL = request.getfixturevalue("server")
    return server.create(f"studies_{time.time_ns()}")


def drive(folder: Path, url: str | None, seconds: float) -> None:
    storage = Storage(folder)
    queue = StudyQueue(spec(configurations=16), storage, url)
    while cells := queue.next():
        for cell in cells:
            time.sleep(seconds)
            queue.ended(cell, finish(storage, cell))


@pytest.mark.slow
def test_two_drivers_share_the_work_and_one_is_killed(tmp_path: Path, url: str | None) -> None:
    StudyQueue(spec(configurations=16), Storage(tmp_path), url)  # the database
    first, second = (
        PROCESSES.Process(target=drive, args=(tmp_path, url, seconds)) for seconds in (0.05, 0.03)
    )
    first.start()
    second.start()
    while len(trained(Storage(tmp_path))) < 8:
        time.sleep(0.01)
    assert first.pid is not None
    os.kill(first.pid, signal.SIGKILL)
    first.join()
    second.join(60)
    assert second.exitcode == 0
    queue = StudyQueue(spec(configurations=16), Storage(tmp_path), url)
    run(queue, Storage(tmp_path))
    states = counts(queue.study)
    assert states[OptunaState.COMPLETE] + states[OptunaState.PRUNED] == 16
    often = Counter(trained(Storage(tmp_path)))
    assert often[2] <= 1  # the dead driver had written a line, and not the result
    assert set(often) <= {1, 2}


def test_only_one_driver_asks_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise, two could both take the last configuration of the budget."""
    queue = StudyQueue(spec(configurations=1), Storage(tmp_path))
    ask = queue.study.ask

    def ask_alone() -> optuna.Trial:
        assert is_held(tmp_path / "studies" / "made" / ".lock")
        return ask()

    monkeypatch.setattr(queue.study, "ask", ask_alone)
    assert queue.next()


@pytest.mark.slow
@needs_postgresql
def test_a_database_may_be_restarted_meanwhile(tmp_path: Path, server: PostgreSQL) -> None:
    storage = Storage(tmp_path)
    queue = StudyQueue(spec(configurations=6), storage, server.create("restarted"))
    for cell in queue.next():
        queue.ended(cell, finish(storage, cell))
    server.stop()
    server.start()
    run(queue, storage)
    assert sum(counts(queue.study).values()) == 6


def test_the_trials_of_a_study_are_in_one_folder(tmp_path: Path) -> None:
    """A driver with another folder would not see the claims of the others."""
    url = f"sqlite:///{tmp_path / 'studies.db'}"
    StudyQueue(spec(), Storage(tmp_path / "here"), url)
    StudyQueue(spec(), Storage(tmp_path / "here"), url)
    with pytest.raises(
        ConfigurationError, match=r"--storage .*there: .*study made in sqlite:.*another folder"
    ):
        StudyQueue(spec(), Storage(tmp_path / "there"), url)


@pytest.mark.parametrize("url", ["postgresql+psycopg2://me:secret@127.0.0.1:9/x", "nonsense"])
def test_a_storage_that_cannot_be_used_is_named(tmp_path: Path, url: str) -> None:
    named = re.escape(url.replace("secret", "***"))  # passwords are not logged
    with pytest.raises(ConfigurationError, match=rf"--study-storage {named}: cannot be used"):
        StudyQueue(spec(), Storage(tmp_path), url)


def test_a_learning_curve_prunes_a_configuration(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    queue = StudyQueue(spec(pruner=better_half(startup=1), seeds=(0,)), storage)
    good, bad = queue.next()[0], queue.next()[0]
    for cell, accuracy in ((good, 0.8), (bad, 0.2)):
        folder = storage.trial(cell.fingerprint)
        folder.path.mkdir(parents=True)
        for number in (1, 2):
            folder.append_history(epoch(number, validation_accuracy_hard=accuracy))
    assert not queue.should_prune(good.fingerprint)
    queue.ended(good, finish(storage, good))
    assert queue.should_prune(bad.fingerprint)
    queue.ended(bad, TrialState.STOPPED)
    assert storage.trial(bad.fingerprint).state() is TrialState.STOPPED
    assert counts(queue.study)[OptunaState.PRUNED] == 1
    assert not queue.is_pending(bad)


def test_without_a_curve_only_whole_seeds_are_compared(tmp_path: Path) -> None:
    """For an objective such as a loss, the accuracies of the epochs are not comparable."""
    loss = Objective(
        "loss", "minimize", lambda recipe, result: 1 - result["validation_accuracy"], 9.0
    )
    storage = Storage(tmp_path)
    queue = StudyQueue(spec(pruner=better_half(startup=1), objectives=(loss,)), storage)
    good, bad = queue.next()[0], queue.next()[0]
    folder = storage.trial(bad.fingerprint)
    folder.path.mkdir(parents=True)
    folder.append_history(epoch(1, validation_accuracy_hard=0.0))
    queue.ended(good, finish(storage, good))
    assert not queue.should_prune(bad.fingerprint)
    queue.ended(bad, finish(storage, bad))
    run(queue, storage)
    assert queue.study.best_params["rho0"] == pytest.approx(0.1, abs=0.05)


def test_a_diverged_seed_counts_and_a_failed_one_is_repeated_later(
    tmp_path: Path,
) -> None:
    storage = Storage(tmp_path)
    settings = spec(configurations=2, pruner=optuna.pruners.NopPruner())
    queue = StudyQueue(settings, storage)
    first, second = queue.next()[0], queue.next()[0]
    queue.ended(first, finish(storage, first, "DIVERGED"))
    queue.ended(second, TrialState.FAILED)
    assert num_finished(queue.study) == 0
    run(queue, storage)
    complete, failed = queue.study.trials  # a failed configuration counts against the budget
    assert complete.state is OptunaState.COMPLETE
    assert complete.value is not None
    assert complete.value < 0.67  # a third of it is 0
    assert failed.state is OptunaState.FAIL
    later = StudyQueue(settings, storage)
    run(later, storage)
    again = later.study.trials[-1]
    assert (again.params, again.state) == (failed.params, OptunaState.COMPLETE)
    assert len(later.study.trials) == 3
    assert num_finished(later.study) == 2
    assert not failed_points(later.study)


def test_after_failures_in_a_row_no_more_are_sampled(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    queue = StudyQueue(spec(), storage)
    lines: list[str] = []
    queue.on_finished = lines.append
    for _ in range(3):
        (cell,) = queue.next()
        folder = storage.trial(cell.fingerprint)
        folder.make()
        folder.failure.write(Failure(error="the disk is full", time=0))
        queue.ended(cell, TrialState.FAILED)
    assert queue.next() == []
    assert queue.is_over
    assert lines[-2] == "configuration 2: failed after 0 of 3 seeds: the disk is full"
    assert re.match(r"3 configurations in a row have failed: .*run the same command", lines[-1])
    assert len(queue.study.trials) == 3


def test_a_point_without_a_recipe_is_pruned(tmp_path: Path) -> None:
    def picky(trial: BaseTrial) -> Recipe:
        recipe = space(trial)
        if trial.number == 1:
            raise optuna.TrialPruned("not this one")
        if trial.number == 2:
            raise KeyError("a mistake")
        if trial.number == 3:
            return override(recipe, "epochs", -1)
        return recipe

    storage = Storage(tmp_path)
    queue = StudyQueue(spec(space=picky, configurations=6), storage)
    lines: list[str] = []
    queue.on_finished = lines.append
    run(queue, storage)
    assert "configuration 1: pruned, as it has no recipe: not this one" in lines
    (mistake,) = (line for line in lines if line.startswith("configuration 2: "))
    assert re.search(
        r"failed: .*space failed: KeyError: .*test_study_queue.py, line \d+, in picky", mistake
    )
    assert any(
        "configuration 3: pruned, as it has no recipe: study made, {'rho0'" in line
        for line in lines
    )
    states = counts(queue.study)
    assert (states[OptunaState.FAIL], sum(states.values())) == (1, 6)


def test_a_study_that_was_changed_is_refused(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    run(StudyQueue(spec(configurations=2), storage), storage)
    StudyQueue(spec(configurations=9), storage)  # more of the same
    with pytest.raises(
        ConfigurationError, match=r"seeds changed from \[0, 1, 2\] to \[0, 1\].*another name"
    ):
        StudyQueue(spec(seeds=(0, 1)), storage)
    cautious = (replace(VALIDATION_ACCURACY, cautious=0.9),)
    with pytest.raises(ConfigurationError, match=r"objectives changed from .*another name"):
        StudyQueue(spec(objectives=cautious), storage)

    def other(trial: BaseTrial) -> Recipe:
        return override(space(trial), "epochs", 7)

    with pytest.raises(ConfigurationError, match="the space has changed since configuration 0"):
        StudyQueue(spec(space=other), storage)


def test_known_points_that_a_dead_driver_did_not_enqueue_are_enqueued(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    StudyQueue(spec(known={"a": {"rho0": 0.1}}), storage)
    queue = StudyQueue(
        spec(known={"a": {"rho0": 0.1}, "b": {"rho0": 0.5}}, configurations=3), storage
    )
    run(queue, storage, at_once=1)
    assert [trial.params["rho0"] for trial in queue.study.trials[:2]] == [0.1, 0.5]


def test_a_configuration_that_has_ended_since_is_not_taken_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another driver ends a configuration between this one's look at it and its claim."""
    storage = Storage(tmp_path)
    first = StudyQueue(spec(configurations=2, seeds=(0,)), storage)
    (cell,) = first.next()
    second = StudyQueue(spec(configurations=2, seeds=(0,)), storage)
    take = shared_study.lock

    def late(path: Path, operation: int) -> BinaryIO:
        if path.name == "0" and first.is_pending(cell):
            first.ended(cell, finish(storage, cell))
        return take(path, operation)

    monkeypatch.setattr(shared_study, "lock", late)
    run(second, storage)
    assert counts(second.study) == {OptunaState.COMPLETE: 2}
    assert set(trained(storage)) == {1}


def test_a_pack_that_dies_again_is_trained_one_by_one(tmp_path: Path) -> None:
    queue = StudyQueue(spec(configurations=4), Storage(tmp_path), retries=0, packing=Packing(2))
    pack = queue.next()
    assert len(pack) == 2
    for _ in range(2):
        for cell in pack:
            assert queue.retry(cell, of_pack=True)
        again = queue.next()
        assert {cell.fingerprint for cell in again} <= {cell.fingerprint for cell in pack}
    assert len(again) == 1
    assert len(queue.next()) == 1
    assert len(queue.study.trials) == 2  # none is sampled ahead for a trial that nothing joins


def test_the_same_point_twice_is_trained_once(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    queue = StudyQueue(spec(configurations=3), storage)
    for _ in range(3):
        queue.study.enqueue_trial({"rho0": 0.1})
    run(queue, storage, at_once=3)
    assert counts(queue.study)[OptunaState.COMPLETE] == 3
    assert len({trial.value for trial in queue.study.trials}) == 1
    assert trained(storage) == [1] * 3


def test_several_objectives_have_a_front(tmp_path: Path) -> None:
    def levels(trial: BaseTrial) -> Recipe:
        count = trial.suggest_int("levels", 2, 5)
        return override(
            space(trial), "quantization.quantizer.levels", tuple(map(float, range(count)))
        )

    storage = Storage(tmp_path)
    queue = StudyQueue(spec(space=levels, objectives=(VALIDATION_ACCURACY, BITS)), storage)
    run(queue, storage)
    assert counts(queue.study) == {OptunaState.COMPLETE: 20}
    front = queue.study.best_trials
    assert 1 <= len(front) < 20
    for trial in front:
        assert 2 ** trial.values[1] == pytest.approx(trial.params["levels"])


def test_a_trial_whose_process_died_is_handed_out_again(tmp_path: Path) -> None:
    queue = StudyQueue(spec(configurations=1), Storage(tmp_path), retries=1)
    (cell,) = queue.next()
    assert queue.retry(cell)
    assert queue.next() == [cell]
    assert not queue.retry(cell)
    assert queue.retry(cell, counts=False)


def test_the_steps_of_the_pruner_are_the_epochs_that_are_trained(tmp_path: Path) -> None:
    """Not those of the recipe of the space, which the only setting replaces."""
    storage = Storage(tmp_path)
    longer = spec(settings={"longer": {"epochs": 7}}, configurations=1, seeds=(0, 1))
    queue = StudyQueue(longer, storage)
    (cell,) = queue.next()
    folder = storage.trial(cell.fingerprint)
    folder.make()
    total = 7 + cell.recipe.batchnorm_epochs
    for number in range(1, total + 1):
        folder.append_history(epoch(number))
    queue.should_prune(cell.fingerprint)
    queue.ended(cell, finish(storage, cell))
    run(queue, storage)
    (trial,) = queue.study.trials
    assert sorted(trial.intermediate_values) == [*range(1, total + 1), 2 * total]
