"""How many trials are trained as one, and what becomes of a pack that breaks."""

import fcntl
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from quantlab.models.mlp import MLP
from quantlab.probing.pack_sizes import PackTimes
from sweeps.placement.packing import Packing, choose_packing
from sweeps.placement.resources import places_of_nodes
from sweeps.spec import Block, Cell, SweepSpec
from sweeps.storage import TrialFolder, TrialState
from sweeps.storage.sharing import locked
from sweeps.worker.trial import run_trial, train_trials
from tests.quantlab.recipes import quantized, small_recipe
from tests.sweeps.worker.test_trial import folder_of

SWEEP = SweepSpec(
    name="packing",
    blocks=(
        Block("FP", base=small_recipe()),
        Block("PC", base=quantized()),
        Block("PC of one epoch", base=quantized(epochs=1)),
    ),
    seeds=tuple(range(7)),
)


def sizes(packing: Packing, kind: str, count: int) -> list[int]:
    """Of the packs that so many trials are handed out in."""
    found = []
    while count:
        found.append(min(count, packing.size(kind, count)))
        count -= found[-1]
    return found


def test_packs_are_filled_up_or_made_alike() -> None:
    assert sizes(Packing(27), "any", 90) == [27, 27, 27, 9]
    assert sizes(Packing(27, slots=2), "any", 90) == [23, 23, 23, 21]
    assert sizes(Packing(9, slots=4), "any", 10) == [3, 3, 3, 1]
    assert sizes(Packing({"one": 3}, slots=1), "one", 7) == [3, 3, 1]
    assert sizes(Packing({"one": 3}, slots=1), "another", 2) == [1, 1]
    limited = Packing(8)
    assert limited.limit("large", 4)
    assert not limited.limit("large", 6)
    assert sizes(limited, "large", 9) == [4, 4, 1]
    assert sizes(limited, "small", 9) == [8, 1]


def test_every_kind_has_its_own_best_size() -> None:
    asked = []

    def measure(cells: Any) -> PackTimes:
        asked.append([cell.block for cell in cells])
        if cells[0].block == "PC":
            return PackTimes({1: 2.0, 3: 1.0})
        return PackTimes({1: 2.0, 3: 2.1}, "9 do not fit: no memory")

    cells = [cell for cell in SWEEP.cells if cell.block != "FP" or cell.recipe.seed < 2]
    packing, lines = choose_packing(cells, measure, slots=2)
    assert asked == [["PC"] * 7, ["PC of one epoch"] * 7]  # two trials have two slots anyway
    by_block = {cell.block: packing.pack_key(cell) for cell in cells}
    assert [packing.size(by_block[block], 7) for block in ("FP", "PC", "PC of one epoch")] == [
        1,
        2,  # 3 at most, but then one of two slots would have less to do
        1,
    ]
    assert lines == [
        "7 trials of ConvNet on Digits are trained in packs of up to 3 (relative time per trial by "
        "size of the pack: 1: 1.00, 3: 0.50)",
        "7 trials of ConvNet on Digits are trained one by one (relative time per trial by size of "
        "the pack: 1: 1.00, 3: 1.05 (9 do not fit: no memory))",
        "2 trials are trained one by one, because packs would leave some of the 2 slots without "
        "work",
    ]


def test_places_are_counted_by_what_a_trial_needs() -> None:
    nodes = [{"CPU": 64.0, "GPU": 2.0}, {"CPU": 3.0}, {"memory": 1e9}]
    assert places_of_nodes(nodes, cpus=1, gpus=0) == [64, 3, 0]
    assert places_of_nodes(nodes, cpus=2, gpus=0.5) == [4, 0, 0]
    assert places_of_nodes([], cpus=1, gpus=0) == []


def cells_of(block: str) -> list[Cell]:
    return [cell for cell in SWEEP.cells if cell.block == block]


def test_a_pack_leaves_what_its_trials_would_leave_alone(tmp_path: Path) -> None:
    """Finished ones among them are left as they are."""
    cells = cells_of("PC")[:4]
    trials = [(cell.recipe, folder_of(cell.recipe, tmp_path)) for cell in cells]
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
    recipes = [cell.recipe for cell in cells_of("PC")[:3]]
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
from sweeps.worker.actor import Work, Worker
from tests.sweeps.placement.test_packing import LARGE

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
