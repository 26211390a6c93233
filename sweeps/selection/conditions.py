"""Conditions on the axes of trials, such as ``method=PC|PQ,rho0>=0.1``, and their text form.

Conditions are separated by commas, and a trial must fulfil all of them. A condition is the name of
an axis, one of ``= != < <= > >=``, and a value. ``=`` and ``!=`` take several values, separated by
``|``, and patterns with ``*``, ``?`` and ``[ab]``. A value in quotes has no special characters.
"""

import math
import operator
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from quantlab.errors import ConfigurationError

_COMPARISONS: Mapping[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
_WITH_EQUAL = (">=", "<=")
_NAME = re.compile(r"\s*([\w.-]+)\s*")
_OPERATOR = re.compile(r"(>=|<=|!=|=|>|<)\s*")
_QUOTED = re.compile(r"""("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')\s*""")
_OPENING, _CLOSING = "([", ")]"

_FORM = (
    "must be conditions such as method=PC or rho0>=0.1, separated by commas, with | between "
    "several values of one name; put the conditions in quotes, because a shell reads <, > and | "
    "itself"
)


@dataclass(frozen=True)
class Value:
    """A value of a condition."""

    text: str
    is_quoted: bool = False
    """Whether the text is one label as it is, and no pattern or number."""

    def labels(self, known: Iterable[str]) -> set[str]:
        """Return those of the known labels that the value means.

        This is the label with exactly this text if there is one. Otherwise, these are the labels
        that are the same number, or else those that are it in six digits, as tables print them, or
        else those that match the pattern.
        """
        known = set(known)
        if self.is_quoted or self.text in known:
            return known & {self.text}
        number = number_of(self.text)
        if number is not None and (equal := {one for one in known if number_of(one) == number}):
            return equal
        if printed := {one for one in known if self.is_printed_for(one)}:
            return printed
        return {label for label in known if fnmatchcase(label, self.text)}

    def is_printed_for(self, label: str) -> bool:
        """Return whether tables print a label so, which is a number of more than six digits."""
        number = number_of(label)
        return number is not None and f"{number:g}" == self.text

    def __str__(self) -> str:
        if not self.is_quoted:
            return self.text
        escaped = self.text.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'


@dataclass(frozen=True)
class Condition:
    """A condition on one axis."""

    name: str
    """Name of the axis."""
    operator: str
    """One of ``= != < <= > >=``."""
    values: tuple[Value, ...]
    """Values, of which the label must mean one (or, for ``!=``, none); one number for ``<`` etc."""

    def labels(self, known: Iterable[str]) -> set[str]:
        """Return those of the known labels of the axis that fulfil the condition.

        A label that is no number fulfils no comparison.
        """
        known = set(known)
        if compare := _COMPARISONS.get(self.operator):
            (value,) = self.values
            limit = number_of(value.text)
            assert limit is not None
            numbers = {label: number_of(label) for label in known}
            equal = value.labels(known)
            return {
                label
                for label, number in numbers.items()
                if number is not None
                and (self.operator in _WITH_EQUAL if label in equal else compare(number, limit))
            }
        meant = set().union(*(value.labels(known) for value in self.values))
        return meant if self.operator == "=" else known - meant

    @property
    def allows_absence(self) -> bool:
        """Whether a trial without the axis fulfils the condition."""
        return self.operator == "!="

    def __str__(self) -> str:
        return f"{self.name}{self.operator}{'|'.join(map(str, self.values))}"


def number_of(text: str) -> float | None:
    """Return the finite number that a text is, such as ``1e-4``; None for other texts."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def parse(text: str, option: str = "--only") -> tuple[Condition, ...]:
    """Parse conditions.

    Args:
        text: the conditions, such as ``"method=PC|PQ,rho0>=0.1"``.
        option: the option that has them, for messages.

    Raises:
        ConfigurationError: the text is no list of conditions.
    """
    return tuple(_Parser(text, option).conditions())


class _Parser:
    """Reads a text from left to right."""

    def __init__(self, text: str, option: str) -> None:
        self._text, self._place = text, 0
        self._option = option

    def conditions(self) -> Iterator[Condition]:
        while True:
            yield self._condition()
            if not self._skip(","):
                break
        if self._place < len(self._text):
            raise self._error(f"after a value in quotes, {self._rest!r} is too much")

    def _condition(self) -> Condition:
        piece = self._rest.partition(",")[0].strip()
        name = self._match(_NAME)
        symbol = self._match(_OPERATOR)
        if not name or not symbol:
            raise self._error(f"{piece!r} is no condition" if piece else "a condition is missing")
        values = [self._value(name)]
        while self._skip("|"):
            values.append(self._value(name))
        if symbol in _COMPARISONS and (len(values) > 1 or number_of(values[0].text) is None):
            given = "|".join(map(str, values))
            raise self._error(f"{name}{symbol} takes one number, not {given!r}")
        return Condition(name, symbol, tuple(values))

    def _value(self, name: str) -> Value:
        if quoted := self._match(_QUOTED):
            return Value(re.sub(r"\\(.)", r"\1", quoted[1:-1], flags=re.DOTALL), is_quoted=True)
        start, depth = self._place, 0
        while self._place < len(self._text):
            letter = self._text[self._place]
            if depth == 0 and letter in ",|":
                break
            depth += (letter in _OPENING) - (letter in _CLOSING and depth > 0)
            self._place += 1
        text = self._text[start : self._place].strip()
        if depth:
            raise self._error(f"a bracket of {text!r} is not closed; put the value in quotes")
        if not text:
            raise self._error(f"a value of {name} is missing")
        return Value(text)

    def _match(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self._text, self._place)
        self._place = found.end() if found else self._place
        return found[1] if found else ""

    def _skip(self, letter: str) -> bool:
        is_there = self._text.startswith(letter, self._place)
        self._place += is_there
        return is_there

    @property
    def _rest(self) -> str:
        return self._text[self._place :]

    def _error(self, what: str) -> ConfigurationError:
        return ConfigurationError(f"{self._option} {self._text}: {what}: {_FORM}")
