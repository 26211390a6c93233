"""Axis: a field of the recipe that a sweep varies, and the values that it takes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from quantlab.errors import ConfigurationError, brief
from quantlab.plain_values import plain
from sweeps.labels import LONGEST_LABEL, require_axis_name, require_label
from sweeps.plain_values import in_order


@dataclass(frozen=True)
class Axis:
    """An axis of a grid: a field of the recipe, and the values that it takes."""

    name: str
    """Name in tables, tags and names of trials, such as ``"set"`` or ``"rho0"``."""
    path: str
    """Dotted path of the field, such as ``"quantization.sharpness.rho0"``."""
    values: Mapping[str, object] | Sequence[object]
    """Label -> value. Numbers and strings need no labels: a sequence, or an array of NumPy or
    torch, is enough. Numbers are converted to those of Python (see `sweeps.plain_values`)."""

    def __post_init__(self) -> None:
        where = f"axis {require_axis_name(self.name, 'axis')!r}"
        if not isinstance(self.path, str) or not self.path:
            raise ConfigurationError(
                f"{where}: path = {brief(self.path)}: must be names of fields separated by dots, "
                "such as 'quantization.sharpness.rho0'"
            )
        if self.path.split(".")[0] == "seed":
            raise ConfigurationError(
                f"{where}: path = {self.path!r}: must not be the seed; set SweepSpec.seeds or "
                "Block.seeds instead"
            )
        what = f"{where}: values"
        if isinstance(self.values, Mapping):
            pairs = [
                (require_label(label, f"{where}: label"), plain(value))
                for label, value in self.values.items()
            ]
        else:
            items = in_order(self.values, what, "(0.01, 0.1, 1)")
            pairs = [(_name_of(value, where), value) for value in items]
        if not pairs:
            raise ConfigurationError(
                f"{what} = {brief(self.values)}: must be a mapping or a sequence, with at least "
                "one value"
            )
        if len(dict(pairs)) < len(pairs):
            values = tuple(label for label, _ in pairs)
            raise ConfigurationError(
                f"{what} = {brief(values)}: must have each value once; remove the repeated value"
            )
        object.__setattr__(self, "values", dict(pairs))

    @property
    def labelled(self) -> dict[str, object]:
        """The values by their labels."""
        assert isinstance(self.values, dict)
        return dict(self.values)


def _name_of(value: object, where: str) -> str:
    """Return the label of a number, a text, or a tuple of these; other values need labels."""
    label = _label(value)
    if label is None or (len(label) > LONGEST_LABEL and not isinstance(value, str)):
        example = "..." if label else f"{type(value).__name__}(...)"
        raise ConfigurationError(
            f"{where}: the value {brief(value)} needs a label: give a mapping of labels to values, "
            f"such as {{'mine': {example}}}"
        )
    return require_label(label, f"{where}: value")


def _label(value: object) -> str | None:
    """Return the shortest exact label, such as ``0.01`` or ``(8, 8)``; None if there is none."""
    if isinstance(value, str):
        return value
    if value is None or isinstance(value, bool):
        return str(value)
    if isinstance(value, int | float):
        short = f"{value:g}" if abs(value) < 1e300 else ""
        return short if short and float(short) == value else repr(value)
    if isinstance(value, tuple | list):
        labels = [_label(item) for item in value]
        inside = ", ".join(label for label in labels if label is not None)
        return None if None in labels else f"({inside}{',' if len(labels) == 1 else ''})"
    return None
