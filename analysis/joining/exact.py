"""Exact numbers of a table: columns as Python's numbers, and arithmetic with them.

The integers of numpy have 64 bits, and wrap around beyond; its comparisons of an integer with a
float round the integer. Those of Python are exact. Divided by zero, a column gives infinite and
missing numbers as in pandas.
"""

import math
import operator
import re
from collections.abc import Callable
from typing import Any

import pandas as pd

from analysis.training_axes import setting_text

_INTEGER = re.compile(r"[-+]?\d{1,4000}")
"""Python reads no more digits than some 4,300."""


def exact_numbers(values: pd.Series) -> pd.Series:
    """The numbers of a column, or of a column of text, as Python's integers and floats.

    Args:
        values: numbers, or anything with a text.

    Returns:
        A column of objects; NaN where there is no number.
    """
    if pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values):
        return values.astype(object).where(values.notna(), math.nan)
    texts = values.map(setting_text)
    numbers = pd.to_numeric(texts, errors="coerce")
    found = [
        int(text) if _INTEGER.fullmatch(text) else float(number)
        for text, number in zip(texts, numbers, strict=True)
    ]
    return pd.Series(found, index=values.index, dtype=object)


def computed(left: Any, sign: str, right: Any) -> Any:
    """A sum, difference, product, quotient or remainder.

    Args:
        left: a number, or a column of `exact_numbers`.
        sign: one of ``+ - * / %``.
        right: as `left`.

    Raises:
        ArithmeticError: a result is beyond the floats, or two constants are divided by zero.
    """
    function = _ARITHMETIC[sign]
    columns = [side for side in (left, right) if isinstance(side, pd.Series)]
    if not columns:
        return function(left, right)
    if sign in _UNLESS_ZERO:
        function = _UNLESS_ZERO[sign]
    index = columns[0].index
    lefts, rights = (
        side if isinstance(side, pd.Series) else [side] * len(index) for side in (left, right)
    )
    return pd.Series(
        [function(one, other) for one, other in zip(lefts, rights, strict=True)],
        index=index,
        dtype=object,
    )


def _quotient(left: float, right: float) -> float:
    if right != 0:
        return left / right
    if left == 0 or math.isnan(left):
        return math.nan
    return math.copysign(math.inf, left) * math.copysign(1, right)


def _remainder(left: float, right: float) -> float:
    return left % right if right != 0 else math.nan


_ARITHMETIC: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "%": operator.mod,
}
_UNLESS_ZERO: dict[str, Callable[[Any, Any], Any]] = {"/": _quotient, "%": _remainder}
