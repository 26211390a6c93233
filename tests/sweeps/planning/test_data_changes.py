"""Data that changes under a fingerprint is seen."""

import os
from pathlib import Path

import pytest

from quantlab import EpochRecord, Recipe
from quantlab.datasets import content
from quantlab.datasets.content import content_of
from quantlab.datasets.digits import Digits
from quantlab.datasets.image_folder import ImageFolder
from quantlab.datasets.imagenet import ImageNet
from sweeps.cli import main
from sweeps.loading import load_sweep
from sweeps.planning.data_changes import data_warnings
from sweeps.spec import Block, Cell, SweepSpec
from sweeps.storage import Storage
from sweeps.worker.trial import run_trial
from tests.quantlab.image_trees import write_images
from tests.quantlab.recipes import small_recipe
from tests.sweeps.trial_files import ended

FOLDER = ImageFolder(folder="set", validation_images=2)


def content_now(root: Path, dataset: ImageFolder | ImageNet = FOLDER) -> str:
    content._of_files.cache_clear()  # as a new process has it
    return content_of(dataset, root)


def test_whatever_is_read_counts(tmp_path: Path) -> None:
    write_images(tmp_path / "set", {"train": 4, "test": 2})
    found = [content_now(tmp_path)]
    image = tmp_path / "set" / "train" / "cat" / "0.jpg"
    pixels = image.read_bytes()
    image.write_bytes(pixels[:-3] + b"abc")
    found.append(content_now(tmp_path))
    image.write_bytes(pixels)
    assert content_now(tmp_path) == found[0]
    (tmp_path / "set" / ".hidden").touch()
    assert content_now(tmp_path) == found[0]
    image.rename(image.with_name("5.jpg"))
    found.append(content_now(tmp_path))
    assert len(set(found)) == 3
    assert all(len(text) == 16 for text in found)


def test_many_files_count_by_names_and_sizes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_images(tmp_path / "imagenet", {"train": 4, "val": 2})
    monkeypatch.setattr(content, "MOST_BYTES", 10)
    dataset = ImageNet(validation_images=2)
    before = content_now(tmp_path, dataset)
    image = tmp_path / "imagenet" / "val" / "emu" / "1.jpg"
    pixels = image.read_bytes()
    image.write_bytes(bytes(len(pixels)))
    assert content_now(tmp_path, dataset) == before
    image.write_bytes(pixels + b"0")
    changed = content_now(tmp_path, dataset)
    assert changed != before
    monkeypatch.setattr(content, "MOST_FILES", 5)
    monkeypatch.setattr(content, "SAMPLED", 2)
    few = content_now(tmp_path, dataset)
    assert few != changed
    os.remove(image)
    assert content_now(tmp_path, dataset) != few


def test_images_in_memory_count_as_they_are() -> None:
    first, second = Digits(), Digits(train_images=100)
    found = {content_of(each, Path(), each.load(Path())) for each in (first, second, first)}
    assert len(found) == 2
    assert content_of(first, Path()) == ""


def sweep_of(recipe: Recipe) -> tuple[Cell, ...]:
    return SweepSpec(name="s", blocks=(Block("FP", base=recipe),), seeds=(0, 1, 2)).cells


def test_a_trial_says_what_data_it_was_trained_on(tmp_path: Path) -> None:
    write_images(tmp_path / "imagenet", {"train": 4, "val": 2})
    recipe = small_recipe(dataset=ImageNet(validation_images=2, crop=32, resize=32), epochs=1)
    storage = Storage(tmp_path)
    cells = sweep_of(recipe)
    folder = storage.trial(cells[0].fingerprint)
    run_trial(cells[0].recipe, folder, data_dir=tmp_path)
    result = folder.result.read()
    assert result is not None
    assert result.data_content == content_now(tmp_path, ImageNet())


def test_data_that_changes_during_training_is_told_of_in_the_result(tmp_path: Path) -> None:
    write_images(tmp_path / "imagenet", {"train": 4, "val": 2})
    recipe = small_recipe(dataset=ImageNet(validation_images=2, crop=32, resize=32), epochs=2)
    cell = sweep_of(recipe)[0]
    folder = Storage(tmp_path).trial(cell.fingerprint)

    def stop(record: EpochRecord) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_trial(cell.recipe, folder, data_dir=tmp_path, report=stop, checkpoint_seconds=0)
    first = content_now(tmp_path, ImageNet())
    (tmp_path / "imagenet" / "val" / "emu" / "1.jpg").unlink()
    second = content_now(tmp_path, ImageNet())
    with pytest.warns(UserWarning, match=f"changed during training from {first} to {second}"):
        run_trial(cell.recipe, folder, data_dir=tmp_path)
    result = folder.result.read()
    assert result is not None
    assert result.data_content == second
    assert f"the data has changed during training from {first}" in result.warning


def test_other_data_gives_a_warning(tmp_path: Path) -> None:
    write_images(tmp_path / "set", {"train": 4, "test": 2})
    cells = sweep_of(small_recipe(dataset=FOLDER))
    storage = Storage(tmp_path)

    def finish(cell: Cell, data_content: str) -> None:
        folder = storage.trial(cell.fingerprint)
        folder.path.mkdir(parents=True, exist_ok=True)
        folder.result.write(ended(data_content=data_content))

    now = content_now(tmp_path)
    finish(cells[0], now)
    finish(cells[1], "")  # of an older version
    assert data_warnings(cells, storage) == data_warnings(cells, storage, tmp_path) == []
    assert data_warnings(cells, storage, tmp_path / "elsewhere") == []
    finish(cells[1], "a" * 16)
    (line,) = data_warnings(cells, storage)
    assert line.startswith("data of set: trials were trained on different data")
    assert f"{now} (1)" in line
    (line,) = data_warnings(cells, storage, tmp_path)
    assert line.startswith("data of set: finished trials were trained on other data (")
    assert f"({'a' * 16} (1)) than {tmp_path} has now ({now})" in line
    finish(cells[0], "a" * 16)
    assert data_warnings(cells, storage) == []
    assert len(data_warnings(cells, storage, tmp_path)) == 1


FILE = """
from quantlab.datasets.image_folder import ImageFolder
from sweeps.spec import Block, SweepSpec
from tests.quantlab.recipes import small_recipe

BASE = small_recipe(dataset=ImageFolder(folder="set", validation_images=2))
SWEEP = SweepSpec(name="own", base=BASE, blocks=(Block("FP"),), seeds=(0,))
"""


def test_plan_warns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_images(tmp_path / "set", {"train": 4, "test": 2})
    file = tmp_path / "own.py"
    file.write_text(FILE)
    (cell,) = load_sweep(str(file)).cells
    folder = Storage(tmp_path).trial(cell.fingerprint)
    folder.path.mkdir(parents=True)
    folder.result.write(ended(data_content="b" * 16))
    command = ["plan", str(file), "--storage", str(tmp_path), "--data", str(tmp_path)]
    assert main(command) == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("sweeps: warning: data of set: finished trials")
