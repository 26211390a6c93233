"""Packs that are trained, stopped, or do not fit into memory."""

import fcntl
import json
import subprocess
import sys
from pathlib import Path

import pytest

from quantlab.models.mlp import MLP
from sweeps.storage import TrialFolder, TrialState
from sweeps.storage.sharing import locked
from sweeps.worker.trial import run_trial, train_trials
from tests.quantlab.recipes import quantized
from tests.sweeps.worker.test_trial import folder_of

SMALL = [quantized(seed=seed) for seed in range(4)]


def test_a_pack_leaves_what_its_trials_would_leave_alone(tmp_path: Path) -> None:
    """Finished ones among them are left as they are."""
    trials = [(recipe, folder_of(recipe, tmp_path)) for recipe in SMALL]
    run_trial(*trials[1], data_dir=tmp_path)
    before = trials[1][1].result.path.read_bytes()
    for events in train_trials(trials, data_dir=tmp_path):
        assert all(event.member != 1 for event in events)
    assert trials[1][1].result.path.read_bytes() == before
    for recipe, folder in trials:
        assert folder.state() is TrialState.COMPLETE
        assert [record.epoch for record in folder.read_history()] == [1, 2, 3, 4, 5]
        assert folder.weights.exists()
        assert json.loads(folder.recipe.read_text())["recipe"]["seed"] == recipe.seed
        assert not folder.checkpoint.exists()


def lock(folder: TrialFolder) -> None:
    """Be the only process at a trial, at once or not at all."""
    with locked(folder.path / ".lock", fcntl.LOCK_EX | fcntl.LOCK_NB):
        pass


def test_a_stopped_pack_goes_on_alone(tmp_path: Path) -> None:
    recipes = SMALL[:3]
    whole = [(recipe, folder_of(recipe, tmp_path / "a")) for recipe in recipes]
    stopped = [(recipe, folder_of(recipe, tmp_path / "b")) for recipe in recipes]
    for _ in train_trials(whole, data_dir=tmp_path):
        pass
    training = train_trials(stopped, data_dir=tmp_path)
    next(training)
    next(training)
    for _, folder in stopped:  # a worker that has outlived its driver, before the next driver's
        with pytest.raises(BlockingIOError):
            lock(folder)
    training.close()
    for recipe, folder in stopped:
        lock(folder)
        assert folder.checkpoint.exists()
        run_trial(recipe, folder, data_dir=tmp_path)
    for (_, one), (_, other) in zip(whole, stopped, strict=True):
        losses = [[record.train_loss for record in of.read_history()] for of in (one, other)]
        assert losses[0] == pytest.approx(losses[1], rel=1e-3)


CAPPED = """
import json, resource, sys
from pathlib import Path

from quantlab import fingerprint
from quantlab.execution import Execution
from sweeps.worker.pack_report import PackReport
from sweeps.storage import Storage
from sweeps.worker.actor import Worker
from sweeps.worker.work import Work
from tests.sweeps.worker.test_packs import LARGE

spare, folder = int(sys.argv[1]), Path(sys.argv[2])
recipes = {fingerprint(recipe): recipe for recipe in LARGE}
storage = Storage(folder)
storage.require_writable()
execution = Execution(keep_memory=False)
work = Work(storage, storage.mark(), folder, None, "cpu", execution)
class Here(Worker):
    def setup(self, config):
        super().setup(config, work=work)


first, *others = recipes.items()
alone = Here({"trials": dict([first])})
while not alone.step()["done"]:  # imports, caches and threads are there
    pass
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + spare, used + spare))
worker = Here({"trials": dict(others)})
states = {}
while True:
    result = worker.step()
    report = PackReport.of_result(result)
    states |= report.ended
    if result["done"]:
        break
ended = [state.value for state in states.values()]
print(json.dumps({"largest": report.largest, "states": ended}))
"""
LARGE = [
    quantized(seed=seed, epochs=1, batchnorm_epochs=0, batch_size=200, model=MLP(hidden=(2048,)))
    for seed in range(9)
]


@pytest.mark.slow
def test_a_pack_that_does_not_fit_into_memory_goes_on_in_halves(tmp_path: Path) -> None:
    """With a real cap on the memory of the process; it has no convolutions, as oneDNN's crash."""
    done = subprocess.run(
        [sys.executable, "-c", CAPPED, str(56 * 2**20), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["states"] == ["COMPLETE"] * 8
    assert result["largest"] in (2, 4)
