"""Data is brought to a machine once, whatever form it lies in."""

import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from quantlab import ConfigurationError, Distillation, Recipe, fingerprint
from quantlab.datasets.digits import Digits
from quantlab.datasets.image_folder import ImageFolder
from quantlab.initial_weights import TrialWeights, WeightsFile
from sweeps.worker.data import fetching, staging
from sweeps.worker.data.staging import stage
from tests.forked import PROCESSES
from tests.quantlab.image_trees import write_images
from tests.quantlab.recipes import small_recipe

RECIPE = replace(
    small_recipe(),
    dataset=ImageFolder(folder="pictures", validation_images=2),
    initial_weights=WeightsFile("pretrained/net.th"),
)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder with pictures and weights."""
    root = tmp_path / "data"
    write_images(root / "pictures", {"train": 3, "test": 3})
    (root / "pretrained").mkdir()
    (root / "pretrained" / "net.th").write_bytes(b"weights")
    return root


def stage_in_a_process(recipe: Recipe, data_dir: Path, scratch: Path) -> Path:
    return stage(recipe, data_dir, scratch)


def test_it_is_read_where_it_lies_unless_there_is_a_scratch_folder(
    data: Path, tmp_path: Path
) -> None:
    assert stage(RECIPE, data) == data
    scratch = tmp_path / "scratch"
    copy = stage(RECIPE, data, scratch)
    assert copy.is_relative_to(scratch)
    RECIPE.dataset.check(copy)
    assert (copy / "pretrained" / "net.th").read_bytes() == b"weights"


def test_the_weights_of_a_teacher_are_staged_too(data: Path, tmp_path: Path) -> None:
    teacher = Distillation(teacher=RECIPE.initial_weights or WeightsFile("none"))
    for recipe in (
        replace(RECIPE, initial_weights=None, distillation=teacher),
        replace(RECIPE, distillation=Distillation(teacher=TrialWeights("0" * 16))),
    ):
        scratch = tmp_path / fingerprint(recipe)
        copy = stage(recipe, data, scratch)
        assert (copy / "pretrained" / "net.th").read_bytes() == b"weights"


@pytest.mark.parametrize("form", ["zip", "gztar"])
@pytest.mark.parametrize("inside", ["the folder", "its content"])
def test_archives_are_unpacked(form: str, inside: str, data: Path, tmp_path: Path) -> None:
    pictures = data / "pictures"
    root, base = (data, "pictures") if inside == "the folder" else (pictures, ".")
    shutil.make_archive(str(tmp_path / "packed"), form, root, base)
    (packed,) = tmp_path.glob("packed.*")
    shutil.rmtree(pictures)
    packed.rename(data / packed.name.replace("packed", "pictures"))
    staging.check(RECIPE.dataset, data)
    RECIPE.dataset.check(stage(RECIPE, data, tmp_path / "scratch"))
    assert not pictures.exists()
    assert stage(RECIPE, data) == data  # without a scratch folder, beside the archive
    assert pictures.is_dir()


def test_a_damaged_archive_is_named_and_leaves_nothing(data: Path) -> None:
    shutil.rmtree(data / "pictures")
    (data / "pictures.tar.gz").write_bytes(b"not an archive")
    with pytest.raises(ConfigurationError, match=r"pictures\.tar\.gz: cannot be unpacked"):
        stage(RECIPE, data)
    assert not (data / "pictures").exists()


def test_an_archive_of_something_else_leaves_nothing(data: Path) -> None:
    """Otherwise, what it holds would stay when the archive has been replaced."""
    right = data / "right"
    (data / "pictures").rename(right)
    shutil.make_archive(str(data / "pictures"), "zip", data / "pretrained", ".")
    with pytest.raises(ConfigurationError, match="'pictures'"):
        stage(RECIPE, data)
    assert not (data / "pictures").exists()
    shutil.make_archive(str(data / "pictures"), "zip", right, ".")
    stage(RECIPE, data)
    RECIPE.dataset.check(data)


@pytest.mark.parametrize("beside", ["nothing", "a folder of the Finder"])
def test_the_archive_of_a_file_is_unpacked_to_a_file(
    beside: str, data: Path, tmp_path: Path
) -> None:
    with zipfile.ZipFile(data / "net.th.zip", "w") as packed:
        packed.writestr("net.th", "packed weights")
        if beside != "nothing":
            packed.writestr("__MACOSX/._net.th", "")
    recipe = replace(RECIPE, initial_weights=WeightsFile("net.th"))
    for scratch in (tmp_path / "scratch", None):
        assert (stage(recipe, data, scratch) / "net.th").read_text() == "packed weights"


def test_half_an_archive_is_named(data: Path) -> None:
    shutil.make_archive(str(data / "pictures"), "gztar", data, "pictures")
    shutil.rmtree(data / "pictures")
    archive = data / "pictures.tar.gz"
    archive.write_bytes(archive.read_bytes()[:3000])
    with pytest.raises(ConfigurationError, match=r"pictures\.tar\.gz: cannot be unpacked"):
        stage(RECIPE, data)
    assert not (data / "pictures").exists()


def test_what_is_there_is_checked_before_any_trial(data: Path) -> None:
    too_many = replace(RECIPE.dataset, validation_images=50)
    with pytest.raises(ConfigurationError, match="must be at most 9"):
        staging.check(too_many, data)
    with pytest.raises(ConfigurationError, match="must be at most 1437"):
        staging.check(Digits(train_images=5000), data)


def test_data_that_is_nowhere_is_named(data: Path, tmp_path: Path) -> None:
    shutil.rmtree(data / "pictures")
    with pytest.raises(ConfigurationError, match=r"'pictures': the folder .* does not exist"):
        staging.check(RECIPE.dataset, data)
    with pytest.raises(ConfigurationError, match=r"'pictures': the folder .* does not exist"):
        stage(RECIPE, data, tmp_path / "scratch")


@pytest.mark.slow
def test_processes_of_a_machine_wait_for_the_one_that_brings_it(data: Path, tmp_path: Path) -> None:
    """The copy is made once: its files are those of the first process, for all."""
    scratch = tmp_path / "scratch"
    with PROCESSES.Pool(4) as pool:
        found = pool.starmap(stage_in_a_process, [(RECIPE, data, scratch)] * 8)
    assert len(set(found)) == 1
    assert not list(scratch.rglob("*unfinished"))
    RECIPE.dataset.check(found[0])


def test_a_read_only_data_folder_will_do(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As root, the system's own answer cannot be had."""
    monkeypatch.setattr(fetching.os, "access", lambda path, mode: False)
    assert stage(RECIPE, data) == data
    assert not (data / ".staging.lock").exists()
