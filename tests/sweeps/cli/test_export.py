"""The command `sweeps export`, on trained trials and on studies."""

import json
from pathlib import Path

import pytest
import torch

from quantlab.export import load
from quantlab.training.evaluation import accuracy
from sweeps.loading import load_sweep
from sweeps.searching.results import load as load_study
from sweeps.searching.results import trials_of, winner
from sweeps.searching.study_queue import StudyQueue
from sweeps.storage import Storage, TrialState
from tests.conftest import Command, Ran
from tests.sweeps.cli.test_command import assert_one_line
from tests.sweeps.made_studies import run, score, spec
from tests.sweeps.trial_files import ended


@pytest.mark.slow
def test_the_best_trial_is_exported_as_it_was_trained(
    tiny: Ran, quick_command: Command, tmp_path: Path
) -> None:
    out = tmp_path / "new" / "exported"
    done = quick_command(tiny.folder, "export", "tiny.py", "--best", "--out", str(out))
    assert (done.returncode, done.stderr) == (0, "")
    (file,) = out.iterdir()
    fingerprint = file.stem
    results = {
        folder.name: json.loads((folder / "result.json").read_text())
        for folder in tiny.folder.glob("runs/trials/*")
        if json.loads((folder / "recipe.json").read_text())["recipe"]["quantization"]
    }
    assert len(results) == 4
    result = results[fingerprint]
    assert result["validation_accuracy"] == max(r["validation_accuracy"] for r in results.values())
    assert result["file_bytes"] == file.stat().st_size
    assert 1 < result["code_bits"] < 2
    weights = torch.load(tiny.folder / "runs/trials" / fingerprint / "weights.pt")
    full = sum(value.nbytes for value in weights.values())
    assert result["compression"] == full / file.stat().st_size
    first, second = done.stdout.splitlines()
    assert first.endswith(f"({fingerprint})")
    assert second == (
        f"{file}: {file.stat().st_size:,} bytes, {result['compression']:.1f} times smaller than "
        "float32"
    )
    network = load(file)
    assert all(torch.equal(weights[name], value) for name, value in network.state_dict().items())
    cells = load_sweep(str(tiny.folder / "tiny.py")).cells
    (recipe,) = [cell.recipe for cell in cells if cell.fingerprint == fingerprint]
    images = recipe.dataset.load(tmp_path).test
    assert accuracy(network, images, recipe.dataset) == result["test_accuracy"]
    pytest.importorskip("onnxscript")
    onnx = ("--format", "onnx", "--out", str(tmp_path))
    done = quick_command(tiny.folder, "export", "tiny.py", "--best", *onnx)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"{tmp_path / fingerprint}.onnx: " in done.stdout
    size = (tmp_path / f"{fingerprint}.onnx").stat().st_size
    assert f"{size:,} bytes, {full / size:.1f} times smaller than float32" in done.stdout


@pytest.mark.slow
def test_the_first_digits_of_a_fingerprint_are_enough(
    tiny: Ran, quick_command: Command, tmp_path: Path
) -> None:
    fingerprint = next(tiny.folder.glob("runs/trials/*")).name
    for folder in ("one", "two"):
        done = quick_command(
            tiny.folder,
            *("export", "tiny.py", "--trial", fingerprint[:6], "--out", str(tmp_path / folder)),
        )
        assert done.returncode == 0
    one, two = ((tmp_path / folder / f"{fingerprint}.safetensors") for folder in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()


def test_trials_that_are_not_there_are_one_line(quick_command: Command, tmp_path: Path) -> None:
    def refuses(message: str, *arguments: str) -> None:
        done = quick_command(tmp_path, "export", "digits", *arguments)
        assert_one_line(done, message, tmp_path / "runs")
        assert not (tmp_path / "out").exists()

    out = ("--out", "out")
    refuses("one of the arguments --trial --best is required", *out)
    refuses("not allowed with argument", "--best", "--trial", "0", *out)
    refuses("the following arguments are required: --out", "--best")
    refuses("--best: no quantized trial has a validation accuracy; run the sweep", "--best", *out)
    refuses("--trial x: no trial has a fingerprint with these first digits", "--trial", "x", *out)
    refuses("trials have a fingerprint with these first digits, such as", "--trial", "0", *out)
    cell = load_sweep("digits").cells[0]
    refuses(
        f"trial {cell.fingerprint} ({cell.name}): is WAITING; must be COMPLETE",
        *("--trial", cell.fingerprint),
        *out,
    )
    refuses("--study-storage: applies to studies", "--best", "--study-storage", "sqlite://", *out)
    folder = Storage(tmp_path / "runs").trial(cell.fingerprint)
    folder.make()
    folder.result.write(ended(TrialState.DIVERGED))
    done = quick_command(tmp_path, "export", "digits", "--trial", cell.fingerprint, *out)
    assert f"({cell.name}): is DIVERGED; must be COMPLETE" in done.stderr
    folder.result.write(ended())
    done = quick_command(tmp_path, "export", "digits", "--trial", cell.fingerprint, *out)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert f"its network {folder.weights} is missing" in done.stderr


def test_the_best_trial_of_a_study_is_of_its_winner(quick_command: Command, tmp_path: Path) -> None:
    (tmp_path / "made.py").write_text(
        "from tests.sweeps.made_studies import spec\nSTUDY = spec(known={'PC': {'rho0': 0.1}})\n"
    )
    made, storage = spec(known={"PC": {"rho0": 0.1}}), Storage(tmp_path / "runs")
    run(StudyQueue(made, storage), storage)
    study = load_study(made, storage, None)
    best = winner(made, study).number
    (cells,) = [cells for trial, cells in trials_of(made, study, storage) if trial.number == best]
    chosen = max(cells, key=score)
    assert chosen.recipe.seed == 2
    for which in (("--best",), ("--trial", chosen.fingerprint)):
        done = quick_command(tmp_path, "export", "made.py", *which, "--out", "out")
        assert f"trial {chosen.fingerprint} ({chosen.name}): its network" in done.stderr
