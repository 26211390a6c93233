"""Headers of columns: nothing that a table has of its own may take the place of something else."""

import pandas as pd
import pytest

from analysis.findings import Findings, analyse
from analysis.interactive.dimensions import dimensions
from analysis.report.trials import trial_table
from analysis.rounding import rho0_labels
from analysis.schema import Measurements
from analysis.tables.accuracy import method_tables
from analysis.tables.findings import all_tables
from analysis.tables.table import Table, axis_labels, headers_apart
from tests.analysis.frames import EXAMPLE, trials


def tables_of(frame: pd.DataFrame) -> tuple[Findings, dict[str, Table]]:
    measured = Measurements(frame)
    findings = analyse(measured)
    tables = all_tables(findings, measured.importance)
    for table in tables:
        assert table.body.columns.is_unique, table.name
    return findings, {table.name: table for table in tables}


def test_headers_of_a_kind_differ_from_all_others() -> None:
    names = ["set", "method set", "x", "set"]
    assert headers_apart(names, ["set"], "method") == [
        "method set",
        "method method set",
        "x",
        "method set (2)",
    ]
    labels = axis_labels(["axis.lr", "axis.set"], ["set"])
    assert labels == {"axis.lr": "lr", "axis.set": "axis set"}


def test_rho0_that_differ_have_labels_that_differ() -> None:
    values = [1e-3, 0.3, 0.1 * 3, 1 / 3, 0.3333334, 0.5, float("nan"), 0.5]
    assert list(rho0_labels(values).values()) == [
        "1e-3",
        "0.3",
        "0.30000000000000004",
        "0.3333333",
        "0.3333334",
        "0.5",
    ]


def test_rho0_that_differ_in_the_last_digit_have_cells_and_rows_of_their_own() -> None:
    means = {0.1: 0.9, 0.3: 0.5, 0.1 * 3: 0.8}
    frame = trials(
        ("PC", "binary", rho0, seed, mean) for rho0, mean in means.items() for seed in range(2)
    )
    _, tables = tables_of(frame)
    body = tables["over_rho0_1"].body
    assert list(body.columns[2:]) == ["0.1", "0.3", "0.30000000000000004"]
    assert [cell.strip("_*")[:5] for cell in body.iloc[0][2:]] == ["90.00", "50.00", "80.00"]
    for name in ("regrets", "configurations"):
        assert tables[name].body["ρ0"].is_unique


@pytest.mark.parametrize("name", ["set", "model", "tries"])
def test_a_method_may_have_the_name_of_a_column(name: str) -> None:
    frame = trials(
        (method, "binary", rho0, seed, 0.9 - 0.1 * (method == name) + 0.01 * seed)
        for method in (name, "PC")
        for rho0 in (0.1, 0.2)
        for seed in range(2)
    )
    _, tables = tables_of(frame)
    (methods,) = tables["methods_1"].body.to_dict("records")
    assert (methods["model"], methods["set"]) == ("ConvNet", "binary")
    header = name if name == "tries" else f"method {name}"
    assert methods[header].strip("_*").startswith("80.50")
    (first, *_) = tables["tuning_cost"].body.to_dict("records")
    assert (first["model"], first["set"], first["tries"]) == ("ConvNet", "binary", "1")
    assert first[f"method {name}"].strip("_*").startswith("80.50")


def test_a_network_and_a_set_with_spaces_keep_their_columns() -> None:
    pairs = [("A", "B C"), ("A B", "C")]
    parts = [
        trials(
            ((f"M{number}", levels, None, 0, 0.5 + 0.01 * place) for number in range(13)),
            model=model,
        )
        for place, (model, levels) in enumerate(pairs)
    ]
    frame = pd.concat(parts, ignore_index=True)
    frame["trial_id"] = [f"t{number}" for number in frame.index]
    frame["configuration_id"] += frame["model"]
    (table,) = method_tables(analyse(Measurements(frame)).selected)
    assert list(table.body.columns) == ["method", "A B C", "network A B C"]
    assert table.body.iloc[0].tolist() == ["M0", "50.00", "51.00"]


@pytest.mark.parametrize("name", ["epochs", "seconds", "test %", "fingerprint", "MLflow", "seed"])
def test_an_axis_may_have_the_name_of_a_column_of_trials(name: str) -> None:
    frame = trials(EXAMPLE)
    frame[f"axis.{name}"] = [f"v{number % 2}" for number in frame["seed"]]
    frame["configuration_id"] += frame[f"axis.{name}"]
    measured = Measurements(frame)
    table = trial_table(measured, {})
    assert len(set(table.head)) == len(table.head)
    row = dict(zip(table.head, table.rows[1], strict=True))
    assert row[f"axis {name}"] == "v1"
    assert (row["epochs"], row["seconds"], row["seed"]) == ("3", "1.5", "1")
    labels = [one.label for one in dimensions(measured)]
    assert len(set(labels)) == len(labels)
