"""Labels of any names can be shown, stay distinct, and are never read as markup."""

from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from analysis.figures.gallery import all_figures
from analysis.figures.style import drawable_labels
from analysis.findings import analyse
from analysis.labels import LONGEST, labels_of, names_of, renamed
from analysis.report import write_report
from analysis.report.latex import latex_table
from analysis.schema import Measurements
from analysis.tables import Mark, Table, marked
from analysis.text import plain
from sweeps.reporting.terminal import render
from tests.analysis.frames import EXAMPLE, trials

ODD = {
    "mathematics": "$\\foo$ x_1^2",
    "markup": "[/] [red]x[/red]",
    "latex": "\\input{/etc/passwd} % & # _ { } ~ ^",
    "markdown": "**bold** | `code` <b> [a](b)",
    "long": "L" * 10_000,
    "lines": "line\nbreak\ttab\x00 \x1b[31m",
    "surrogate": "half \ud83d",
    "CJK": "二値化 🚀",
}


def test_a_text_is_on_one_line_and_can_be_encoded() -> None:
    for text in ODD.values():
        assert plain(text).isprintable()
        plain(text).encode("utf-8")
    assert plain(ODD["surrogate"]) == "half [U+D83D]"
    assert plain("λ-PC 🚀") == "λ-PC 🚀"


def test_long_names_are_shortened_and_stay_apart() -> None:
    names = [("x" * 500) + str(number) for number in range(12)] + ["PC"]
    found = labels_of(names)
    assert len(set(found.values())) == 13
    assert max(map(len, found.values())) == LONGEST
    assert found["PC"] == "PC"
    frame = pd.DataFrame({"method": ["PC", names[0]], "n": [1, 2]})
    assert renamed(frame, found)["method"].tolist() == ["PC", found[names[0]]]
    assert renamed(frame, labels_of(["PC"])) is frame
    assert list(names_of(frame)) == ["PC", names[0]]
    assert drawable_labels(["$x$", "値", "λ"]) == {"$x$": r"\$x\$", "値": "[U+5024]", "λ": "λ"}


def test_a_name_that_begins_with_an_underscore_has_an_entry_in_legends() -> None:
    """Matplotlib leaves out labels that begin with one."""
    frame = trials(
        (method, "binary", rho0, 0, 0.9) for method in ("_x", "__y", "PC") for rho0 in (0.1, 0.2)
    )
    measured = Measurements(frame)
    (figure, *_) = all_figures(measured, analyse(measured))
    (legend,) = figure.figure.legends
    assert {text.get_text() for text in legend.get_texts()} == {" _x", " __y", "PC"}
    assert len(set(drawable_labels(["_x", " _x"]).values())) == 2


def test_captions_and_cells_have_no_markup_but_their_own() -> None:
    name = "<img src=x onerror=alert(1)> *a* _b_ &lt; [c](d) P_Q `e`"
    escaped = r"\<img src=x onerror=alert(1)> \*a\* \_b\_ \&lt; [c\](d) P_Q \`e\`"
    table = Table("name", "Section", f"Of {name}. And {name}", pd.DataFrame({name: [name, "_f_"]}))
    caption, _, head, _, cell, last, *_ = table.markdown().split("\n")
    assert caption == f"**Of {escaped}.** And {escaped}"
    assert escaped in head
    assert escaped in cell
    assert r"\_f\_" in last


def test_only_numbers_are_marked() -> None:
    assert marked("**94.00 (1.41)** at 1e-2") == (Mark.BOLD, "94.00 (1.41)", " at 1e-2")
    assert marked("__-4.00__ at 1e-2") == (Mark.UNDERLINED, "-4.00", " at 1e-2")
    for name in ("**bold**", "__init__", "__7**", "94.00 (1.41)"):
        assert marked(name) == (Mark.NONE, "", name)
    body = pd.DataFrame({"method": [ODD["markdown"]], "[/]": ["**94.00**"]})
    text = Table("name", "Section", "Caption", body).markdown()
    assert r"\*\*bold\*\* \| \`code\` \<b> [a\](b)" in text
    assert "**94.00**" in text
    tie = Table("name", "Section", "Caption", pd.DataFrame({"a": ["__94.00__ at 1e-2"]}))
    assert "<ins>94.00</ins> at 1e-2" in tie.markdown()
    assert r"\underline{94.00} at $10^{-2}$" in latex_table(tie)


def test_a_terminal_shows_markup_as_it_is_written() -> None:
    body = pd.DataFrame({"model": ["[/]"], ODD["markup"]: ["**94.00** [n = 2]"]})
    console = Console(width=80, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(*render(Table("name", "Section", "Caption", body), width=80))
    text = console.export_text()
    assert "[/] [red]x[/red]" in text
    assert "94.00 [n = 2]" in text


def test_a_row_of_latex_begins_no_option() -> None:
    body = pd.DataFrame({"method": ["[/]", "*"], "b": ["1", "2"]})
    lines = latex_table(Table("name", "Section", "Caption", body)).splitlines()
    assert any(line.startswith("{}[/]") for line in lines)
    assert any(line.startswith("{}*") for line in lines)


@pytest.mark.parametrize("formats", [["html", "markdown", "latex", "csv", "parquet"]])
def test_a_report_of_odd_names_is_written_in_every_format(
    tmp_path: Path, formats: list[str]
) -> None:
    rows = [
        (name, "$set$", rho0, seed, 0.9 + rho0 / 10 + seed / 100)
        for name in ODD.values()
        if name != ODD["surrogate"]  # no table can hold it
        for rho0 in (0.1, 0.2)
        for seed in (0, 1)
    ]
    frame = trials([*EXAMPLE, *rows], dataset=ODD["latex"], **{"axis.a$b": ODD["markup"]})
    report = write_report(
        Measurements(frame), tmp_path, title=ODD["lines"], facts={"a": ODD["surrogate"]}
    )
    assert set(formats) <= set(report.formats)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "L" * (LONGEST + 1) not in page
    assert "half [U+D83D]" in page
    again = pd.read_csv(tmp_path / "tables" / "trials.csv", keep_default_na=False)
    assert "L" * 10_000 in set(again["method"])
