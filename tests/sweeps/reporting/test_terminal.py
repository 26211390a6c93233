"""The tables of a report in a terminal."""

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
