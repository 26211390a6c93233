"""The reports of workers to their driver, without Ray between them."""

import os
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray.exceptions import ActorDiedError, RayTaskError
from torch import Tensor

from quantlab import ConfigurationError, Quantization, Quantizer, fingerprint
from quantlab.datasets.digits import Digits
from quantlab.execution import Execution
from quantlab.models.mlp import MLP
from quantlab.schedules import Constant
from quantlab.update_rules import PROX_CONNECT
from sweeps.running.tune_hooks import SweepStopper, TrialCallback
from sweeps.storage import Storage, TrialState
from sweeps.storage.records import Running
from sweeps.worker.actor import Worker
from sweeps.worker.failure_reason import reason_of
from sweeps.worker.pack_report import PackReport
from sweeps.worker.work import Work
from tests.quantlab.recipes import quantized


def worker(storage: Storage, mark: str, running: Running | None = None) -> Worker:
    """As Tune makes one."""
    work = Work(
        storage=storage,
        mark=mark,
        data_dir=storage.root,
        scratch=None,
        device="cpu",
        execution=Execution(),
        running=running,
    )
    made = Worker.__new__(Worker)
    made.setup({"trials": {}}, work=work)
    return made


def test_a_worker_without_the_drivers_storage_says_where_it_is(tmp_path: Path) -> None:
    storage = Storage(tmp_path / "shared")
    storage.require_writable()
    mark = storage.mark()
    assert storage.mark() == mark
    assert not PackReport.of_result(worker(storage, mark).step()).setup_error
    elsewhere = Storage(tmp_path / "not mounted")
    result = worker(elsewhere, mark).step()
    setup_error = PackReport.of_result(result).setup_error
    assert f"--storage {elsewhere.root}: machine " in setup_error
    assert "does not see the driver's folder" in setup_error
    assert not elsewhere.root.exists()
    stop = SweepStopper()
    nobody: Any = SimpleNamespace()
    callback: Any = TrialCallback(nobody, stop, storage, nobody, nobody, nobody)
    callback.on_trial_result(0, [], SimpleNamespace(config={"trials": {}}), result)
    assert isinstance(stop.error, ConfigurationError)
    assert stop.stop_all()


@dataclass(frozen=True)
class Fragile(Quantizer):
    """Breaks, or is the identity."""

    is_broken: bool = False

    def prox(self, latent: Tensor, sharpness: Any) -> Tensor:
        os.write(1, b"the map is called\n")  # as a library that is written in C
        if self.is_broken:
            raise RuntimeError("broken map")
        return latent.clone()


def test_a_pack_that_breaks_is_halved_down_to_the_trial_that_is_to_blame(tmp_path: Path) -> None:
    """Halves that wait meanwhile are trained, too. Each trial has the output of its packs."""
    recipes = [
        quantized(
            model=MLP(hidden=(4,)),
            dataset=Digits(train_images=40, validation_images=20, test_images=20),
            quantization=Quantization(
                rule=PROX_CONNECT, quantizer=Fragile(is_broken=seed == 3), sharpness=Constant(1.0)
            ),
            epochs=1,
            batchnorm_epochs=0,
            seed=seed,
        )
        for seed in range(4)
    ]
    storage = Storage(tmp_path)
    storage.require_writable()
    made = worker(storage, storage.mark())
    made.reset_config({"trials": {fingerprint(recipe): recipe for recipe in recipes}})
    states: dict[str, TrialState] = {}
    while True:
        result = made.step()
        report = PackReport.of_result(result)
        states |= report.ended
        if result["done"]:
            break
    found = [states[fingerprint(recipe)].value for recipe in recipes]
    assert found == ["COMPLETE", "COMPLETE", "COMPLETE", "FAILED"]
    assert report.largest is None  # it was not for its size
    outputs = [storage.trial(fingerprint(recipe)).output_of(0).read_text() for recipe in recipes]
    for output in outputs:
        assert output.startswith("--- 20")
        assert output.count("in a pack of 4 trials ---\nthe map is called\n") == 1
        assert output.endswith("the map is called\n")
    assert (
        outputs[1].partition(", in a pack of 2")[0] == outputs[0].partition(", in a pack of 2")[0]
    )


def test_a_trial_that_another_process_trains_is_left_to_it(tmp_path: Path) -> None:
    """The others of the pack are trained, and others can read by which command."""
    recipes = [quantized(model=MLP(hidden=(4,)), seed=seed) for seed in (0, 1)]
    storage = Storage(tmp_path)
    storage.require_writable()
    taken, mine = (storage.trial(fingerprint(recipe)) for recipe in recipes)
    taken.make()
    running = Running(command="sweeps run mine.py", user="ada", host="box", process=7)
    made = worker(storage, storage.mark(), running)
    seen = set()
    with taken.locked():
        made.reset_config({"trials": {fingerprint(recipe): recipe for recipe in recipes}})
        for _ in made._training:
            seen.add((mine.state(), str(mine.trained_by())))
        report = PackReport.of_result(made.step())
    by = "`sweeps run mine.py` of ada on box, process 7"
    assert seen == {(TrialState.RUNNING, by)}
    assert report.elsewhere == (taken.fingerprint,)
    assert report.ended == {mine.fingerprint: TrialState.COMPLETE}
    assert not mine.running.exists()
    assert mine.trained_by() is None
    assert not taken.recipe.exists()


@dataclass(frozen=True)
class Unplugged(Digits):
    """Its disk is away."""

    def read(self, *arguments: Any, **options: Any) -> Any:
        raise OSError("the disk is away")


def test_an_error_that_another_attempt_may_survive_reaches_the_driver(tmp_path: Path) -> None:
    """A pack that meets it is not halved, and no trial of it has failed."""
    recipes = [quantized(model=MLP(hidden=(4,)), dataset=Unplugged(), seed=seed) for seed in (0, 1)]
    storage = Storage(tmp_path)
    storage.require_writable()
    made = worker(storage, storage.mark())
    made.reset_config({"trials": {fingerprint(recipe): recipe for recipe in recipes}})
    with pytest.raises(OSError, match="the disk is away"):
        made.step()


def test_a_worker_that_is_stopped_leaves_a_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the trial that it is at. The next worker says from where it continues."""
    monkeypatch.setattr("sweeps.worker.actor.STEP_SECONDS", 0)  # the first step ends with an epoch
    storage = Storage(tmp_path)
    storage.require_writable()
    made = worker(storage, storage.mark())
    recipe = quantized(model=MLP(hidden=(4,)))
    made.reset_config({"trials": {fingerprint(recipe): recipe}})
    result = made.step()
    assert not result["done"]
    assert PackReport.of_result(result).continued == {}
    made.cleanup()  # by Tune, before it ends the process
    assert storage.trial(fingerprint(recipe)).checkpoint.exists()
    finished = PackReport.of_result(result).epochs[fingerprint(recipe)]
    following = worker(storage, storage.mark())
    following.reset_config({"trials": {fingerprint(recipe): recipe}})
    report = PackReport.of_result(following.step())
    assert report.continued == {fingerprint(recipe): finished}
    assert report.epochs == {fingerprint(recipe): finished + 1}
    assert PackReport.of_result(following.step()).continued == {}


def test_a_storage_of_the_same_path_on_another_machine_is_another(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    mark = storage.mark()
    (tmp_path / ".mark").write_text("0" * len(mark))
    with pytest.raises(ConfigurationError, match="does not see the driver's folder"):
        storage.require_mark(mark)


def test_reasons_are_what_was_raised_in_one_line() -> None:
    try:
        raise ImportError("libwhatever.so: cannot open\nshared object")
    except ImportError as error:
        task = RayTaskError("__init__", f"Traceback ...\n  File x\nImportError: {error}", error)
    assert reason_of(ActorDiedError(task)) == "shared object"
    assert reason_of(task) == "ImportError: libwhatever.so: cannot open"
    assert reason_of(ActorDiedError()) == "The actor died unexpectedly before finishing this task."
    assert reason_of(None) == "no reason is known"
