"""Neighbourhood: the values of a knob around that of a configuration."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any

from quantlab import ConfigurationError, Recipe
from quantlab.errors import brief
from quantlab.plain_values import finite_number
from sweeps.axis import Axis, Knob
from sweeps.labels import require_axis_name
from sweeps.objective import Objective
from sweeps.plain_values import in_order, items_of
from sweeps.spec import overridden

_RESERVED = ("setting", "configuration", "trials", "mean", "worst")


@dataclass(frozen=True, kw_only=True)
class Neighbourhood:
    """The values of a knob that a user might take, around that of a configuration.

    A knob is a setting, or several that move together. Every configuration of a study is trained
    with each of these values, so that a search finds one that may be left untuned.
    """

    name: str
    """Name of the knob in tables, such as ``"rho0"``."""
    paths: tuple[str, ...]
    """Dotted paths of the settings that the knob moves, such as
    ``("quantization.sharpness.rho0",)``. If there are several, they are in one part of the
    recipe. The value of the first one is that of the knob."""
    factors: tuple[float, ...] = ()
    """Numbers > 0 by which the settings are multiplied; 1, which must be one of them, is the
    configuration itself. Empty if there are steps."""
    steps: tuple[float, ...] = ()
    """Numbers that are added to the settings; 0, which must be one of them, is the configuration
    itself. Empty if there are factors."""
    confirmed: tuple[float, ...] = ()
    """Factors or steps of the sweep that confirms the winner; empty for those of the search."""

    def __post_init__(self) -> None:
        where = f"neighbourhood {require_axis_name(self.name, 'Neighbourhood.name')!r}"
        if self.name in _RESERVED:
            raise ConfigurationError(
                f"{where}: name: must be none of {', '.join(_RESERVED)}, which tables of a study "
                "use for something else"
            )
        paths = in_order(self.paths, f"{where}: paths", "('quantization.sharpness.rho0',)")
        if not paths or not all(isinstance(path, str) and path for path in paths):
            raise ConfigurationError(
                f"{where}: paths = {brief(paths)}: must be one or more names of fields separated "
                "by dots, such as 'quantization.sharpness.rho0'"
            )
        if len(set(paths)) < len(paths):
            raise ConfigurationError(f"{where}: paths = {brief(paths)}: must have each path once")
        if paths[0].split(".")[0] == "seed" or not _common(paths):
            raise ConfigurationError(
                f"{where}: paths = {brief(paths)}: must be in one part of the recipe, such as "
                "quantization, and not the seed"
            )
        object.__setattr__(self, "paths", paths)
        if bool(self.factors) == bool(self.steps):
            raise ConfigurationError(
                f"{where}: factors = {brief(self.factors)}, steps = {brief(self.steps)}: must have "
                "either factors, such as (0.1, 1, 10), or steps, such as (-1, 0, 1)"
            )
        kind, itself = ("factors", 1) if self.factors else ("steps", 0)
        for name in (kind, "confirmed"):
            changes = self._changes(name, where, itself)
            if changes and itself not in changes:
                raise ConfigurationError(
                    f"{where}: {name} = {brief(changes)}: must have {itself}, which is the "
                    "configuration itself"
                )
            object.__setattr__(self, name, changes)

    def _changes(self, name: str, where: str, itself: int) -> tuple[float, ...]:
        given = in_order(getattr(self, name), f"{where}: {name}", "(0.1, 1, 10)")
        changes = [finite_number(value) for value in given]
        for value, change in zip(given, changes, strict=True):
            if change is None or (itself and change <= 0):
                least = " > 0" if itself else ""
                raise ConfigurationError(
                    f"{where}: {name}: {brief(value)}: must be a finite number{least}"
                )
        if len(set(changes)) < len(changes):
            raise ConfigurationError(f"{where}: {name} = {brief(given)}: must have each value once")
        return tuple(change for change in changes if change is not None)

    @property
    def path(self) -> str:
        """The path of the part of the recipe that has all `paths`."""
        return _common(self.paths)

    def axis(self, recipe: Recipe, *, confirms: bool = False) -> Axis:
        """Return the values of the knob around that of a recipe, as an axis that is a knob.

        Args:
            recipe: the recipe of a configuration.
            confirms: take the values of the sweep that confirms the winner.

        Raises:
            ConfigurationError: the recipe does not have one of the settings, or it is no number.
        """
        values: dict[str, object] = {}
        for change in (self.confirmed if confirms else ()) or self.factors or self.steps:
            value, part = self._moved(recipe, self.paths[0], change), self._part(recipe, change)
            label = f"{value:.4g}"
            is_new = values.setdefault(label, part) == part
            values |= {} if is_new else {repr(value): part}
        return Axis(
            self.name,
            self.path,
            values,
            Knob("log" if self.factors else "linear"),
        )

    def _part(self, recipe: Recipe, change: float) -> object:
        where = f"neighbourhood {self.name!r}"
        for path in self.paths:
            recipe = overridden(recipe, path, self._moved(recipe, path, change), where)
        return _setting(recipe, self.path)

    def _moved(self, recipe: Recipe, path: str, change: float) -> float:
        value = _setting(recipe, path)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ConfigurationError(
                f"neighbourhood {self.name!r}: {path} = {brief(value)}: must be a number"
            )
        moved = value * change if self.factors else value + change
        return int(moved) if isinstance(value, int) and moved == int(moved) else moved


def neighbourhoods_of(values: object, objectives: Sequence[Objective]) -> tuple[Neighbourhood, ...]:
    """Return the neighbourhoods of a study.

    Args:
        values: the value of `sweeps.study.StudySpec.neighbourhoods`.
        objectives: the objectives of the study.

    Raises:
        ConfigurationError: it is no sequence of neighbourhoods, two of them have one name or move
            the same part of the recipe, or an objective is cautious.
    """
    where = "StudySpec.neighbourhoods"
    found = items_of(values, Neighbourhood, where, "(Neighbourhood(name='rho0', ...),)")
    for first, second in permutations(found, 2):
        if first.name == second.name or f"{first.path}.".startswith(f"{second.path}."):
            raise ConfigurationError(
                f"{where}: {first.name!r} ({first.path}) and {second.name!r} ({second.path}): must "
                "have different names, and move different parts of the recipe"
            )
    for objective in objectives:
        if found and objective.cautious:
            raise ConfigurationError(
                f"objective {objective.name!r}: cautious = {objective.cautious:g}: must be 0 in a "
                "study with neighbourhoods, whose values are no random sample; use worst(...)"
            )
    return found


def _common(paths: tuple[str, ...]) -> str:
    """Return the longest path that begins all others; the path itself if there is one."""
    if len(paths) == 1:
        return paths[0]
    names = []
    for own in zip(*(path.split(".")[:-1] for path in paths), strict=False):
        if len(set(own)) > 1:
            break
        names.append(own[0])
    return ".".join(names)


def _setting(recipe: Recipe, path: str) -> Any:
    """Return the value of the setting with a path as in `override`."""
    value: Any = recipe
    for name in path.split("."):
        try:
            if isinstance(value, Mapping):
                value = value[name]
            else:
                value = value[int(name)] if isinstance(value, tuple) else getattr(value, name)
        except (AttributeError, LookupError, ValueError) as error:
            raise ConfigurationError(
                f"path {path!r}: {brief(value)} has no setting {name!r}"
            ) from error
    return value
