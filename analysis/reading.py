"""Reading a table of trials from a CSV or Parquet file.

The type of a cell depends on its column alone, never on its value. Columns that `columns.TRIALS`
calls text stay text: the commit ``12e4567`` is not infinity, the set ``2`` does not become ``2.0``,
and a method may be called ``NA``. An ambiguous file is refused with a message that says how to save
it.
"""

import codecs
import csv
import io
import math
import re
from collections import Counter
from collections.abc import Collection, Iterable
from pathlib import Path

import pandas as pd

from analysis.columns import TRIALS_MAY_HAVE, trials_columns
from analysis.metric import ACCURACY, Metric
from analysis.schema import SchemaError
from analysis.text import brief

READ = (".csv", ".tsv", ".parquet")
"""Suffixes of files that can be read; upper and lower case are the same."""
OTHERS = (".txt", ".xlsx", ".xls", ".ods", ".json", ".jsonl", ".feather", ".gz", ".zip", ".pkl")
"""Suffixes of tables that cannot be read."""

_MISSING = frozenset({"", "nan", "na", "n/a", "none", "null", "<na>", "-"})
"""Cells that mean a missing number, in lower case."""
_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs"}
_SAVE = "save it as CSV in UTF-8, with commas between columns and points in numbers"
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?|[-+]?inf(inity)?", re.IGNORECASE)
_SEED = re.compile(r"-?\d{1,19}")
_DECIMAL_COMMA = re.compile(r"[-+]?\d*,\d+([eE][-+]?\d+)?")


def is_table(name: str) -> bool:
    """Whether a file name has the suffix of a table, readable or not."""
    return Path(name).suffix.lower() in (*READ, *OTHERS)


def read_trials(path: Path, metric: Metric = ACCURACY) -> pd.DataFrame:
    """Read the trials of a CSV or Parquet file; `schema.Measurements` checks them.

    A CSV file may separate its columns by commas, semicolons or tabs. Decimal commas are allowed if
    the separator is not a comma. The encoding is UTF-8, or UTF-16 with a byte order mark.

    Args:
        path: file with one of the suffixes in `READ`.
        metric: what the trials are compared by.

    Returns:
        The table with its columns as in the file, not yet checked.

    Raises:
        SchemaError: the file has another format, or a cell of a number column is not a number.
        OSError: the file cannot be opened.
    """
    if path.suffix.lower() not in READ:
        raise SchemaError(
            f"the suffix {path.suffix!r} is not supported; it must be one of {', '.join(READ)}; "
            f"{_SAVE}"
        )
    with path.open("rb") as file:
        is_parquet = file.read(4) == b"PAR1"
    if is_parquet != (path.suffix.lower() == ".parquet"):
        what = (
            "the file is in Parquet format; rename it to end in .parquet"
            if is_parquet
            else "the file is not in Parquet format; rename it to its format's suffix"
        )
        raise SchemaError(what)
    if is_parquet:
        return _parquet(path)
    text = _text(path.read_bytes())
    known = {**TRIALS_MAY_HAVE, **trials_columns(metric)}
    separator = _separator(text, known)
    numbers = [name for name, (kind, _) in known.items() if kind != "text"]
    return _with_numbers(_cells(text, separator), separator, numbers)


def _parquet(path: Path) -> pd.DataFrame:
    try:
        frame = pd.read_parquet(path)
    except ImportError:  # pyarrow is missing, which is no fault of the file
        raise
    except Exception as error:  # damaged metadata leads to errors of any type
        reason = " ".join(str(error).split())[:200]
        raise SchemaError(
            f"the Parquet file cannot be read ({reason}); it may be damaged, so write it again"
        ) from error
    return frame


def _text(data: bytes) -> str:
    """The decoded text of a file."""
    encodings = (encoding for mark, encoding in _MARKS.items() if data.startswith(mark))
    encoding = next(encodings, "utf-8")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        raise SchemaError(
            f"the file is not text in UTF-8 (byte {error.start} cannot be decoded); {_SAVE}"
        ) from error
    if "\0" in text:
        raise SchemaError(f"the file contains zero bytes, which text does not have; {_SAVE}")
    if not text.strip():
        raise SchemaError("the file is empty; it must have a header and one row for each trial")
    return text


def _cells(text: str, separator: str) -> pd.DataFrame:
    """All cells as text, in columns named by the header."""
    try:
        rows = [row for row in csv.reader(io.StringIO(text), delimiter=separator) if any(row)]
    except csv.Error as error:
        raise SchemaError(f"the file is not valid CSV ({error}); {_SAVE}") from error
    header, body = [name.strip() for name in rows[0]], rows[1:]
    width = len(header)
    while width and not header[width - 1]:  # spreadsheets write separators for empty columns
        width -= 1
    header = header[:width]
    if twice := [name for name, count in Counter(header).items() if name and count > 1]:
        raise SchemaError(
            f"column {brief(twice[0])!r} occurs more than once; rename or remove one of them"
        )
    for number, row in enumerate(body, start=1):
        if len(row) < width or any(row[width:]):
            raise SchemaError(
                f"row {number} has {len(row)} cells, but the header has {width}; columns are "
                f"separated by {_SEPARATORS[separator]}, "
                "so double quotes must enclose a cell that contains one"
            )
    if not body:
        raise SchemaError("the file has a header and no rows; it must have one row for each trial")
    # The index that pandas writes has no name.
    named = [place for place, name in enumerate(header) if name]
    return pd.DataFrame(
        [[row[place] for place in named] for row in body],
        columns=[header[place] for place in named],
        dtype=object,
    )


def _separator(text: str, known: Collection[str]) -> str:
    """The separator with which the header has the most column names of the schema."""
    header = next(line for line in text.splitlines() if line.strip())

    def found(separator: str) -> int:
        return len({*known} & {name.strip().strip('"') for name in header.split(separator)})

    return max(_SEPARATORS, key=found)


def _with_numbers(cells: pd.DataFrame, separator: str, numbers: Iterable[str]) -> pd.DataFrame:
    """Convert the number columns, with decimal points or decimal commas."""
    columns = [name for name in numbers if name in cells]
    texts = cells[columns].map(str.strip)
    # "1,234" may also mean a thousand, so decimal commas are read only if no cell has a point.
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
    """Exact integers if all cells are integers that fit into 64 bits, and floats otherwise."""
    if all(_SEED.fullmatch(cell) and -(2**63) <= int(cell) < 2**63 for cell in cells):
        return [int(cell) for cell in cells]
    return [_number("seed", cell, commas=False) for cell in cells]


def _number(column: str, cell: str, *, commas: bool) -> float:
    if cell.lower() in _MISSING:
        return math.nan
    text = cell.replace(",", ".") if commas and _DECIMAL_COMMA.fullmatch(cell) else cell
    if not _NUMBER.fullmatch(text):
        raise SchemaError(
            f"column {column!r}: {brief(cell)!r} is not a number; write numbers with a decimal "
            "point, such as 0.93 or 1e-3, and leave the cell empty if the number is missing"
        )
    return float(text)
