"""A budget, which all commands on a storage share."""

from pathlib import Path

import pytest

from sweeps.control import meter
from sweeps.control.budget import Budget
from sweeps.control.listener import OVER_BUDGET
from sweeps.control.meter import Meter
from sweeps.spec import Block, SweepSpec
from sweeps.spending.ongoing import OngoingAttempts
from sweeps.storage import Storage
from sweeps.storage.records import Attempt, TrialState
from tests.conftest import Command
from tests.quantlab.recipes import small_recipe
from tests.sweeps.sweep_files import TINY, changed
from tests.sweeps.trial_files import ended

SWEEP = SweepSpec(name="s", blocks=(Block("b", base=small_recipe()),), seeds=(0, 1, 2))


def spend(
    storage: Storage, place: int, seconds: float, *, gpus: float = 0.0, number: int = 1
) -> None:
    """Finish a trial after a time."""
    folder = storage.trial(SWEEP.cells[place].fingerprint)
    folder.make()
    attempt = Attempt(
        began=number - 1, seconds=seconds, slot_seconds=seconds, gpus=gpus, number=number
    )
    folder.result.write(ended(TrialState.COMPLETE, attempt=attempt))


@pytest.mark.parametrize("counts_gpus", [False, True])
def test_what_all_commands_spent_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, counts_gpus: bool
) -> None:
    monkeypatch.setattr(meter, "LOOK_SECONDS", 0)
    monkeypatch.setattr(meter, "_MOST_OF_THE_TIME", 1e9)
    storage = Storage(tmp_path)
    budget = Budget.parse("1h" if counts_gpus else "2h")
    own = Meter(budget, lambda: SWEEP.cells, storage, counts_gpus=counts_gpus)
    assert own.ending() is None
    spend(storage, 0, 3600, gpus=0.5)
    assert own.ending() is None
    spend(storage, 1, 3600, gpus=0.5)  # by another command
    ending = own.ending()
    assert ending is not None
    assert ending.state == OVER_BUDGET
    spent = "1 GPU hours" if counts_gpus else "2 slot hours"
    assert ending.line == (
        f"the budget of {budget} is spent: {spent} in all; to continue, run the same command with "
        "a larger --budget"
    )


def test_a_trial_that_is_trained_again_counts_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the network of a finished trial is damaged, and others start from it."""
    monkeypatch.setattr(meter, "LOOK_SECONDS", 0)
    monkeypatch.setattr(meter, "_MOST_OF_THE_TIME", 1e9)
    storage = Storage(tmp_path)
    own = Meter(Budget.parse("2h"), lambda: SWEEP.cells, storage, counts_gpus=False)
    spend(storage, 0, 3600)
    assert own.ending() is None
    folder = storage.trial(SWEEP.cells[0].fingerprint)
    first = folder.result.read()
    assert first is not None
    assert first.attempt is not None
    folder.recipe.touch()
    OngoingAttempts([folder], None).stop()  # keeps the earlier one
    folder.clear()
    assert own.ending() is None
    spend(storage, 0, 3600, number=3)
    assert own.ending() is not None


def test_a_spent_budget_ends_the_command_before_anything_starts(
    tiny_copy: Path, quick_command: Command
) -> None:
    """Six trials have finished, and three more are to run."""
    (tiny_copy / "tiny.py").write_text(changed(TINY, "seeds=(0, 1)", "seeds=(0, 1, 2)"))
    done = quick_command(tiny_copy, "run", "tiny.py", "--budget", "0.001min")
    assert done.returncode == 4
    assert done.stdout.splitlines()[-1] == "tiny: 3 WAITING, 6 COMPLETE"
    assert "sweeps: the budget of 1.67e-05 h is spent: 0.0" in done.stderr
    auto = ("--gpus-per-trial", "auto")  # here is no GPU whose time could be counted
    done = quick_command(tiny_copy, "run", "tiny.py", "--budget", "0.001min", *auto)
    assert done.returncode == 4
    assert "sweeps: the budget of 1.67e-05 h is spent: 0.0" in done.stderr
    assert " slot hours in all" in done.stderr
    done = quick_command(tiny_copy, "run", "tiny.py", "--budget", "6trials")
    assert done.returncode == 4
    assert "tiny: 9 trials, 0 to run" in done.stdout
    assert done.stderr.splitlines()[-1] == (
        "sweeps: the budget of 6 trials is spent, and 3 trials are left; to continue, run the same "
        "command with a larger --budget"
    )
    done = quick_command(tiny_copy, "run", "tiny.py", "--budget", "6 apples")
    assert done.returncode == 2
    assert "--budget: '6 apples': must be a number > 0 of days, hours, minutes or" in done.stderr
