"""The README's Python is run as it stands."""

import re
import runpy
import sys
from pathlib import Path

import pytest

from quantlab.export import save
from sweeps.loading import load_sweep

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
