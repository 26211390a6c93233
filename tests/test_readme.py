"""The README's Python is run as it stands."""

import re
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest

from quantlab.export import save
from quantlab.quantization_sets import TERNARY
from quantlab.scales.contract import require_scale_contract
from sweeps.loading import load_sweep
from sweeps.planning.preflight import check_without_data

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


def test_the_readmes_code_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep, core, use = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    Path("tanh.py").write_text(sweep, encoding="utf-8")
    assert len(load_sweep("tanh.py").cells) == 3 * 3 * 3
    Path("core.py").write_text(core, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    run = runpy.run_path("core.py")["run"]
    del sys.modules["tanh"]
    *epochs, accuracy = capsys.readouterr().out.splitlines()
    save("network.safetensors", run.recipe, run.final_weights(), num_classes=10)
    Path("use.py").write_text(use, encoding="utf-8")
    assert len([line for line in use.splitlines() if line]) <= 10
    monkeypatch.setattr(sys, "argv", ["use.py", "network.safetensors"])
    runpy.run_path("use.py")
    assert re.fullmatch(r"predicted \d, labelled \d\n", capsys.readouterr().out)
    assert len(epochs) == 2 + 5
    assert 0 < float(accuracy) <= 1


def test_the_sweep_of_mirror_descent_is_one(tmp_path: Path) -> None:
    text = (Path(__file__).parent.parent / "docs" / "mirror_descent.md").read_text(encoding="utf-8")
    (sweep,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    file = tmp_path / "mirror.py"
    file.write_text(sweep, encoding="utf-8")
    cells = load_sweep(str(file)).cells
    assert {cell.block for cell in cells} == {"MD-tanh-s", "BC", "PC"}
    assert len(cells) == 3 * 3 * 3
    check_without_data(cells)


def test_the_scales_of_the_docs_keep_the_contract() -> None:
    text = (Path(__file__).parent.parent / "docs" / "scales.md").read_text(encoding="utf-8")
    scope: dict[str, Any] = {}
    for code in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        exec(code, scope)
    require_scale_contract(scope["RootMeanSquare"](), TERNARY)


def test_the_study_of_the_docs_is_one() -> None:
    text = (Path(__file__).parent.parent / "docs" / "search.md").read_text(encoding="utf-8")
    (study,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    scope: dict[str, Any] = {}
    exec(study, scope)
    scope["STUDY"].require_valid()
