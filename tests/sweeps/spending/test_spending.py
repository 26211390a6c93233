"""What is recorded of attempts to train a trial, and what they add up to."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from quantlab import Quantization, Quantizer, Recipe, fingerprint
from quantlab.datasets.digits import Digits
from quantlab.models.mlp import MLP
from quantlab.schedules import Linear
from quantlab.update_rules import PROX_CONNECT
from sweeps.spec import Block, SweepSpec
from sweeps.spending.attempts import attempts_of
from sweeps.spending.description import hours, spending_data, spending_tables, spent_line
from sweeps.spending.ongoing import Reserved
from sweeps.spending.spent import Command, Spending, Spent, spending_of, spent_on, summed
from sweeps.storage import Storage, TrialFolder, TrialState
from sweeps.storage.records import Attempt, Running
from sweeps.worker.trial import run_trial, train_trials
from tests.quantlab.recipes import quantized
from tests.sweeps.trial_files import ended

RECIPE = quantized(
    model=MLP(hidden=(4,)),
    dataset=Digits(train_images=40, validation_images=20, test_images=20),
    epochs=2,
    batchnorm_epochs=0,
)
RUNNING = Running(command="sweeps run mine.py", user="ada", host="box", process=7)


def folder_of(recipe: Recipe, root: Path) -> TrialFolder:
    return Storage(root).trial(fingerprint(recipe))


def train(*recipes: Recipe, root: Path, epochs: int | None = None, **options: Any) -> None:
    """Train a pack to its end, or close it after some events."""
    trials = [(recipe, folder_of(recipe, root)) for recipe in recipes]
    settings = {"running": RUNNING, "reserved": Reserved(cpus=4, gpus=0.5), **options}
    with closing(train_trials(trials, data_dir=root, **settings)) as training:
        for number, _ in enumerate(training, start=1):
            if number == epochs:
                return


def test_a_result_has_the_attempt_that_finished_it(tmp_path: Path) -> None:
    """A trial that was trained at once has no further file."""
    train(RECIPE, root=tmp_path)
    folder = folder_of(RECIPE, tmp_path)
    (attempt,) = attempts_of(folder)
    assert attempt.state is TrialState.COMPLETE
    assert attempt.slot_seconds == attempt.seconds > 0
    assert (attempt.cpus, attempt.gpus, attempt.number) == (4, 0.5, 1)
    assert (attempt.command, attempt.user) == ("sweeps run mine.py", "ada")
    assert not (folder.path / "attempts.jsonl").exists()
    assert "attempt" not in folder.result.read().as_mapping()  # type: ignore[union-attr]


def test_a_trial_that_was_stopped_is_no_retry(tmp_path: Path) -> None:
    train(RECIPE, root=tmp_path, epochs=1)
    train(RECIPE, root=tmp_path)
    first, second = attempts_of(folder_of(RECIPE, tmp_path))
    assert (first.state, first.lost_seconds, first.died) == (TrialState.INTERRUPTED, 0, False)
    assert (second.state, second.number) == (TrialState.COMPLETE, 2)
    spent = spent_on([first, second])
    assert (spent.trials, spent.attempts, spent.retries) == (1, 2, 0)
    assert spent.slot_seconds == first.slot_seconds + second.slot_seconds
    assert spent.gpu_seconds == pytest.approx(spent.slot_seconds / 2)


def test_a_process_that_died_has_lost_what_followed_its_checkpoint(tmp_path: Path) -> None:
    """The copy is what a power cut leaves: no process holds its lock.

    Its times are those of a process whose last sign of life was 100 s after its begin.
    """
    folder = folder_of(RECIPE, tmp_path / "cut")
    training = train_trials(
        [(RECIPE, folder_of(RECIPE, tmp_path / "on"))],
        data_dir=tmp_path,
        running=RUNNING,
        checkpoint_seconds=0,
    )
    with closing(training):
        next(training)
        (running,) = attempts_of(folder_of(RECIPE, tmp_path / "on"))
        assert running.state is TrialState.RUNNING
        assert not running.died
        next(training)
        shutil.copytree(tmp_path / "on", tmp_path / "cut")
    began = running.began
    sign = folder.running.read()
    assert sign is not None
    assert sign.last_sign >= began
    assert sign.sharing == 1
    folder.running.write(
        replace(
            sign,
            attempt=replace(running, seconds=100, slot_seconds=100),
            last_sign=began + 100,
            saved=began + 60,
        )
    )
    (died,) = attempts_of(folder)
    assert died.died
    assert died.seconds == pytest.approx(100)
    assert died.lost_seconds == pytest.approx(40)
    train(RECIPE, root=tmp_path / "cut")
    kept, finished = attempts_of(folder)
    assert kept == died
    spent = spent_on([kept, finished])
    assert (spent.retries, spent.lost_seconds) == (1, died.lost_seconds)
    assert not folder.running.exists()


@dataclass(frozen=True)
class Broken(Quantizer):
    """Fails in the second epoch."""

    def prox(self, latent: Tensor, sharpness: Any) -> Tensor:
        if sharpness > 1.5:
            raise RuntimeError("broken map")
        return latent.clone()


def test_a_trial_that_fails_has_lost_what_followed_its_checkpoint(tmp_path: Path) -> None:
    recipe = replace(
        RECIPE,
        quantization=Quantization(rule=PROX_CONNECT, quantizer=Broken(), sharpness=Linear(1.0)),
    )
    for _ in range(2):
        with pytest.raises(RuntimeError, match="broken map"):
            run_trial(recipe, folder_of(recipe, tmp_path), data_dir=tmp_path)
    attempts = attempts_of(folder_of(recipe, tmp_path))
    assert [attempt.state for attempt in attempts] == 2 * [TrialState.FAILED]
    assert [attempt.number for attempt in attempts] == [1, 2]
    assert all(0 < attempt.lost_seconds <= attempt.slot_seconds for attempt in attempts)
    assert spent_on(attempts).retries == 1


def test_a_trial_that_fails_has_not_lost_what_its_checkpoint_has(tmp_path: Path) -> None:
    epochs = iter([None])

    @contextmanager
    def failing_after_an_epoch(folders: object) -> Iterator[Callable[[], None]]:
        yield lambda: next(epochs)

    training = train_trials(
        [(RECIPE, folder_of(RECIPE, tmp_path))],
        data_dir=tmp_path,
        checkpoint_seconds=0,
        output=failing_after_an_epoch,
    )
    with pytest.raises(RuntimeError), closing(training):
        list(training)
    (attempt,) = attempts_of(folder_of(RECIPE, tmp_path))
    assert attempt.state is TrialState.FAILED
    assert 0 < attempt.lost_seconds < attempt.slot_seconds


def test_the_trials_of_a_pack_share_its_time(tmp_path: Path) -> None:
    recipes = [replace(RECIPE, seed=seed) for seed in range(3)]
    train(*recipes, root=tmp_path)
    attempts = [attempts_of(folder_of(recipe, tmp_path))[0] for recipe in recipes]
    assert {attempt.pack for attempt in attempts} == {3}
    whole = max(attempt.seconds for attempt in attempts)
    assert sum(attempt.slot_seconds for attempt in attempts) == pytest.approx(whole)


def test_an_attempt_is_kept_if_its_result_is_replaced(tmp_path: Path) -> None:
    train(RECIPE, root=tmp_path)
    folder = folder_of(RECIPE, tmp_path)
    folder.weights.write_bytes(b"damaged")
    train(RECIPE, root=tmp_path)
    attempts = attempts_of(folder)
    assert [attempt.state for attempt in attempts] == 2 * [TrialState.COMPLETE]
    assert spent_on(attempts).retries == 0


@dataclass(frozen=True, kw_only=True)
class Later(Attempt):
    """The record of a later release."""

    energy: float = 1.0


def test_records_of_other_releases(tmp_path: Path) -> None:
    """Older results have no attempt, and those of a later one may have more fields."""
    sweep = SweepSpec(name="s", base=RECIPE, blocks=(Block("A"),), seeds=(0, 1, 2))
    storage = Storage(tmp_path)
    old, later, waiting = (storage.trial(cell.fingerprint) for cell in sweep.cells)
    for folder in (old, later):
        folder.make()
        folder.recipe.touch()
    old.result.write(ended())
    later.result.write(ended(attempt=Later(began=5, seconds=3, slot_seconds=3, number=2)))
    (later.path / "attempts.jsonl").write_text("damaged\n")
    assert attempts_of(waiting) == attempts_of(old) == []
    (read,) = attempts_of(later)
    assert (type(read), read.seconds) == (Attempt, 3)
    spending = spending_of(sweep.cells, storage)
    assert (spending.unknown, spending.total.trials) == (1, 1)
    assert spent_line(spending) == (
        "spent: 3 s of slots on 1 trial; 1 trial of an earlier release has no record of it"
    )


def attempt(seconds: float, **details: Any) -> Attempt:
    settings = {"state": TrialState.COMPLETE, "command": "sweeps run a", "host": "x"} | details
    return Attempt(began=1.0, seconds=seconds, slot_seconds=seconds, cpus=1, **settings)


def test_lines_tables_and_data() -> None:
    died = attempt(7200, state=TrialState.INTERRUPTED, died=True, lost_seconds=600, gpus=0.5)
    other = {
        "command": "sweeps run b",
        "user": "ada",
        "process": 3,
        "job": "SLURM job 77",
        "gpus": 0.5,
    }
    spending = summed(
        [
            (
                "FP",
                [
                    attempt(30),
                ],
            ),
            ("PC", [died, attempt(18_000_000, number=2, **other)]),
            ("PQ", []),
        ]
    )
    assert spending.total == Spent(
        trials=2,
        attempts=3,
        retries=1,
        slot_seconds=18_007_230,
        cpu_seconds=18_007_230,
        gpu_seconds=9_003_600,
        lost_seconds=600,
    )
    assert spent_line(spending) == (
        "spent: 5,002 h of slots and 2,501 h of GPUs on 2 trials; 1 retry; 10 min lost to failures"
    )
    first = spending.commands[Command("sweeps run a", "", "x", 0)]
    assert (first.trials, first.retries) == (2, 0)
    told = spent_line(spending, first)
    assert told.startswith(
        "spent: 2 h of slots and 60 min of GPUs by this command, in all 5,002 h of"
    )
    lines = spending_tables(spending, 80).splitlines()
    assert max(map(len, lines)) <= 80
    rows = [line.split() for line in lines]
    assert rows[0] == ["block", "trials", "slots", "GPUs", "retries", "lost"]
    assert rows[2] == ["FP", "1", "30", "s", "0", "s", "0", "0", "s"]
    assert rows[3] == ["PC", "1", "5,002", "h", "2,501", "h", "1", "10", "min"]
    assert "`sweeps run b` of ada on x," in "\n".join(lines)
    assert "SLURM job 77" in " ".join(" ".join(lines).split())
    data = spending_data(spending)
    assert [row["block"] for row in data["blocks"]] == ["FP", "PC", "PQ"]
    assert data["commands"][1]["command"] == "sweeps run b"
    assert data["lost_seconds"] == 600


def test_commands_that_look_the_same_have_a_row_each() -> None:
    """In containers, machines may have one name, and commands the same process number."""
    told = {"process": 1}
    attempts = (attempt(30, command_id="a", **told), attempt(50, command_id="b", **told))
    lines = spending_tables(summed([("FP", [one]) for one in attempts]), 80).splitlines()
    assert [line.split()[-5:-3] for line in lines[2:]] == [["30", "s"], ["50", "s"]]


def test_an_attempt_counts_once_if_its_process_died_while_it_was_recorded(tmp_path: Path) -> None:
    """Between the result, or the line of the attempt, and the end of ``running.json``."""
    train(RECIPE, root=tmp_path)
    folder = folder_of(RECIPE, tmp_path)
    (first,) = attempts_of(folder)
    folder.running.write(replace(RUNNING, attempt=first))
    folder.weights.write_bytes(b"damaged")
    train(RECIPE, root=tmp_path, epochs=1)
    assert attempts_of(folder)[0] == first
    stopped = attempts_of(folder)[1]
    folder.running.write(replace(RUNNING, attempt=stopped))
    assert attempts_of(folder) == [first, stopped]
    train(RECIPE, root=tmp_path)
    assert [one.number for one in attempts_of(folder)] == [1, 2, 3]


def test_an_attempt_follows_a_line_that_was_cut(tmp_path: Path) -> None:
    train(RECIPE, root=tmp_path, epochs=1)
    folder = folder_of(RECIPE, tmp_path)
    lines = folder.path / "attempts.jsonl"
    (first,) = attempts_of(folder)
    with lines.open("a") as file:
        file.write(lines.read_text()[:40])
    train(RECIPE, root=tmp_path, epochs=1)
    assert [one.state for one in attempts_of(folder)] == 2 * [TrialState.INTERRUPTED]
    assert attempts_of(folder)[0] == first


def test_nothing_was_spent_and_one_row_is_no_table() -> None:
    assert spent_line(Spending()) == spending_tables(Spending(), 80) == ""
    one = summed([("FP", [attempt(3)]), ("FP", [attempt(3)])])
    none = summed([("FP", []), ("PC", [])])
    assert spending_tables(one, 80) == spending_tables(none, 80) == spent_line(none) == ""


def test_long_times_stay_hours() -> None:
    times = (0.0, 30.0, 3600.0, 5400.0, 86_400.0, 8.64e6)
    assert [hours(seconds) for seconds in times] == [
        "0 s",
        "30 s",
        "60 min",
        "1.5 h",
        "24 h",
        "2,400 h",
    ]
