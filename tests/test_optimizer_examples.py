"""The training scripts of examples/: plain, with ProxOptimizer, and with torchao's optimizer."""

import difflib
import re
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from quantlab.export import load, read

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"
SCRIPTS = ("gpt_training", "image_training")
TEXT = ROOT / "quantlab" / "optim" / "latent_optimizer.py"
SMALL = {
    "gpt_training": [
        *(str(TEXT), "--steps", "30", "--layers", "1", "--width", "32", "--context", "32"),
    ],
    "image_training": ["--epochs", "2", "--width", "8"],
}


def changes(script: str) -> list[str]:
    """The lines of the plain script that the one with ProxOptimizer does not have, and its own."""
    texts = [
        (EXAMPLES / f"{script}{suffix}.py").read_text(encoding="utf-8").splitlines()
        for suffix in ("", "_quantlab")
    ]
    lines = [*difflib.unified_diff(*texts, lineterm="", n=0)][2:]
    return [line for line in lines if not line.startswith("@@")]


@pytest.mark.parametrize("script", SCRIPTS)
def test_ten_lines_quantize_a_script_and_the_docs_show_them(script: str) -> None:
    own = changes(script)
    assert 0 < len([line for line in own if line.startswith("+") and line != "+"]) <= 10
    assert len([line for line in own if line.startswith("-")]) <= 10
    docs = (ROOT / "docs" / "optimizer.md").read_text(encoding="utf-8")
    block = "```diff\n" + "\n".join(own) + "\n```"
    assert block in docs


def run(
    script: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> tuple[dict[str, Any], list[float]]:
    """Run a script, and return what it defines with the numbers that it prints."""
    base = re.sub("_(quantlab|parq)$", "", script)
    monkeypatch.setattr(sys, "argv", [script, *SMALL[base], "--out", str(tmp_path / "out")])
    scope = runpy.run_path(str(EXAMPLES / f"{script}.py"), run_name="__main__")
    printed = capsys.readouterr().out
    numbers = re.findall(r"(?:accuracy|step \d+:) (\d+\.\d+)", printed)
    assert len(numbers) == len(printed.splitlines())
    return scope, [float(number) for number in numbers]


def most_levels(weights: torch.Tensor) -> int:
    """The number of different values in the row that has most of them."""
    return max(len(row.unique()) for row in weights.flatten(1))


def test_the_gpt_learns_plain_and_quantized(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for script in ("gpt_training", "gpt_training_quantlab"):
        scope, bits = run(script, tmp_path, monkeypatch, capsys)
        assert bits[0] == pytest.approx(8.0, abs=0.1)
        assert bits[-1] < 6
    network = load(tmp_path / "out", into=scope["GPT"](1, 1, 32, 32))
    matrices = [
        name for name, of in network.named_parameters() if ".weight" in name and of.dim() == 2
    ]
    quantized = [name for name in matrices if name.startswith("blocks")]
    assert set(read(tmp_path / "out").coded) == set(quantized)
    assert {most_levels(network.get_parameter(name)) for name in quantized} == {3}


def test_the_image_network_learns_plain_and_quantized(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for script in ("image_training", "image_training_quantlab"):
        _, accuracies = run(script, tmp_path, monkeypatch, capsys)
        assert len(accuracies) == 3
        assert accuracies[-1] > 0.2
    weights = torch.load(tmp_path / "out")
    assert {most_levels(weights[f"{layer}.weight"]) for layer in ("conv0", "conv1", "head")} == {2}
    assert weights["norm0.running_mean"].abs().sum() > 0


@pytest.mark.parametrize("script", SCRIPTS)
def test_the_same_loop_runs_with_torchaos_optimizer(
    script: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("torchao.prototype.parq")
    _, numbers = run(f"{script}_parq", tmp_path, monkeypatch, capsys)
    assert numbers[0] > numbers[-1] if script == "gpt_training" else numbers[-1] > 0.2


def test_the_docs_code_runs_and_its_tests_exist(capsys: pytest.CaptureFixture[str]) -> None:
    docs = (ROOT / "docs" / "optimizer.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", docs, re.DOTALL)
    scope: dict[str, Any] = {}
    exec(code.replace("range(300)", "range(3)"), scope)
    printed = re.fullmatch(
        r"tensor\(\[-(\S+), 0\S+, (\S+)\]\)\n", capsys.readouterr().out.replace("  ", " ")
    )
    assert printed is not None
    assert printed[1] == printed[2]
    assert most_levels(scope["model"][2].weight) == 3
    folder = ROOT / "tests" / "quantlab" / "optim" / "standalone"
    tests = "".join(file.read_text(encoding="utf-8") for file in folder.glob("test_*.py"))
    named = re.findall(r"`(test_\w+?)(?:_\.\.\.|\.py)?`", docs)
    assert len(named) >= 18
    for name in named:
        assert f"def {name}" in tests or (folder / f"{name}.py").exists(), name
