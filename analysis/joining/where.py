"""Where: a condition on the columns of a table of trials, such as ``method != 'rPC' and seed < 3``.

The text is an expression of `pandas.eval`. Of Python's syntax, it may have comparisons, arithmetic,
``and``, ``or``, ``not``, and the names of columns and constants between them. There are no calls,
no attributes and no variables, so that a condition does nothing but choose rows. Numbers are
compared and computed exactly, however many digits they have.
"""

import ast
import difflib
import re
from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

from analysis.columns import AXIS_PREFIX, RECIPE_PREFIX
from analysis.joining.exact import computed, exact_numbers
from analysis.text import brief
from analysis.training_axes import setting_text

_COMPARISONS: dict[type[ast.cmpop], str] = {
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.In: "in",
    ast.NotIn: "not in",
}
_EQUALITIES = (ast.Eq, ast.NotEq, ast.In, ast.NotIn)
"""Comparisons that text has, too."""
_ARITHMETIC: dict[type[ast.operator], str] = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.Div: "/",
    ast.Mod: "%",
}
_PIECE = re.compile(r"""('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")|`([^`]*)`|([&|~])""")
"""A text in quotes; a name between backticks; an operator that pandas reads as a word."""
_WORDS = {"&": " and ", "|": " or ", "~": " not "}
_MOST_SHOWN = 12
"""Values or columns that a message lists."""
_FORM = "it may have columns, numbers, text in quotes, == != < <= > >= in, and, or, not, + - * / %"


class ConditionError(ValueError):
    """A condition cannot be read, or names a column or value that is not there; one line."""


def fulfilled(trials: pd.DataFrame, condition: str) -> pd.Series:
    """Whether each trial fulfils a condition.

    An axis may be named without ``axis.``, and a setting of the recipe without ``recipe.``. Names
    with other characters than letters, digits, dots and underscores stand between backticks. A
    missing number fulfils no comparison but ``!=``, and missing text is ``''``.

    Args:
        trials: a table with the columns of `columns.trials_columns`.
        condition: the condition.

    Returns:
        A truth value for each row.

    Raises:
        ConditionError: the condition has another form, a column is not there or holds something
            else, no trial has a value that is named, or a number cannot be computed.
    """
    try:
        reading = _Reading(trials, condition)
        found = pd.eval(
            reading.expression, engine="python", parser="pandas", resolvers=[reading.values]
        )
    except ArithmeticError as error:
        raise ConditionError(f"cannot be computed: {error}") from error
    except (SyntaxError, RecursionError, MemoryError) as error:
        raise ConditionError("has too many parts for one condition") from error
    return pd.Series(found, index=trials.index).astype(bool)


def counts_by_method(trials: pd.DataFrame) -> str:
    """How many trials each method has, in words: ``30 of PQ, 6 of rPC``.

    Args:
        trials: a table with the column `method`.
    """
    counts = trials["method"].value_counts(sort=False).sort_index()
    shown = [f"{count} of {brief(str(name))}" for name, count in counts.iloc[:_MOST_SHOWN].items()]
    more = len(counts) - len(shown)
    return ", ".join(shown) + (f", and those of {more} more methods" if more else "")


class _Reading:
    """A condition as an expression of `pandas.eval`, and the values of its names."""

    def __init__(self, trials: pd.DataFrame, condition: str) -> None:
        self.values: dict[str, Any] = {}
        self._trials = trials
        self._names: dict[str, str] = {}
        self._has_column = False
        try:
            tree = ast.parse(_PIECE.sub(self._plain, condition).strip(), mode="eval")
            self.expression = self._truth(tree.body)
        except (SyntaxError, RecursionError, MemoryError) as error:
            raise ConditionError(f"is no condition; {_FORM}") from error
        if not self._has_column:
            raise ConditionError(f"names no column; {self._columns()}")

    def _plain(self, piece: re.Match[str]) -> str:
        """A piece of the text as Python reads it; names between backticks get plain ones."""
        quoted, name, operator = piece.groups()
        if quoted is not None:
            return quoted
        if operator is not None:
            return _WORDS[operator]
        plain = f"_between_backticks_{len(self._names)}"
        self._names[plain] = name
        return plain

    def _truth(self, node: ast.expr) -> str:
        """A part of the condition that is true or false for each trial."""
        if isinstance(node, ast.BoolOp):
            word = "and" if isinstance(node.op, ast.And) else "or"
            return f"({f' {word} '.join(map(self._truth, node.values))})"
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            return f"(not {self._truth(node.operand)})"
        if isinstance(node, ast.Compare):
            places = [node.left, *node.comparators]
            parts = [
                self._comparison(left, operator, right)
                for left, operator, right in zip(places, node.ops, places[1:], strict=False)
            ]
            return f"({' and '.join(parts)})"
        raise ConditionError(f"{self._shown(node)} is no comparison; {_FORM}")

    def _comparison(self, left: ast.expr, operator: ast.cmpop, right: ast.expr) -> str:
        if type(operator) not in _COMPARISONS:
            raise ConditionError(f"`is` compares no values; {_FORM}")
        for side, may_be_list in ((left, False), (right, isinstance(operator, ast.In | ast.NotIn))):
            if isinstance(side, ast.List | ast.Tuple | ast.Set) != may_be_list:
                raise ConditionError(
                    f"{self._shown(side)} must be "
                    + ("a list such as ['PC', 'PQ'] after `in`" if may_be_list else "one value")
                    + f"; {_FORM}"
                )
        sides = [left, right]
        if self._is_text(left) or self._is_text(right):
            if not isinstance(operator, _EQUALITIES):
                raise ConditionError(
                    f"{self._shown(left)} and {self._shown(right)} are text, which has no order; "
                    "compare them by == != in"
                )
            if self._column(left) is None and self._column(right) is None:
                raise ConditionError(
                    f"{self._shown(left)} and {self._shown(right)} are both text in quotes; write "
                    "the column without them"
                )
            texts = [self._text(side) for side in sides]
            for place, other in ((0, 1), (1, 0)):
                if (column := self._column(sides[place])) is not None:
                    self._require_values(column, sides[other])
        else:
            texts = [self._known(self._numbers(side)) for side in sides]
        return f"({texts[0]} {_COMPARISONS[type(operator)]} {texts[1]})"

    def _is_text(self, node: ast.expr) -> bool:
        """Whether a side of a comparison is text in quotes, a truth value, or a list of them."""
        if isinstance(node, ast.List | ast.Tuple | ast.Set):
            return any(map(self._is_text, node.elts))
        return isinstance(node, ast.Constant) and isinstance(node.value, str | bool)

    def _text(self, node: ast.expr) -> str:
        """The name of a column's or a constant's text."""
        if isinstance(node, ast.List | ast.Tuple | ast.Set):
            return self._known([self._constant_text(one) for one in node.elts])
        column = self._column(node)
        if column is None:
            return self._known(self._constant_text(node))
        values = self._trials[column]
        if _is_number(values) and column.startswith(RECIPE_PREFIX):
            values = values.map(setting_text)
        if _is_number(values):
            raise ConditionError(f"column {column!r} has numbers; write them without quotes")
        self._has_column = True
        return self._known(values.map(setting_text))

    def _constant_text(self, node: ast.expr) -> str:
        if not isinstance(node, ast.Constant) or not isinstance(node.value, str | bool):
            raise ConditionError(
                f"{self._shown(node)} is no text, and what it is compared with is; write both in "
                "quotes, or both without"
            )
        return str(node.value)

    def _numbers(self, node: ast.expr) -> Any:
        """A side of a comparison: a list of constants, or see `_number`."""
        if isinstance(node, ast.List | ast.Tuple | ast.Set):
            return [self._constant_number(one) for one in node.elts]
        return self._number(node)

    def _number(self, node: ast.expr) -> Any:
        """A part of the condition that is a number for each trial: a column, or a constant."""
        if isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC:
            left, right = self._number(node.left), self._number(node.right)
            return computed(left, _ARITHMETIC[type(node.op)], right)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            return computed(-1, "*", self._number(node.operand))
        column = self._column(node)
        if column is None:
            return self._constant_number(node)
        values = self._trials[column]
        numbers = exact_numbers(values)
        if not _is_number(values) and numbers.isna().all():
            raise ConditionError(
                f"column {column!r} has text, such as {_examples(values)}; compare it with "
                "text in quotes"
            )
        self._has_column = True
        return numbers

    def _constant_number(self, node: ast.expr) -> float:
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            return -self._constant_number(node.operand)
        value = node.value if isinstance(node, ast.Constant) else None
        if isinstance(value, int | float) and not isinstance(value, bool):
            return value
        raise ConditionError(f"{self._shown(node)} is not allowed; {_FORM}")

    def _column(self, node: ast.expr) -> str | None:
        """The column that a name means; None for something else than a name."""
        parts: list[str] = []
        part = node
        while isinstance(part, ast.Attribute):
            parts, part = [part.attr, *parts], part.value
        if not isinstance(part, ast.Name):
            return None
        name = ".".join([self._names.get(part.id, part.id), *parts])
        columns = list(map(str, self._trials.columns))
        for known in (name, f"{AXIS_PREFIX}{name}", f"{RECIPE_PREFIX}{name}"):
            if known in columns:
                return known
        short = [one.removeprefix(AXIS_PREFIX).removeprefix(RECIPE_PREFIX) for one in columns]
        raise ConditionError(
            f"there is no column {brief(name)!r}{_alike(name, short)}; {self._columns()}"
        )

    def _require_values(self, column: str, node: ast.expr) -> None:
        """Refuse text that no trial has in a column, which is a typing error."""
        several = node.elts if isinstance(node, ast.List | ast.Tuple | ast.Set) else [node]
        known = sorted(set(self._trials[column].map(setting_text)))
        for one in several:
            text = str(one.value) if isinstance(one, ast.Constant) else ""
            if text and text not in known:
                raise ConditionError(
                    f"no trial has {brief(text)!r} in column {column!r}{_alike(text, known)}; "
                    f"there are {_list(map(repr, filter(None, known)))}"
                )

    def _known(self, value: Any) -> str:
        """A name for a value in the expression."""
        name = f"value_{len(self.values)}"
        self.values[name] = value
        return name

    def _columns(self) -> str:
        names = [str(name) for name in self._trials if not str(name).startswith(RECIPE_PREFIX)]
        return f"the columns are {', '.join(names)}" + (
            f", and the settings {RECIPE_PREFIX}*" if len(names) < self._trials.shape[1] else ""
        )

    def _shown(self, node: ast.expr) -> str:
        text = ast.unparse(node)
        for plain, name in self._names.items():
            text = text.replace(plain, f"`{name}`")
        return brief(text)


def _is_number(values: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)


def _alike(text: str, known: Sequence[str]) -> str:
    found = difflib.get_close_matches(text, known, n=1)
    return f" (did you mean {found[0]!r}?)" if found else ""


def _examples(values: pd.Series) -> str:
    return _list(map(repr, sorted(set(values.map(setting_text)) - {""})), 3)


def _list(texts: Iterable[str], most: int = _MOST_SHOWN) -> str:
    found = list(texts)
    return ", ".join(found[:most]) + (", ..." if len(found) > most else "")
