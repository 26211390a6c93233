"""LaTeX: what is escaped, and that all of it compiles."""

import os
import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest

from analysis.report import write_report
from analysis.report.latex import latex_table, latex_text
from analysis.schema import Measurements
from analysis.tables import Table
from tests.analysis.frames import EXAMPLE, trials

needs_latex = pytest.mark.skipif(
    shutil.which("pdflatex") is None and "QUANTLAB_REQUIRE_LATEX" not in os.environ,
    reason="pdflatex is not installed",
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("50 % of a_b & c", r"50 \% of a\_b \& c"),
        ("**97.04 (0.32)** at 1e-3", r"\textbf{97.04 (0.32)} at 1e-3"),
        ("ρ0, ρ and ϱ", r"$\rho_0$, $\rho$ and $\varrho$"),
        ("< 0.001, -0.5", r"$<$ 0.001, $-$0.5"),
        ("{-1, 1}", r"\{$-$1, 1\}"),
        ("é 漢", "é [U+6F22]"),
    ],
)
def test_text(text: str, expected: str) -> None:
    assert latex_text(text) == expected


def test_tables_have_the_rules_of_booktabs() -> None:
    body = pd.DataFrame({"set": ["binary"], "ρ0": ["1e-3"], "why": ["long " * 12]})
    text = latex_table(Table("name", "Section", "Caption", body))
    for rule in (r"\toprule", r"\midrule", r"\bottomrule", r"\label{tab:name}"):
        assert rule in text
    assert r"\begin{tabular}{lrp{" in text


@needs_latex
@pytest.mark.slow
def test_a_report_compiles(tmp_path: Path) -> None:
    odd = "my_method & 100% {#1} ~ ^ \\ $x$ ü 漢"
    frame = trials([*EXAMPLE, (odd, "binary", 0.1, 0, 0.9)])
    write_report(
        Measurements(frame), tmp_path, title="A_b", facts={}, formats=["latex"], paper="proxconnect"
    )
    done = subprocess.run(
        ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", "report.tex"],
        cwd=tmp_path / "latex",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:]
    assert (tmp_path / "latex" / "report.pdf").stat().st_size > 20_000
    assert "undefined" not in done.stdout.lower()
