"""The tables of a report in a terminal."""

import io

import pandas as pd
import pytest
from rich.console import Console

from analysis.tables.table import Table
from sweeps.reporting.terminal import print_table


def test_a_table_of_many_methods_fits_80_columns(capsys: pytest.CaptureFixture[str]) -> None:
    values = {f"method {n}": [f"{90 + n / 100:.2f} (0.42) at 1e-{n}"] for n in range(14)}
    body = pd.DataFrame({"model": ["ConvNet"], "set": ["quaternary"], **values})
    print_table(Table("name", "Section", "Accuracy of the methods", body), Console(width=80))
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 80
    for name, (cell,) in values.items():
        assert name in text
        number, _, rho0 = cell.partition(" at ")
        assert number in text
        assert f"at {rho0}" in text


def test_each_part_of_a_wide_table_says_what_its_rows_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    labels = {"dataset": "Digits", "model": "ConvNet", "set": "binary", "method": "PC"}
    body = pd.DataFrame([labels | {f"a long header {n}": "1.00" for n in range(9)}])
    print_table(Table("name", "Section", "Title.", body), Console(width=80))
    headers = [line for line in capsys.readouterr().out.splitlines() if "header" in line]
    assert len(headers) > 1
    assert all(line.split()[:4] == list(labels) for line in headers)


def test_a_caption_speaks_of_marks_only_where_they_are_shown() -> None:
    body = pd.DataFrame({"model": ["ConvNet"], "set": ["binary"], "PC": ["**94.00 (1.41)**"]})
    table = Table("name", "Section", "Title. Bold is best. The end.", body, " Bold is best.")
    shown = {}
    for is_terminal in (True, False):
        console = Console(file=io.StringIO(), width=80, force_terminal=is_terminal)
        print_table(table, console)
        shown[is_terminal] = console.file.getvalue()
    assert "Title. Bold is best. The end." in shown[True]
    assert "Title. The end." in shown[False]


def test_the_notes_of_a_cell_have_their_own_line(capsys: pytest.CaptureFixture[str]) -> None:
    cells = dict.fromkeys(["BC", "PQ", "rPC"], "97.41 (1.16) at 1e-3")
    cells["PC"] = "8.89 (1.27) [4 ρ0 unfinished] at 6e-3"
    body = pd.DataFrame([{"model": "ConvNet", "set": "quaternary", **cells}])
    print_table(Table("name", "Section", "Title.", body), Console(width=80))
    _, header, *_ = capsys.readouterr().out.splitlines()
    assert header.split() == ["model", "set", *cells]  # not two tables
