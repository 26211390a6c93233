"""Knob: a hyper-parameter that one might leave untuned, with its scale and the range to expect.

A table of trials names its knobs itself. A text column ``knob.NAME`` says of each trial that the
axis NAME is a knob of its method, and has its scale and its range (``log from 0.001 to 1.0``). It
is empty for methods that do not have the knob. rho0 needs no such column: every method that has a
rho0 has it as a knob.
"""

import math
import re
from dataclasses import dataclass
from typing import Final, Literal, get_args

Scale = Literal["log", "linear", "nominal"]
SCALES: Final[tuple[Scale, ...]] = get_args(Scale)
"""The scales: equal factors count alike, or equal differences, or the values have no order."""


@dataclass(frozen=True)
class Knob:
    """A hyper-parameter that one might leave untuned."""

    scale: Scale = "log"
    """``"log"`` for numbers of which equal factors count alike, ``"linear"`` for those of which
    equal differences do, and ``"nominal"`` for values without an order."""
    low: float | None = None
    """The lowest value that a user would reasonably try; None for the lowest of the grid."""
    high: float | None = None
    """The highest value that a user would reasonably try; given together with `low`."""
    name: str = ""
    """Name of the axis; a sweep fills in that of its axis."""

    @property
    def shown(self) -> str:
        """The name in tables and sentences: ``lr``, but ``ρ0``."""
        return "ρ0" if self.name == "rho0" else self.name

    @property
    def problem(self) -> str:
        """What is wrong with the fields: a part of a sentence, and empty if nothing is."""
        if self.scale not in SCALES:
            return f"scale = {self.scale!r}: must be one of {', '.join(map(repr, SCALES))}"
        ends = (("low", self.low), ("high", self.high))
        for name, end in ends:
            is_number = isinstance(end, int | float) and not isinstance(end, bool)
            if end is not None and not (is_number and math.isfinite(end)):
                return f"{name} = {end!r}: must be a finite number or None"
        if (self.low is None) != (self.high is None):
            return f"low = {self.low}, high = {self.high}: must be given together"
        if self.low is None or self.high is None:
            return ""
        if self.scale == "nominal":
            return f"low = {self.low:g}: values without an order have no range; omit low and high"
        if not self.low < self.high:
            return f"low = {self.low:g}: must be less than high = {self.high:g}"
        if self.scale == "log" and self.low <= 0:
            return f"low = {self.low:g}: must be > 0 on a logarithmic scale"
        return ""

    def problem_with(self, label: str) -> str:
        """What is wrong with a value of the knob: a part of a sentence, and empty if nothing is.

        Args:
            label: the value as text.
        """
        if self.scale == "nominal":
            return ""
        number = number_of(label)
        if math.isnan(number):
            return "is no number; give numbers, or scale='nominal'"
        if self.scale == "log" and number < 0:
            return "must be >= 0 on a logarithmic scale; give scale='linear'"
        return ""

    @property
    def text(self) -> str:
        """Scale and range in a cell of the column `knob_column`: ``log from 0.001 to 1.0``."""
        if self.low is None or self.high is None:
            return self.scale
        return f"{self.scale} from {float(self.low)!r} to {float(self.high)!r}"


RHO0: Final = Knob("log", name="rho0")
"""A knob of every method that has a rho0, whether or not a table says it."""

KNOB_PREFIX: Final = "knob."
"""The knobs of a trial's method are text columns named ``knob.<name of the axis>``."""

_TEXT = re.compile(r"(\w+)(?: from (\S+) to (\S+))?")


def knob_column(name: str) -> str:
    """The column of the table of trials that says whether an axis is a knob.

    Args:
        name: name of the axis.
    """
    return f"{KNOB_PREFIX}{name}"


def knob_of(name: str, text: str) -> Knob | None:
    """Read a cell of `knob_column`; None if it is not what `Knob.text` writes.

    Args:
        name: name of the axis.
        text: the cell.
    """
    match = _TEXT.fullmatch(text.strip())
    if match is None or match[1] not in SCALES:
        return None
    scale = next(scale for scale in SCALES if scale == match[1])
    low, high = (None if end is None else number_of(end) for end in match.groups()[1:])
    knob = Knob(scale, low, high, name)
    return None if knob.problem else knob


def number_of(label: str) -> float:
    """The number that a label is; NaN if it is none or not finite."""
    try:
        number = float(label)
    except ValueError:
        return math.nan
    return number if math.isfinite(number) else math.nan
