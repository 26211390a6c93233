"""LaTeX: what is escaped, and that all of it compiles."""

import os
import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest

from analysis.report import write_report
from analysis.report.latex import latex_document, latex_table, latex_text
from analysis.report.latex_columns import LatexOptions, UnknownColumnError, with_columns
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
        ("**97.04 (0.32)** at 1e-3", r"\textbf{97.04 (0.32)} at $10^{-3}$"),
        ("5e-3, rho0=2.5e-10 (1e6)", r"$5\cdot 10^{-3}$, rho0=$2.5\cdot 10^{-10}$ ($10^{6}$)"),
        ("v1e-3 1e-3b 1e-3.2 0.1e", "v1e-3 1e-3b 1e-3.2 0.1e"),
        ("ρ0, ρ and ϱ", r"$\rho_0$, $\rho$ and $\varrho$"),
        ("< 0.001, -0.5", r"$<$ 0.001, $-$0.5"),
        ("{-1, 1}", r"\{$-$1, 1\}"),
        ("é 漢", "é [U+6F22]"),
        ("Łódź «þ» ęħ", "Łódź [U+00AB][U+00FE][U+00BB] [U+0119][U+0127]"),
    ],
)
def test_text(text: str, expected: str) -> None:
    assert latex_text(text) == expected


def test_tables_have_the_rules_of_booktabs_and_a_label_of_their_sweep() -> None:
    body = pd.DataFrame({"set": ["binary"], "ρ0": ["1e-3"], "why": ["long " * 12]})
    text = latex_table(Table("name", "Section", "Distance of w*", body), "my_sweep")
    for rule in (r"\toprule", r"\midrule", r"\bottomrule", r"\label{tab:my_sweep:name}"):
        assert rule in text
    assert r"\begin{tabular}{lrp{" in text
    assert r"\caption{Distance of $w^*$}" in text
    assert text.startswith("% Packages: booktabs, graphicx\n")
    words = {"a": ["x"], "verdict": ["no ρ0"], "p": ["< 0.001"], "test": ["**97.04**"]}
    assert r"\begin{tabular}{llrr}" in latex_table(Table("n", "", "", pd.DataFrame(words)))


def test_wide_tables_span_both_columns_of_a_paper() -> None:
    narrow = Table("name", "", "", pd.DataFrame({"set": ["binary"], "PC": ["97.04 (0.32)"]}))
    wide = Table("name", "", "", pd.DataFrame({f"method {i}": ["97.04 (0.32)"] for i in range(6)}))
    assert r"\begin{table}[htbp]" in latex_table(narrow)
    assert r"\begin{table*}[htbp]" in latex_table(wide)


TABLES = [
    Table(
        "first",
        "",
        "A caption.",
        pd.DataFrame({"model": ["A", "A"], "ρ0": ["1", "2"], "test %": ["3", "4"], "no": ["", ""]}),
    ),
    Table("second", "", "Another.", pd.DataFrame({"model": ["A", "B"], "n": ["1", "1"]})),
]


def test_tables_have_the_chosen_columns() -> None:
    first, second = with_columns(TABLES, {"first": ("test", "rho0", "model")})
    assert list(first.body.columns) == ["test %", "ρ0", "model"]
    assert first.caption == "A caption."
    assert list(second.body.columns) == ["model", "n"]


def test_without_a_choice_columns_that_say_nothing_are_left_out() -> None:
    first, second = with_columns(TABLES, {})
    assert list(first.body.columns) == ["ρ0", "test %"]
    assert first.caption == "A caption. Network: A."
    assert list(second.body.columns) == ["model", "n"]


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ({"third": ("n",)}, "there is no table 'third'; the tables are first, second"),
        ({"second": ("n", "p")}, "table 'second' has no column 'p'; its columns are model, n"),
    ],
)
def test_unknown_columns_are_told_what_there_is(columns: dict[str, list[str]], says: str) -> None:
    with pytest.raises(UnknownColumnError, match=f"^{says}$"):
        with_columns(TABLES, columns)


@needs_latex
@pytest.mark.slow
def test_a_report_compiles(tmp_path: Path) -> None:
    odd = "my_method & 100% {#1} ~ ^ \\ $x$ ü 漢"
    frame = trials([*EXAMPLE, (odd, "binary", 0.1, 0, 0.9)])
    write_report(
        Measurements(frame),
        tmp_path,
        title="A_b",
        facts={},
        formats=["latex"],
        paper="proxconnect",
        latex=LatexOptions("a_b"),
    )
    output = compiled(tmp_path / "latex" / "report.tex")
    assert (tmp_path / "latex" / "report.pdf").stat().st_size > 20_000
    assert "undefined" not in output.lower()


@needs_latex
@pytest.mark.slow
def test_every_letter_compiles(tmp_path: Path) -> None:
    """Each is a letter that pdflatex knows, or its code point."""
    codes = [*range(0x1000), *range(0x2000, 0x2700)]
    text = "\n\n".join(f"x{latex_text(chr(code))}" for code in codes)
    document = tmp_path / "letters.tex"
    whole = latex_document("Letters", (), (), ()).replace(r"\end{", text + "\n\\end{")
    document.write_text(whole, encoding="utf-8")
    compiled(document)
    assert "Missing character" not in document.with_suffix(".log").read_text(encoding="latin-1")


PAPER = r"""\documentclass[10pt,twocolumn]{article}
%s
\graphicspath{{first/latex/}{second/latex/}}
\begin{document}
%s
\end{document}
"""


@needs_latex
@pytest.mark.slow
def test_a_paper_in_two_columns_includes_the_files_of_two_reports(tmp_path: Path) -> None:
    files = []
    for name in ("first", "second"):
        folder = tmp_path / name
        options = LatexOptions(name, {"sensitivity": ("set", "method", "range")})
        frame = trials(EXAMPLE)
        write_report(
            Measurements(frame), folder, title="", facts={}, formats=["latex"], latex=options
        )
        files += [f"{name}/latex/{path.stem}" for path in (folder / "latex").glob("*.tex")]
    files = [file for file in files if not file.endswith("report")]
    assert {"first/latex/methods_1", "second/latex/figure_sensitivity"} <= set(files)
    text = (tmp_path / "first" / "latex" / "figure_sensitivity.tex").read_text()
    packages = text.splitlines()[0].removeprefix("% Packages: ")
    shown = "\n".join(rf"\input{{{file}}}\clearpage" for file in files)
    (tmp_path / "paper.tex").write_text(PAPER % (rf"\usepackage{{{packages}}}", shown))
    output = compiled(tmp_path / "paper.tex")
    assert "Overfull" not in output
    assert "multiply" not in output
    labels = (tmp_path / "paper.aux").read_text()
    assert r"\newlabel{tab:first:sensitivity}" in labels
    assert r"\newlabel{fig:second:sensitivity}" in labels


def compiled(document: Path) -> str:
    """What pdflatex says about a document, which it accepts."""
    done = subprocess.run(
        ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", document.name],
        cwd=document.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:]
    return done.stdout
