"""A file from elsewhere -> the table of trials in it: text stays text, numbers are numbers.

Nothing is guessed from the values. What `schema.TRIALS` calls text is text, whatever it looks like:
the commit ``12e4567`` is no infinity, the set ``2`` is not ``2.0``, and a method may be called
``NA``. A file that is not read as it was meant is refused in one line that says what to do.
"""

import codecs
import csv
import io
import math
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from analysis.schema import TRIALS, TRIALS_MAY_HAVE, SchemaError
from analysis.text import brief

READ = (".csv", ".tsv", ".parquet")
"""Endings of files that can be read, in small letters or capitals."""
OTHERS = (".txt", ".xlsx", ".xls", ".ods", ".json", ".jsonl", ".feather", ".gz", ".zip", ".pkl")
"""Endings of tables that cannot."""

_KNOWN = {**TRIALS, **TRIALS_MAY_HAVE}
_MISSING = frozenset({"", "nan", "na", "n/a", "none", "null", "<na>", "-"})
"""What stands in a column of numbers where there is none, in small letters."""
_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs"}
_SAVE = "save it as CSV in UTF-8, with commas between columns and points in numbers"
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?|[-+]?inf(inity)?", re.IGNORECASE)
_SEED = re.compile(r"-?\d{1,18}")
_DECIMAL_COMMA = re.compile(r"[-+]?\d*,\d+([eE][-+]?\d+)?")


def is_table(name: str) -> bool:
    """Whether a name is that of a table, one that can be read or another."""
    return Path(name).suffix.lower() in (*READ, *OTHERS)


def read_trials(path: Path) -> pd.DataFrame:
    """The trials of a CSV or Parquet file, for `schema.Measurements` to check.

    CSV files may have commas, semicolons or tabs between columns, decimal commas where it is not
    commas, a byte order mark, and may be in UTF-16 with one.

    Raises:
        SchemaError: the file is none of these, or a value of a column of numbers is no number.
        OSError: it cannot be opened.
    """
    if path.suffix.lower() not in READ:
        raise SchemaError(f"tables end in {', '.join(READ)}; {_SAVE}")
    with path.open("rb") as file:
        is_parquet = file.read(4) == b"PAR1"
    if is_parquet != (path.suffix.lower() == ".parquet"):
        what = "is a Parquet file; call it .parquet" if is_parquet else "is no Parquet file"
        raise SchemaError(what)
    if is_parquet:
        return _parquet(path)
    text = _text(path.read_bytes())
    separator = _separator(text)
    return _with_numbers(_cells(text, separator), separator)


def _parquet(path: Path) -> pd.DataFrame:
    try:
        frame = pd.read_parquet(path)
    except (OSError, ValueError, NotImplementedError) as error:  # pyarrow has its own kinds of them
        reason = " ".join(str(error).split())[:200]
        raise SchemaError(f"is damaged, or no table ({reason}); write it again") from error
    return frame


def _text(data: bytes) -> str:
    """The file's text."""
    encodings = (encoding for mark, encoding in _MARKS.items() if data.startswith(mark))
    encoding = next(encodings, "utf-8")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        raise SchemaError(f"is not text in UTF-8 (byte {error.start}); {_SAVE}") from error
    if "\0" in text:
        raise SchemaError(f"is no text: there are zero bytes in it; {_SAVE}")
    if not text.strip():
        raise SchemaError("is empty")
    return text


def _cells(text: str, separator: str) -> pd.DataFrame:
    """All cells as text, each column under its name."""
    try:
        rows = [row for row in csv.reader(io.StringIO(text), delimiter=separator) if any(row)]
    except csv.Error as error:
        raise SchemaError(f"is no CSV file ({error}); {_SAVE}") from error
    header, body = [name.strip() for name in rows[0]], rows[1:]
    width = len(header)
    while width and not header[width - 1]:  # spreadsheets write separators for empty columns
        width -= 1
    header = header[:width]
    if twice := [name for name, count in Counter(header).items() if name and count > 1]:
        raise SchemaError(f"column {brief(twice[0])!r} stands there twice")
    for number, row in enumerate(body, start=1):
        if len(row) < width or any(row[width:]):
            raise SchemaError(
                f"row {number} has {len(row)} cells, the header has {width}; a cell that holds one "
                f"of the {_SEPARATORS[separator]} between columns must stand in double quotes"
            )
    if not body:
        raise SchemaError("has a header and no row")
    named = [place for place, name in enumerate(header) if name]  # pandas' index has none
    return pd.DataFrame(
        [[row[place] for place in named] for row in body],
        columns=[header[place] for place in named],
        dtype=object,
    )


def _separator(text: str) -> str:
    """What stands between the columns: with it, most of the header's names are the schema's."""
    header = next(line for line in text.splitlines() if line.strip())

    def found(separator: str) -> int:
        return len({*TRIALS} & {name.strip().strip('"') for name in header.split(separator)})

    return max(_SEPARATORS, key=found)


def _with_numbers(cells: pd.DataFrame, separator: str) -> pd.DataFrame:
    """With numbers in the columns that have them, whichever sign they use for decimals."""
    columns = [name for name, (kind, _) in _KNOWN.items() if kind != "text" and name in cells]
    texts = cells[columns].map(str.strip)
    # "1,234" may also be a thousand; only a file that cannot mean that is read.
    commas = separator != "," and not texts.map(lambda cell: "." in cell).any(axis=None)
    return cells.assign(
        **{
            name: [_number(name, cell, commas=commas) for cell in texts[name]]
            for name in columns
            if name != "seed"
        },
        **{"seed": _seeds(texts["seed"])} if "seed" in columns else {},
    )


def _seeds(cells: Iterable[str]) -> list[int] | list[float]:
    """Whole numbers, to the last digit, if all are some that a table can hold."""
    if all(_SEED.fullmatch(cell) for cell in cells):
        return [int(cell) for cell in cells]
    return [_number("seed", cell, commas=False) for cell in cells]


def _number(column: str, cell: str, *, commas: bool) -> float:
    if cell.lower() in _MISSING:
        return math.nan
    text = cell.replace(",", ".") if commas and _DECIMAL_COMMA.fullmatch(cell) else cell
    if not _NUMBER.fullmatch(text):
        raise SchemaError(
            f"column {column!r}: {brief(cell)!r} is no number; it must hold numbers with a decimal "
            "point, such as 0.93 or 1e-3, and be empty where there is none"
        )
    return float(text)
