"""What a worker does for one trial, without Ray."""

import itertools
import json
import os
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from quantlab import (
    ConfigurationError,
    Distillation,
    EpochRecord,
    Execution,
    OptimizerSpec,
    Recipe,
    fingerprint,
)
from quantlab.datasets.digits import Digits
from quantlab.datasets.image_folder import ImageFolder
from quantlab.datasets.imagenet import ImageNet
from quantlab.initial_weights import TrialWeights
from quantlab.models.mlp import MLP
from quantlab.models.torchvision_model import TorchvisionModel
from quantlab.schedules import Constant
from sweeps.storage import Storage, TrialFolder, TrialState
from sweeps.storage.records import Result
from sweeps.storage.sealed_json import plain
from sweeps.worker.trial import PAUSE_STEPS, run_trial, train_trials
from tests.quantlab.image_trees import write_images
from tests.quantlab.recipes import quantized, small_recipe


class Killed(BaseException):
    """Ends a trial as `kill -9` would: nothing of ours handles it."""


def folder_of(recipe: Recipe, root: Path) -> TrialFolder:
    return Storage(root).trial(fingerprint(recipe))


def result_of(folder: TrialFolder) -> Result:
    result = folder.result.read()
    assert result is not None
    return result


def comparable(folder: TrialFolder) -> tuple[Any, ...]:
    """All results but for times and the memory of the process."""
    measured = ("time", "warning", "memory_gib", "gpu_memory_gib")
    history = [
        {k: v for k, v in plain(record).items() if k not in ("seconds", "time")}
        for record in folder.read_history()
    ]
    result = {k: v for k, v in result_of(folder).as_mapping().items() if k not in measured}
    weights = torch.load(folder.weights, weights_only=True)
    return history, result, {name: value.tolist() for name, value in weights.items()}


def test_a_finished_trial_leaves_its_results(tmp_path: Path) -> None:
    recipe = quantized()
    folder = folder_of(recipe, tmp_path)
    assert folder.state() is TrialState.WAITING
    seen: list[EpochRecord] = []
    assert run_trial(recipe, folder, data_dir=tmp_path, report=seen.append) is TrialState.COMPLETE
    assert folder.state() is TrialState.COMPLETE
    assert [record.epoch for record in seen] == [1, 2, 3, 4, 5]
    assert [record.epoch for record in folder.read_history()] == [1, 2, 3, 4, 5]
    result = result_of(folder)
    assert result.test_accuracy is not None
    assert 0 <= result.test_accuracy <= 1
    assert json.loads(result.packages)["torch"] == torch.__version__.split("+")[0]
    names = {path.name for path in folder.path.iterdir()}
    assert names == {".lock", "recipe.json", "history.jsonl", "result.json", "weights.pt"}
    before = folder.result.path.stat().st_mtime_ns
    assert run_trial(recipe, folder, data_dir=tmp_path) is TrialState.COMPLETE
    assert folder.result.path.stat().st_mtime_ns == before


def test_epochs_are_on_the_disk_before_what_counts_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a power failure could leave a checkpoint, or a result, without its epochs."""
    folder = folder_of(quantized(), tmp_path)
    synced: list[int] = [0]
    found: list[tuple[str, int, int]] = []
    fsync, replace_file = os.fsync, os.replace

    def noted_fsync(file: int) -> None:
        fsync(file)
        if os.readlink(f"/proc/self/fd/{file}") == str(folder.history):
            synced.append(os.fstat(file).st_size)

    def noted_replace(source: Any, target: Any) -> None:
        replace_file(source, target)
        if Path(target).name in (folder.checkpoint.name, folder.result.path.name):
            found.append((Path(target).name, synced[-1], folder.history.stat().st_size))

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(os, "replace", noted_replace)
    run_trial(quantized(), folder, data_dir=tmp_path, checkpoint_seconds=0)
    assert {name for name, _, _ in found} == {"checkpoint.pt", "result.json"}
    assert len({size for _, _, size in found}) > 4
    assert all(on_disk == size for _, on_disk, size in found)


@pytest.mark.parametrize("cut", [1, 3, 4])
def test_a_killed_trial_goes_on_as_if_nothing_had_happened(cut: int, tmp_path: Path) -> None:
    recipe = quantized()
    whole, killed = folder_of(recipe, tmp_path / "whole"), folder_of(recipe, tmp_path / "killed")
    run_trial(recipe, whole, data_dir=tmp_path)

    def kill(record: EpochRecord) -> None:
        if record.epoch == cut:
            raise Killed

    with pytest.raises(Killed):
        run_trial(recipe, killed, data_dir=tmp_path, report=kill, checkpoint_seconds=0)
    assert killed.state() is TrialState.INTERRUPTED
    # The next epoch's record was written, its checkpoint not.
    killed.append_history(replace(killed.read_history()[-1], epoch=cut + 1))
    with killed.history.open("a") as file:
        file.write('{"epoch": ')
    seen: list[EpochRecord] = []
    run_trial(recipe, killed, data_dir=tmp_path, report=seen.append)
    assert [record.epoch for record in seen] == list(range(cut + 1, 6))
    assert comparable(killed) == comparable(whole)


def test_a_trial_that_is_killed_at_any_write_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each time the content is written, and not yet in its place; one epoch is lost at most."""
    recipe = quantized(
        model=MLP(hidden=(4,)),
        dataset=Digits(train_images=40, validation_images=20, test_images=20),
        epochs=2,
        batchnorm_epochs=1,
        batch_size=20,
    )
    whole = folder_of(recipe, tmp_path / "whole")
    run_trial(recipe, whole, data_dir=tmp_path)
    write = os.fsync

    def kill_at(moment: int) -> None:
        writes = itertools.count(1)

        def write_or_kill(file: int) -> None:
            if next(writes) == moment:
                raise Killed
            write(file)

        monkeypatch.setattr(os, "fsync", write_or_kill)

    for moment in itertools.count(1):
        folder = folder_of(recipe, tmp_path / f"killed at write {moment}")
        seen: list[EpochRecord] = []
        kill_at(moment)
        try:
            run_trial(recipe, folder, data_dir=tmp_path, report=seen.append, checkpoint_seconds=0)
        except Killed:
            assert not folder.state().is_finished
        else:
            break
        kill_at(0)
        run_trial(recipe, folder, data_dir=tmp_path, report=seen.append, checkpoint_seconds=0)
        assert len(seen) <= 3 + 1
        assert comparable(folder) == comparable(whole)
    assert moment > 10  # recipe, history, 3 x (history, checkpoint), network, result


def test_a_damaged_checkpoint_starts_the_trial_anew(tmp_path: Path) -> None:
    recipe = quantized()
    whole, damaged = folder_of(recipe, tmp_path / "whole"), folder_of(recipe, tmp_path / "damaged")
    run_trial(recipe, whole, data_dir=tmp_path)
    damaged.path.mkdir(parents=True)
    damaged.checkpoint.write_bytes(b"half a check")
    with pytest.warns(UserWarning, match=r"checkpoint\.pt: .*damaged .*; the trial was restarted"):
        run_trial(recipe, damaged, data_dir=tmp_path)
    assert "the trial was restarted" in result_of(damaged).warning
    assert comparable(damaged) == comparable(whole)


def test_the_checkpoint_before_a_damaged_one_is_used(tmp_path: Path) -> None:
    recipe = quantized()
    whole, damaged = folder_of(recipe, tmp_path / "whole"), folder_of(recipe, tmp_path / "damaged")
    run_trial(recipe, whole, data_dir=tmp_path)

    def kill(record: EpochRecord) -> None:
        if record.epoch == 4:
            raise Killed

    with pytest.raises(Killed):
        run_trial(recipe, damaged, data_dir=tmp_path, report=kill, checkpoint_seconds=0)
    damaged.checkpoint.write_bytes(damaged.checkpoint.read_bytes()[:-500])
    seen: list[EpochRecord] = []
    with pytest.warns(UserWarning, match=r"checkpoint\.pt: .*damaged .*; the previous one was"):
        run_trial(recipe, damaged, data_dir=tmp_path, report=seen.append)
    assert [record.epoch for record in seen] == [4, 5]
    assert "the previous one was used" in result_of(damaged).warning
    assert comparable(damaged) == comparable(whole)


@pytest.mark.parametrize("lost", ["all", "the second", "the last", "the second twice"])
def test_epochs_that_the_history_has_lost_are_trained_again(lost: str, tmp_path: Path) -> None:
    recipe = quantized()
    whole, damaged = folder_of(recipe, tmp_path / "whole"), folder_of(recipe, tmp_path / "damaged")
    run_trial(recipe, whole, data_dir=tmp_path)

    def kill(record: EpochRecord) -> None:
        if record.epoch == 4:
            raise Killed

    with pytest.raises(Killed):
        run_trial(recipe, damaged, data_dir=tmp_path, report=kill, checkpoint_seconds=0)
    lines = damaged.history.read_text().splitlines(keepends=True)
    left = {
        "all": [],
        "the second": [lines[0], *lines[2:]],
        "the last": lines[:3],
        "the second twice": [*lines[:2], *lines[1:]],
    }
    damaged.history.write_text("".join(left[lost]))
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        run_trial(recipe, damaged, data_dir=tmp_path)
    assert comparable(damaged) == comparable(whole)
    said = result_of(damaged).warning
    assert ("but the records of only" in said) == (lost != "the second twice")
    assert bool(warned) == bool(said)
    assert (damaged.path / "history.jsonl.damaged").exists() == ("second" in lost)


def test_a_network_that_others_start_from_is_trained_again_if_it_is_damaged(tmp_path: Path) -> None:
    parent = small_recipe()
    child = quantized(initial_weights=TrialWeights(fingerprint(parent)))
    folder = folder_of(parent, tmp_path)
    run_trial(parent, folder, data_dir=tmp_path)
    before = comparable(folder)
    content = bytearray(folder.weights.read_bytes())
    content[len(content) // 2] ^= 1
    folder.weights.write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"weights\.pt: is damaged, or belongs to"):
        run_trial(child, folder_of(child, tmp_path), data_dir=tmp_path)
    assert run_trial(parent, folder, data_dir=tmp_path) is TrialState.COMPLETE
    assert comparable(folder) == before
    assert run_trial(child, folder_of(child, tmp_path), data_dir=tmp_path) is TrialState.COMPLETE


def test_fine_tuning_starts_from_its_parents_network(tmp_path: Path) -> None:
    parent = small_recipe()
    child = quantized(initial_weights=TrialWeights(fingerprint(parent)))
    folder = folder_of(child, tmp_path)
    with pytest.raises(ConfigurationError, match="it must be trained first"):
        run_trial(child, folder, data_dir=tmp_path)
    assert folder.state() is TrialState.FAILED
    run_trial(parent, folder_of(parent, tmp_path), data_dir=tmp_path)
    assert run_trial(child, folder, data_dir=tmp_path) is TrialState.COMPLETE
    scratch = quantized()
    run_trial(scratch, folder_of(scratch, tmp_path), data_dir=tmp_path)
    losses = [
        folder_of(recipe, tmp_path).read_history()[0].train_loss for recipe in (child, scratch)
    ]
    assert losses[0] < losses[1]  # it has learned something before


def test_a_teacher_that_was_trained_anew_meanwhile_gives_a_warning(tmp_path: Path) -> None:
    teacher = small_recipe(epochs=1)
    student = quantized(distillation=Distillation(teacher=TrialWeights(fingerprint(teacher))))
    folder = folder_of(student, tmp_path)
    with pytest.raises(ConfigurationError, match="it must be trained first"):
        run_trial(student, folder, data_dir=tmp_path)
    run_trial(teacher, folder_of(teacher, tmp_path), data_dir=tmp_path)

    def kill(record: EpochRecord) -> None:
        raise Killed

    with pytest.raises(Killed):
        run_trial(student, folder, data_dir=tmp_path, report=kill, checkpoint_seconds=0)
    folder_of(teacher, tmp_path).result.remove()
    other = small_recipe(seed=3, epochs=1)
    run_trial(other, folder_of(other, tmp_path), data_dir=tmp_path)
    folder_of(other, tmp_path).weights.rename(folder_of(teacher, tmp_path).weights)
    with pytest.warns(UserWarning, match="the network of the teacher has changed"):
        assert run_trial(student, folder, data_dir=tmp_path) is TrialState.COMPLETE
    assert result_of(folder).warning == "the network of the teacher has changed during training"


def test_a_result_says_how_it_was_computed(tmp_path: Path) -> None:
    recipe = quantized(epochs=1, batchnorm_epochs=0)
    folder = folder_of(recipe, tmp_path)
    run_trial(recipe, folder, data_dir=tmp_path, execution=Execution(bf16=True))
    execution = result_of(folder).execution
    assert execution == (
        "channels_last,bf16,no-compile,graph,no-triton,deterministic,keep_memory,workers=0,threads=1"
    )


def test_another_execution_after_an_interruption_gives_a_warning(tmp_path: Path) -> None:
    recipe = quantized()
    folder = folder_of(recipe, tmp_path)

    def kill(record: EpochRecord) -> None:
        raise Killed

    def killed(execution: Execution) -> None:
        with pytest.raises(Killed):
            run_trial(
                recipe,
                folder,
                data_dir=tmp_path,
                execution=execution,
                report=kill,
                checkpoint_seconds=0,
            )

    killed(Execution(bf16=True))
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # these two change no number
        killed(Execution(bf16=True, workers=1, keep_memory=False))
    with pytest.warns(UserWarning, match=r"not bit-identical .*computed with execution .*,bf16,"):
        killed(Execution())
    # The finished trial has the warning too, although the last resumption changed nothing.
    with pytest.warns(UserWarning, match=r"not bit-identical .*computed with execution .*,bf16,"):
        run_trial(recipe, folder, data_dir=tmp_path)
    assert "not bit-identical" in result_of(folder).warning


def test_without_validation_images_the_accuracy_is_null(tmp_path: Path) -> None:
    recipe = small_recipe(dataset=Digits(validation_images=0, train_images=100), epochs=1)
    folder = folder_of(recipe, tmp_path)
    assert run_trial(recipe, folder, data_dir=tmp_path) is TrialState.COMPLETE
    assert result_of(folder).validation_accuracy is None
    assert "NaN" not in folder.history.read_text()


@pytest.mark.parametrize("workers", [0, 2])
def test_one_broken_image_is_one_clear_failure(workers: int, tmp_path: Path) -> None:
    write_images(tmp_path / "imagenet", {"train": 4, "val": 2})
    broken = tmp_path / "imagenet" / "train" / "dog" / "1.jpg"
    broken.write_bytes(broken.read_bytes()[:200])
    recipe = Recipe(
        model=TorchvisionModel("squeezenet1_1"),
        dataset=ImageNet(validation_images=1, crop=32, resize=36),
        optimizer=OptimizerSpec(learning_rate=Constant(0.01)),
        epochs=1,
        batch_size=4,
    )
    folder = folder_of(recipe, tmp_path)
    with pytest.raises(ConfigurationError):
        run_trial(recipe, folder, data_dir=tmp_path, execution=Execution(workers=workers))
    failure = folder.failure.read()
    assert failure is not None
    assert failure.error.startswith(f"ConfigurationError: {broken}: not a readable image (")
    assert "\n" not in failure.error


def test_divergence_is_a_result(tmp_path: Path) -> None:
    recipe = small_recipe(optimizer=OptimizerSpec(learning_rate=Constant(1e30)))
    folder = folder_of(recipe, tmp_path)
    assert run_trial(recipe, folder, data_dir=tmp_path) is TrialState.DIVERGED
    assert folder.state() is TrialState.DIVERGED
    assert folder.state().is_finished
    result = result_of(folder)
    assert "not finite at step" in result.error
    assert result.last_finite_loss is not None
    assert result.last_finite_loss > 0


def test_a_failure_is_recorded_and_tried_again(tmp_path: Path) -> None:
    recipe = small_recipe(dataset=ImageFolder(folder="none", validation_images=1))
    folder = folder_of(recipe, tmp_path)
    for _ in range(2):
        with pytest.raises(ValueError, match=r"folder .* does not exist"):
            run_trial(recipe, folder, data_dir=tmp_path)
        assert folder.state() is TrialState.FAILED
        assert not folder.state().is_finished
    failure = folder.failure.read()
    assert failure is not None
    assert failure.error.startswith("ConfigurationError: ImageFolder.folder = 'none'")
    assert "Traceback" in failure.traceback


def test_a_trial_that_is_stopped_leaves_its_state(tmp_path: Path) -> None:
    """At a pause within an epoch, long before a checkpoint is due."""
    recipe = quantized(batch_size=2)
    whole, stopped = folder_of(recipe, tmp_path / "a"), folder_of(recipe, tmp_path / "b")
    run_trial(recipe, whole, data_dir=tmp_path)
    for pauses in (1, 3):
        training = train_trials([(recipe, stopped)], data_dir=tmp_path)
        for _ in range(pauses):
            assert next(training) == []
        assert pauses == 3 or not stopped.checkpoint.exists()
        training.close()
    state = torch.load(stopped.checkpoint, weights_only=True)["state"]
    assert (state["epoch"], state["epoch_in_progress"]["batches"]) == (0, 4 * PAUSE_STEPS)
    run_trial(recipe, stopped, data_dir=tmp_path)
    assert comparable(stopped) == comparable(whole)
