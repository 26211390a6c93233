"""Tables from elsewhere: what is in them is what is read, or one line says what to do."""

import io
import os
import random
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from analysis.findings import analyse
from analysis.reading import is_table, read_trials
from analysis.report import write_report
from analysis.schema import Measurements, SchemaError
from tests.analysis.frames import EXAMPLE, trials


def example(**changes: object) -> str:
    return trials(EXAMPLE).assign(**changes).to_csv(index=False)


def read(folder: Path, content: str | bytes, name: str = "t.csv") -> pd.DataFrame:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return Measurements(read_trials(path)).trials


@pytest.mark.parametrize("name", ["2", "007", "1e5", "12e4567", "NA", "None", "nan", "True", " 4 "])
@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_name_stays_as_it_was_written(tmp_path: Path, name: str, ending: str) -> None:
    frame = trials(EXAMPLE[4:6], method=name, set=name, git_commit=name, **{"axis.norm": name})
    frame = frame.assign(configuration_id=name)
    path = tmp_path / f"t.{ending}"
    frame.to_csv(path, index=False) if ending == "csv" else frame.to_parquet(path)
    again = Measurements(read_trials(path)).trials
    for column in ("method", "set", "git_commit", "configuration_id", "axis.norm"):
        assert set(again[column]) == {name}, column
    assert again["rho0"].tolist() == [0.01, 0.01]


def test_ids_that_are_one_number_are_two_names(tmp_path: Path) -> None:
    frame = trials([("PC", "binary", rho0, 0, 0.9) for rho0 in (0.1, 0.2)])
    frame["configuration_id"] = ["1e5", "100000"]
    assert read(tmp_path, frame.to_csv())["configuration_id"].nunique() == 2


def test_seeds_are_exact_to_the_last_digit(tmp_path: Path) -> None:
    frame = trials([("PC", "binary", 0.1, 2**58 + seed, 0.9) for seed in range(3)])
    again = read(tmp_path, frame.to_csv(index=False))
    assert again["seed"].tolist() == [2**58, 2**58 + 1, 2**58 + 2]
    largest = [2**63 - 1 - place for place in range(3)]
    again = read(tmp_path, frame.assign(seed=largest).to_csv(index=False))
    assert again["seed"].tolist() == largest
    again = read(tmp_path, frame.assign(seed=["1e3", "2.0", "3"]).to_csv(index=False))
    assert again["seed"].tolist() == [1000, 2, 3]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize(
    ("separator", "decimal"), [(",", "."), (";", ","), (";", "."), ("\t", ",")]
)
def test_what_spreadsheets_write_is_read(
    tmp_path: Path, encoding: str, separator: str, decimal: str
) -> None:
    frame = trials(EXAMPLE, method="λ-PC", **{"axis.lr": "1,5"})
    frame["configuration_id"] = frame["trial_id"]
    frame["rho0"] = [0.1 + place for place in range(len(frame))]
    text = frame.to_csv(index=False, sep=separator, decimal=decimal)
    again = read(tmp_path, text.encode(encoding), "T.CSV")
    pd.testing.assert_frame_equal(again, Measurements(frame).trials, check_dtype=False)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty; it must have a header"),
        (bytes(range(256)) * 20, "byte 128 .*; save it as CSV in UTF-8"),
        (example().encode("utf-16-le"), "zero bytes.*; save it as CSV in UTF-8"),
        (example().replace("binary", "binär").encode("latin-1"), "not text in UTF-8 .*; save it"),
        (example().split("\n")[0], "no rows; it must have one"),
        (example() + "a,b\n", "row 11 has 2 cells.* 17; .*commas.*quotes"),
        (example().replace("0.98", '"0,98"'), "column '.*_accuracy': '0,98' .*point"),
        (example(seconds="1.234,5"), "column 'seconds': '1.234,5' .*point"),
        (example(seconds="1 h"), "column 'seconds': '1 h' .*point"),
        (example().replace("seed", "rho0", 1), "column 'rho0' .*once; rename"),
        (example().replace("trial_id", "trial", 1), "column 'trial_id' is missing"),
        (example().replace("COMPLETE", "DO\nNE"), "row 1 has 12 cells"),
        (example(regime="x" * 200_000), "CSV .*field larger than.*; save it"),
        (example(seed="inf"), "'seed' .*inf; it must be finite"),
        (b"PAR1", "Parquet.*; rename it to end in .parquet"),
    ],
)
def test_what_cannot_be_read_is_named_in_one_line(
    tmp_path: Path, content: str | bytes, message: str
) -> None:
    with pytest.raises(SchemaError, match=message) as error:
        read(tmp_path, content)
    assert "\n" not in str(error.value)


def test_endings(tmp_path: Path) -> None:
    assert is_table("T.CSV")
    assert is_table("a/b.xlsx")
    assert not is_table("digits")
    assert not is_table("mine.py")
    for name, message in (
        ("t.xlsx", "'.xlsx' .*one of .csv"),
        ("t.parquet", "not in Parquet.*; rename"),
    ):
        with pytest.raises(SchemaError, match=message):
            read(tmp_path, example(), name)
    with pytest.raises(SchemaError, match=r"Parquet file cannot be read .*write it again"):
        read(tmp_path, b"PAR1 and something else", "t.parquet")


@pytest.mark.parametrize(
    "metadata",
    [
        b"{}",  # a KeyError
        b'{"index_columns": [], "columns": [{}]}',
        b'{"index_columns": [{"kind": "range"}], "columns": []}',
        b"[]",  # a TypeError
        b"damaged",
    ],
)
def test_damaged_metadata_of_parquet_is_one_line(tmp_path: Path, metadata: bytes) -> None:
    """pandas reads its own description of the columns, and raises errors of many types."""
    table = pa.Table.from_pandas(trials(EXAMPLE)).replace_schema_metadata({b"pandas": metadata})
    pq.write_table(table, tmp_path / "t.parquet")
    with pytest.raises(SchemaError, match=r"Parquet file cannot be read .*write it again"):
        read_trials(tmp_path / "t.parquet")


CELLS = (
    *("", "NA", "-1", "1e400", "0", "nan", "COMPLETE", "STOPPED", "0,5", "2", "1e-320", "9" * 30),
    *("$x$", "[/]", "a\nb", "\\", "é" * 300, "'", "\x1b[0m", "None", "\ufeff", "**a**"),
)
Change = Callable[[list[list[str]], random.Random], None]


def _cell(rows: list[list[str]], rng: random.Random) -> None:
    row = rng.choice(rows)
    if row:
        row[rng.randrange(len(row))] = rng.choice(CELLS)


def _column(rows: list[list[str]], rng: random.Random) -> None:
    if rows[0]:
        place, value = rng.randrange(len(rows[0])), rng.choice(["", "7", "PC", "0.5", "$", "0"])
        for row in rows[1:]:
            if place < len(row):
                row[place] = value


def _less(rows: list[list[str]], rng: random.Random) -> None:
    del rows[rng.randrange(len(rows))]


def _more(rows: list[list[str]], rng: random.Random) -> None:
    rows.insert(rng.randrange(1, len(rows) + 1), list(rng.choice(rows)))


def _shift(rows: list[list[str]], rng: random.Random) -> None:
    row = rng.choice(rows)
    row[:] = row[1:] if rng.random() < 0.5 else [*row, "x"]


def _narrow(rows: list[list[str]], rng: random.Random) -> None:
    if rows[0]:
        place = rng.randrange(len(rows[0]))
        for row in rows:
            del row[place : place + 1]


CHANGES: tuple[Change, ...] = (_cell, _cell, _column, _column, _less, _more, _shift, _narrow)


TABLES = 400 if "QUANTLAB_CHAOS" in os.environ else 80  # `make chaos` makes more


def test_tables_made_wrong_at_random_are_read_or_refused_in_one_line(tmp_path: Path) -> None:
    rng, read_well, refused = random.Random(14), 0, []
    base = [line.split(",") for line in example(**{"axis.lr": "1", "bits": 1}).splitlines()]
    for number in range(TABLES):
        rows = [list(row) for row in base]
        for _ in range(rng.choice((1, 1, 1, 2))):
            if len(rows) > 1:
                rng.choice(CHANGES)(rows, rng)
        text = io.StringIO()
        separator = rng.choice(",,,;\t")
        for row in rows:
            quoted = (f'"{cell}"' if separator in cell or "\n" in cell else cell for cell in row)
            text.write(separator.join(quoted) + "\n")
        content = text.getvalue().encode(
            rng.choice(["utf-8"] * 4 + ["utf-16", "latin-1"]), "replace"
        )
        if rng.random() < 0.1:
            content = content[: rng.randrange(len(content))]
        path = tmp_path / rng.choice(("t.csv", "T.CSV", "t.tsv"))
        path.write_bytes(content)
        try:
            measurements = Measurements(read_trials(path))
        except SchemaError as error:
            refused.append(str(error))
            continue
        read_well += 1
        if read_well in (1, TABLES // 5):
            write_report(measurements, tmp_path / "out", title=str(number), facts={})
        elif read_well % 8 == 1:
            analyse(measurements, paper="proxconnect")
    assert not [message for message in refused if "\n" in message]
    assert min(read_well, len(refused)) > TABLES // 5
