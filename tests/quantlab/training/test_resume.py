"""Interruptions: a run continued from a saved state is bit-identical to one that never stopped."""

import os
import resource
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from quantlab import OptimizerSpec, Quantization, Recipe, TrainingRun
from quantlab.datasets.imagenet import ImageNet
from quantlab.files.partial import replacing
from quantlab.models.torchvision_model import TorchvisionModel
from quantlab.quantization_sets import QUATERNARY
from quantlab.quantizers.mixture import Averaged, RandomChoice
from quantlab.quantizers.piecewise_linear import PiecewiseLinear
from quantlab.quantizers.stochastic_rounding import StochasticRounding
from quantlab.recipe import Averaging, MovingAverage, WeightGroup
from quantlab.schedules import Linear
from quantlab.training.checkpoint import (
    load_last_good,
    previous_checkpoint,
    remove_checkpoints,
    save_atomically,
    save_checkpoint,
)
from quantlab.update_rules import POST_TRAINING, PROX_CONNECT, PROX_QUANT, REVERSE_PROX_CONNECT
from tests.quantlab.image_trees import write_images
from tests.quantlab.recipes import ADAM, AUGMENTED_DIGITS, SGD, quantized, small_recipe

ANNEALED = PiecewiseLinear(QUATERNARY)
RECIPES: dict[str, Recipe] = {
    "full precision": small_recipe(dataset=AUGMENTED_DIGITS, optimizer=ADAM),
    "PC, annealed": quantized(dataset=AUGMENTED_DIGITS),
    "PQ, stochastic rounding": quantized(
        dataset=AUGMENTED_DIGITS,
        optimizer=ADAM,
        quantization=Quantization(rule=PROX_QUANT, quantizer=StochasticRounding()),
    ),
    "rPC, random choice": quantized(
        dataset=AUGMENTED_DIGITS,
        quantization=Quantization(
            rule=REVERSE_PROX_CONNECT, quantizer=RandomChoice(), sharpness=Linear(0.1)
        ),
    ),
    "post-training, random": quantized(
        dataset=AUGMENTED_DIGITS,
        quantization=Quantization(
            rule=POST_TRAINING,
            quantizer=Averaged(members=(StochasticRounding(), PiecewiseLinear())),
            sharpness=Linear(0.1),
            averaging=Averaging(weight=Linear(1, period=1)),
        ),
    ),
    "PC, groups, averaged": quantized(
        dataset=AUGMENTED_DIGITS,
        optimizer=ADAM,
        quantization=Quantization(
            rule=PROX_CONNECT,
            quantizer=ANNEALED,
            sharpness=Linear(0.05),
            groups=(
                WeightGroup(
                    layers=("Linear",), quantizer=StochasticRounding(), sharpness=Linear(1)
                ),
            ),
            averaging=Averaging(start_epoch=1),
            latent_bound=1.0,
        ),
    ),
    "PC, best epoch": quantized(dataset=AUGMENTED_DIGITS, select="best"),
    "PC, epochs of 8 steps": quantized(dataset=AUGMENTED_DIGITS, steps_per_epoch=8),
    "PQ, stochastic rounding, moving average": quantized(
        dataset=AUGMENTED_DIGITS,
        quantization=Quantization(rule=PROX_QUANT, quantizer=StochasticRounding()),
        moving_average=MovingAverage(decay=0.9, start_epoch=1),
        select="best",
    ),
}


def leaves(value: Any, path: str = "") -> dict[str, Any]:
    """Every number and tensor of a nested state, by its path."""
    if isinstance(value, dict):
        items: Any = value.items()
    elif isinstance(value, list | tuple):
        items = enumerate(value)
    else:
        return {path: value}
    return {k: v for key, item in items for k, v in leaves(item, f"{path}/{key}").items()}


def assert_same_state(first: TrainingRun, second: TrainingRun) -> None:
    """Weights, moments, statistics, counters: everything a state holds, bit for bit."""
    ours, theirs = leaves(first.state_dict()), leaves(second.state_dict())
    assert ours.keys() == theirs.keys()
    for path, value in ours.items():
        other = theirs[path]
        same = torch.equal(value, other) if isinstance(value, Tensor) else value == other
        assert same, path


def records_of(run: TrainingRun, stop_after: int | None = None) -> list[dict[str, Any]]:
    """Train with a pause after every second step, up to so many pauses and epochs' ends."""
    records = []
    for count, record in enumerate(run.train(pause_steps=2), start=1):
        if record is not None:
            records.append({**asdict(record), "seconds": None})
        if count == stop_after:
            break
    return records


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_t32_resumed_at_any_pause_is_bit_identical(recipe: Recipe, tmp_path: Path) -> None:
    """Within an epoch, at its end, across the stage boundary; through files, in a new object."""
    whole = TrainingRun(recipe)
    expected = [{**asdict(record), "seconds": None} for record in whole]
    file = tmp_path / "checkpoint.pt"
    run, records = TrainingRun(recipe), []
    for stop_after in (1, 2, 1, 3, 4, 1, 5, 2, 3):
        records += records_of(run, stop_after)
        save_checkpoint(file, run.state_dict(), fingerprint=run.fingerprint)
        torch.rand(3)  # whatever else happens in the process
        run = TrainingRun(recipe)
        state, refused = load_last_good(file, fingerprint=run.fingerprint)
        assert state is not None
        assert not refused
        run.load_state_dict(state)
    assert records
    records += records_of(run)
    assert records == expected
    assert_same_state(run, whole)
    assert run.outcome() == whole.outcome()


def test_pauses_change_nothing_and_leave_the_global_generator_alone() -> None:
    recipe = RECIPES["PQ, stochastic rounding"]
    whole = TrainingRun(recipe)
    expected = [{**asdict(record), "seconds": None} for record in whole]
    run = TrainingRun(recipe)
    torch.manual_seed(3)
    steps = run.train(pause_steps=1)
    assert next(steps) is None
    between = torch.rand(1)
    torch.manual_seed(3)
    assert torch.equal(between, torch.rand(1))
    rest = [{**asdict(record), "seconds": None} for record in steps if record is not None]
    assert rest == expected
    assert_same_state(run, whole)


def test_a_run_left_at_a_pause_goes_on_when_iterated_again() -> None:
    recipe = RECIPES["PC, annealed"]
    whole, run = TrainingRun(recipe), TrainingRun(recipe)
    expected = [{**asdict(record), "seconds": None} for record in whole]
    assert records_of(run, stop_after=2) + records_of(run) == expected


def test_images_from_disk_resume_too(tmp_path: Path) -> None:
    write_images(tmp_path / "imagenet", {"train": 12, "val": 4})
    recipe = Recipe(
        model=TorchvisionModel("squeezenet1_1"),
        dataset=ImageNet(validation_images=4, crop=32, resize=36),
        optimizer=OptimizerSpec(algorithm=torch.optim.Adam, learning_rate=SGD.learning_rate),
        quantization=Quantization(rule=PROX_CONNECT, quantizer=ANNEALED, sharpness=Linear(0.01)),
        epochs=2,
        batch_size=5,
    )
    whole = TrainingRun(recipe, data_dir=tmp_path)
    expected = [{**asdict(record), "seconds": None} for record in whole]
    first = TrainingRun(recipe, data_dir=tmp_path)
    assert records_of(first, stop_after=1) == []
    second = TrainingRun(recipe, data_dir=tmp_path)
    second.load_state_dict(first.state_dict())
    # The dropout of this network draws from torch's default generator.
    torch.rand(5)
    assert records_of(second) == expected
    assert_same_state(second, whole)


def test_the_previous_good_checkpoint_is_used(tmp_path: Path) -> None:
    file = tmp_path / "checkpoint.pt"
    assert load_last_good(file, fingerprint="a") == (None, [])
    for epoch in (1, 2, 3):
        save_checkpoint(file, {"epoch": epoch}, fingerprint="a")
    assert load_last_good(file, fingerprint="a") == ({"epoch": 3}, [])
    file.write_bytes(file.read_bytes()[:-100])
    state, refused = load_last_good(file, fingerprint="a")
    assert state == {"epoch": 2}
    assert len(refused) == 1
    assert f"checkpoint {file}: the file is damaged" in refused[0]
    # The next checkpoint does not put the damaged one in the place of the good one.
    save_checkpoint(file, {"epoch": 4}, fingerprint="a")
    file.unlink()
    assert load_last_good(file, fingerprint="a") == ({"epoch": 2}, [])
    previous_checkpoint(file).write_bytes(b"")
    state, refused = load_last_good(file, fingerprint="a")
    assert state is None
    assert len(refused) == 1
    save_checkpoint(file, {"epoch": 5}, fingerprint="a")
    (tmp_path / f".{file.stem}.next{file.suffix}.partial").write_bytes(b"half")
    remove_checkpoints(file)
    assert {path.suffix for path in tmp_path.iterdir()} == {".damaged"}


def test_processes_with_the_same_number_do_not_disturb_each_other(tmp_path: Path) -> None:
    """Such as those of two containers; what a killed one leaves is found."""
    file = tmp_path / "checkpoint.pt"
    with replacing(file) as first:
        first.write(b"one")
        with replacing(file) as second:
            second.write(b"two")
        assert file.read_bytes() == b"two"
        (unfinished,) = tmp_path.glob(".*.partial")
        left = unfinished.with_name(f".{file.name}.7.0123abcd.partial")
        left.write_bytes(b"half")
    assert file.read_bytes() == b"one"
    remove_checkpoints(file)
    assert not list(tmp_path.iterdir())


def test_a_crash_between_the_two_files_loses_nothing(tmp_path: Path) -> None:
    file = tmp_path / "checkpoint.pt"
    save_checkpoint(file, {"epoch": 1}, fingerprint="a")
    file.replace(previous_checkpoint(file))  # as far as `save_checkpoint` may have come
    assert load_last_good(file, fingerprint="a") == ({"epoch": 1}, [])


def test_a_checkpoint_that_is_cut_short_leaves_those_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed once the new content is written, and not yet in its place; a network's file alike."""
    file, weights = tmp_path / "checkpoint.pt", tmp_path / "weights.pt"
    for epoch in (1, 2):
        save_checkpoint(file, {"epoch": epoch}, fingerprint="a")
    save_atomically(weights, {})
    before = {path: path.read_bytes() for path in (file, previous_checkpoint(file), weights)}

    def kill(descriptor: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", kill)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(file, {"epoch": 3}, fingerprint="a")
    with pytest.raises(KeyboardInterrupt):
        save_atomically(weights, {"weight": torch.zeros(1)})
    assert {path: path.read_bytes() for path in before} == before
    assert load_last_good(file, fingerprint="a") == ({"epoch": 2}, [])


def test_a_checkpoint_of_another_recipe_is_refused_with_both_names(tmp_path: Path) -> None:
    file = tmp_path / "checkpoint.pt"
    run = TrainingRun(RECIPES["PC, annealed"])
    next(iter(run))
    save_checkpoint(file, run.state_dict(), fingerprint=run.fingerprint)
    other = TrainingRun(replace(run.recipe, seed=1))
    state, refused = load_last_good(file, fingerprint=other.fingerprint)
    assert state is None
    assert refused == [
        f"checkpoint {file}: belongs to trial {run.fingerprint}, not to {other.fingerprint}"
    ]


def test_a_state_is_a_copy_that_can_be_used_twice() -> None:
    recipe = RECIPES["PC, groups, averaged"]
    run = TrainingRun(recipe)
    records = iter(run)
    next(records)
    next(records)
    state = run.state_dict()
    list(records)
    continued = []
    for _ in range(2):
        other = TrainingRun(recipe)
        other.load_state_dict(state)
        continued.append([{**asdict(record), "seconds": None} for record in other])
        assert_same_state(other, run)
    assert continued[0] == continued[1]


def test_a_full_disk_is_an_error_of_the_disk(tmp_path: Path) -> None:
    """Such errors are retried; torch's own writer would raise another one, which is final."""
    path = tmp_path / "checkpoint.pt"
    save_atomically(path, torch.zeros(10))
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            save_atomically(path, torch.zeros(100_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
