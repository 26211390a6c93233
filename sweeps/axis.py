"""Axis: a field of the recipe that a sweep varies, and the values that it takes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from analysis.knobs.knob import RHO0, number_of
from analysis.knobs.knob import Knob as Knob
from quantlab.errors import ConfigurationError, brief
from quantlab.plain_values import plain
from sweeps.labels import LONGEST_LABEL, label_of_number, require_axis_name, require_label
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
    knob: Knob | None = None
    """Its scale and range if it is a hyper-parameter that one might leave untuned, such as
    ``Knob("log", low=1e-4, high=1)``: then reports say whether one may. None if it is none. An axis
    `rho0` is a knob anyway. It is no part of a recipe."""

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
        if self.knob is not None:
            object.__setattr__(self, "knob", _checked(self.knob, self.name, dict(pairs)))

    @property
    def labelled(self) -> dict[str, object]:
        """The values by their labels."""
        assert isinstance(self.values, dict)
        return dict(self.values)


def _checked(knob: object, name: str, values: Mapping[str, object]) -> Knob:
    """Return the knob of an axis with the name of the axis.

    Raises:
        ConfigurationError: it is not a knob, or the values of the axis do not have its scale.
    """
    where = f"axis {name!r}: knob"
    if not isinstance(knob, Knob):
        raise ConfigurationError(
            f"{where} = {brief(knob)}: must be a Knob, such as Knob('log', low=1e-4, high=1), or "
            "None"
        )
    if problem := knob.problem:
        raise ConfigurationError(f"{where}: {problem}")
    if name == RHO0.name and knob.scale != RHO0.scale:
        raise ConfigurationError(
            f"{where}: scale = {knob.scale!r}: must be 'log' for rho0; rename the axis"
        )
    for label in values:
        if problem := knob.problem_with(label):
            raise ConfigurationError(
                f"{where}: scale = {knob.scale!r}: the value {label!r} of the axis {problem}"
            )
    labels: dict[float, str] = {}
    for label in values if knob.scale != "nominal" else ():
        if (other := labels.setdefault(number_of(label), label)) != label:
            raise ConfigurationError(
                f"{where}: the labels {other!r} and {label!r} are one number, by which reports know"
                " a value of a knob; give two numbers, or scale='nominal'"
            )
    return replace(knob, name=name)


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
        return label_of_number(value)
    if isinstance(value, tuple | list):
        labels = [_label(item) for item in value]
        inside = ", ".join(label for label in labels if label is not None)
        return None if None in labels else f"({inside}{',' if len(labels) == 1 else ''})"
    return None
