"""Trials that are trained again: what is recorded for it, and what the command finds."""

import hashlib
import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from quantlab.execution import parse_execution
from sweeps.loading import load_sweep
from sweeps.reproduction.comparison import compare
from sweeps.running.users_modules import sources
from sweeps.storage import Storage, TrialFolder, source_archive
from sweeps.storage.records import Running
from sweeps.worker.trial import run_trial, train_trials
from tests.conftest import Command, Ran
from tests.sweeps.sweep_files import STUDY, TINY, WITH_CHILD, changed

pytestmark = pytest.mark.slow


def test_a_trial_of_a_sweep_is_reproduced_to_the_last_bit(
    tiny_copy: Path, tiny: Ran, quick_command: Command
) -> None:
    """The recorded command tells which sweep it is of."""
    folders = [TrialFolder(path) for path in sorted((tiny_copy / "runs" / "trials").iterdir())]
    for folder in folders:
        result = folder.result.read()
        assert result is not None
        assert result.command == "sweeps run tiny.py --concurrency 1"
        assert result.folder == str(tiny.folder)
        assert result.processor
        assert not folder.running.exists()
    first = folders[0]
    done = quick_command(tiny_copy, "reproduce", first.fingerprint[:8])
    assert done.returncode == 0, done.stderr
    weights, history, result_line, where = done.stdout.splitlines()
    assert weights.startswith("weights  bit-identical (")
    assert history.startswith("history  bit-identical (")
    assert result_line == "result   bit-identical"
    beside = Storage(tiny_copy / "runs" / "reproduced" / first.fingerprint)
    again = beside.trial(first.fingerprint)
    assert where == f"the new training is in {again.path}"
    found = again.result.read()
    assert found is not None
    assert found.command == f"sweeps reproduce {first.fingerprint[:8]}"
    before = again.result.path.read_bytes()
    told = quick_command(tiny_copy, "reproduce", first.fingerprint, "--json")
    assert told.returncode == 0
    assert again.result.path.read_bytes() == before, "it is compared, and not trained again"
    assert "it was trained again before; remove " in told.stderr
    content = json.loads(told.stdout)
    assert content["identical"] is True
    assert content["command"] == "sweeps run tiny.py --concurrency 1"
    assert content["weights"] == content["history"] == content["result"] == ""


@pytest.fixture
def packed(tmp_path: Path) -> list[TrialFolder]:
    """Two trials that were trained as one pack, by a file that imports another one."""
    text = changed(TINY, "import torch\n", "import torch\n\nimport numbers_of_mine\n")
    text = changed(text, "(1 + sharpness) * latent", "(numbers_of_mine.ONE + sharpness) * latent")
    (tmp_path / "tiny.py").write_text(text)
    (tmp_path / "numbers_of_mine.py").write_text("ONE = 1\n")
    cells = [cell for cell in load_sweep(str(tmp_path / "tiny.py")).cells if cell.block == "MD"][:2]
    storage = Storage(tmp_path / "runs")
    storage.require_writable()
    running = Running(
        command="sweeps run tiny.py --pack 2",
        folder=str(tmp_path),
        sources=source_archive.store(storage.root, sources()),
    )
    trials = [(cell.recipe, storage.trial(cell.fingerprint)) for cell in cells]
    for _ in train_trials(trials, data_dir=tmp_path / "data", running=running):
        pass
    return [folder for _, folder in trials]


def test_a_pack_is_reproduced_from_the_code_that_is_kept_with_its_trials(
    packed: list[TrialFolder], tmp_path: Path, quick_command: Command
) -> None:
    """The user's files have been changed since."""
    first, second = packed
    result = first.result.read()
    assert result is not None
    assert result.pack_members == (first.fingerprint, second.fingerprint)
    assert first.sources.samefile(second.sources)
    (tmp_path / "numbers_of_mine.py").write_text("ONE = 2\n")
    done = quick_command(tmp_path, "reproduce", second.fingerprint)
    assert done.returncode == 0, done.stdout + done.stderr
    again = Storage(tmp_path / "runs" / "reproduced" / second.fingerprint)
    pair = [again.trial(folder.fingerprint).result.read() for folder in packed]
    assert [one is not None and one.pack for one in pair] == [2, 2]


@pytest.fixture
def trained(tmp_path: Path) -> TrialFolder:
    """A trial of the sweep in a folder, of which an older version has not recorded the command."""
    (tmp_path / "tiny.py").write_text(TINY)
    cell = load_sweep(str(tmp_path / "tiny.py")).cells[0]
    folder = Storage(tmp_path / "runs").trial(cell.fingerprint)
    run_trial(cell.recipe, folder, data_dir=tmp_path / "data")
    return folder


def test_what_differs_is_said_with_its_possible_causes(
    trained: TrialFolder, tmp_path: Path, quick_command: Command
) -> None:
    """A reproduction that was changed by hand."""
    again = Storage(tmp_path / "again").trial(trained.fingerprint)
    shutil.copytree(trained.path, again.path)
    state = torch.load(again.weights, weights_only=True)
    next(iter(state.values())).view(-1)[0] += 0.5
    torch.save(state, again.weights)
    result, second = again.result.read(), again.read_history()[1]
    assert result is not None
    again.rewind_history(1)
    again.append_history(replace(second, train_loss=7.0))
    versions = json.loads(result.packages)
    other = replace(
        result,
        weights_sha256=hashlib.sha256(again.weights.read_bytes()).hexdigest(),
        test={**result.test, "accuracy": 0.125},
        processor="Z80, 8 bits",
        packages=json.dumps(versions | {"torch": "0.1"}),
        time=0.0,
    )
    again.result.write(other)
    done = quick_command(
        tmp_path, "reproduce", trained.fingerprint, "tiny.py", "--out", "again", "--data", "data"
    )
    assert done.returncode == 1, done.stderr
    assert done.stdout.splitlines()[:-1] == [
        f"weights  1 of {len(state)} tensors differ, by up to 0.5",
        f"history  differs from epoch 2 on: train_loss was {second.train_loss}, is 7.0",
        f"result   test_accuracy was {result.test['accuracy']}, is 0.125",
        f"processor was {result.processor}, is Z80, 8 bits",
        f"torch was {versions['torch']}, is 0.1",
    ]


def test_a_trial_of_a_job_or_of_an_older_release_differs_in_nothing_that_it_has(
    tiny: Ran, tmp_path: Path
) -> None:
    """The original was trained in a job of SLURM, and without measures that came later."""
    name = next(iter(sorted((tiny.folder / "runs" / "trials").iterdir()))).name
    again = Storage(tiny.folder / "runs").trial(name)
    older = Storage(tmp_path).trial(name)
    shutil.copytree(again.path, older.path)
    result, epochs = again.result.read(), again.read_history()
    assert result is not None
    lacking = {
        "bits": None,
        "file_bytes": None,
        "dimensions": "",
        "processor": "",
        "data_content": "",
        "test": {"accuracy": result.test["accuracy"]},
    }
    older.result.write(replace(result, job="SLURM job 77", time=0.0, **lacking))
    older.history.unlink()
    for epoch in epochs:
        older.append_history(
            replace(
                epoch,
                weight_histogram=None,
                sharpness_after=math.nan,
                latent_distance=math.nan,
                flip_rate=math.nan,
                data_content="",
            )
        )
    found = compare(older, again)
    assert (found.weights, found.history, found.result) == ("", "", "")
    other = {"accuracy": 0.125, "loss": 3.0}
    older.result.write(replace(result, test=other, last_finite_loss=None, **{"bits": None}))
    again_with_loss = Storage(tmp_path / "again").trial(name)
    shutil.copytree(again.path, again_with_loss.path)
    again_with_loss.result.write(replace(result, last_finite_loss=2.0))
    assert compare(older, again_with_loss).result == (
        f"last_finite_loss was None, is 2.0; test_accuracy was 0.125, "
        f"is {result.test['accuracy']}; test_loss was 3.0, is {result.test.get('loss')}"
    )


def test_a_trial_and_the_one_it_starts_from_are_reproduced_in_one_folder(
    tiny_copy: Path, quick_command: Command
) -> None:
    """Each of them is trained, and the child starts from the original network."""
    (tiny_copy / "tiny.py").write_text(WITH_CHILD)
    cells = load_sweep(str(tiny_copy / "tiny.py")).cells
    cell = next(cell for cell in cells if cell.parents)
    (name,) = cell.parents
    storage = Storage(tiny_copy / "runs")
    parent, child = storage.trial(name), storage.trial(cell.fingerprint)
    for _ in train_trials([(cell.recipe, child)], data_dir=tiny_copy / "data"):
        pass
    out = Storage(tiny_copy / "out")
    reproduced = out.trial(name)
    out.require_writable()
    reproduced.path.symlink_to(parent.path)  # as earlier releases made them
    options = ("tiny.py", "--out", "out", "--data", "data")
    done = quick_command(tiny_copy, "reproduce", name, *options)
    assert done.returncode == 0, done.stderr
    assert "it was trained again before" not in done.stderr
    assert not reproduced.path.is_symlink()
    torch.save({}, reproduced.weights)
    done = quick_command(tiny_copy, "reproduce", cell.fingerprint, *options)
    assert done.returncode == 0, done.stdout + done.stderr
    done = quick_command(tiny_copy, "reproduce", name, "tiny.py", "--out", "runs")
    assert done.returncode == 2
    assert f"runs: is the storage of trial {name}; give another folder" in done.stderr


def test_what_was_removed_of_the_original_is_said_to_be_missing(tiny: Ran, tmp_path: Path) -> None:
    name = next(iter(sorted((tiny.folder / "runs" / "trials").iterdir()))).name
    again, original = Storage(tiny.folder / "runs").trial(name), Storage(tmp_path).trial(name)
    shutil.copytree(again.path, original.path)
    original.weights.unlink()
    found = compare(original, again)
    assert found.weights.startswith("the original's network is missing; that of the new training")
    assert not found.is_identical
    result = original.result.read()
    assert result is not None
    original.result.write(replace(result, weights_sha256=""))
    assert compare(original, again).weights == (
        "the original's network is missing, so that they cannot be compared"
    )
    first, *_ = original.history.read_text().splitlines(keepends=True)
    original.history.write_text(original.history.read_text().removeprefix(first))
    assert compare(original, again).history == (
        f"1 of {result.epochs} epochs of the original are missing, so that they cannot be compared"
    )


@pytest.mark.parametrize(
    ("text", "command", "given"),
    [
        (STUDY, "sweeps run tiny.py", ()),  # which defines a study, too
        (WITH_CHILD, "sweeps run tiny.py --only block=child", ()),  # which needs its network
        (TINY, "sweeps reproduce 0123", ("tiny.py",)),
        (TINY, "sweeps search gone.py", ("tiny.py",)),
    ],
)
def test_the_sweep_of_a_trial_is_found(
    tiny_copy: Path, quick_command: Command, text: str, command: str, given: tuple[str, ...]
) -> None:
    """By the command that trained it, or by what is given. It is not trained again here."""
    (tiny_copy / "tiny.py").write_text(text)
    cells = load_sweep(str(tiny_copy / "tiny.py")).cells
    name = next(cell.fingerprint for cell in cells if cell.name == "MD rho0=0.5 seed=0")
    original = Storage(tiny_copy / "runs").trial(name)
    result = original.result.read()
    assert result is not None
    original.result.write(replace(result, command=command, folder=str(tiny_copy)))
    shutil.copytree(original.path, Storage(tiny_copy / "again").trial(name).path)
    done = quick_command(tiny_copy, "reproduce", name, *given, "--out", "again")
    assert done.returncode == 0, done.stderr
    assert "MD rho0=0.5 seed=0" in done.stderr
    original.sources.unlink()
    original.result.write(replace(result, command="sweeps reproduce 0123"))
    done = quick_command(tiny_copy, "reproduce", name, "--out", "again")
    assert "`sweeps reproduce 0123` trained it, which does not tell its sweep; g" in done.stderr


def test_what_cannot_be_reproduced_is_one_line(
    trained: TrialFolder, tmp_path: Path, quick_command: Command
) -> None:
    def refused(*arguments: str) -> str:
        done = quick_command(tmp_path, "reproduce", *arguments)
        assert (done.returncode, done.stdout) == (2, "")
        return done.stderr.splitlines()[-1]

    name = trained.fingerprint
    assert "TRIAL 0000: no trial has a fingerprint with these" in refused("0000")
    assert "an older version trained it and did not record its command; give" in refused(name)
    result = trained.result.read()
    assert result is not None
    trained.result.write(replace(result, device="cuda (NVIDIA H200)"))
    assert "was trained on cuda (NVIDIA H200), but this machine has no GPU" in refused(
        name, "tiny.py"
    )
    together = str(parse_execution("replicas=2"))
    trained.result.write(replace(result, execution=together, command="sweeps run tiny.py"))
    assert "2 processes trained it together, which this command does not" in refused(
        name, "tiny.py"
    )
    trained.result.write(replace(result, command="sweeps run gone.py", folder=str(tmp_path)))
    assert "gone.py cannot be loaded (sweep 'gone.py': the file does not exist); use" in refused(
        name
    )
    trained.result.path.unlink()
    assert f"trial {name}: is INTERRUPTED; must be COMPLETE or DIVERGED" in refused(name)
