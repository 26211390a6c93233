"""SweepSpec: a sweep as a value, and its expansion into cells with unique fingerprints."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations, product
from typing import Any

from quantlab import ConfigurationError, Recipe, configuration_id, fingerprint, override
from quantlab.canonical import canonical
from quantlab.errors import brief, described
from quantlab.initial_weights import TrialWeights
from quantlab.plain_values import plain
from sweeps.labels import (
    LONGEST_LABEL,
    require_axis_name,
    require_label,
    require_name,
    require_text,
)
from sweeps.plain_values import MOST_VALUES, in_order, items_of, mapping_of, seeds_of


@dataclass(frozen=True)
class Axis:
    """One direction of a grid: a field of the recipe, and the values it takes."""

    name: str
    """The axis in names, tags and tables, such as ``"set"`` or ``"rho0"``."""
    path: str
    """Dotted path of the recipe's field, such as ``"quantization.sharpness.rho0"``."""
    values: Mapping[str, object] | Sequence[object]
    """Label -> value; for plain numbers and strings a sequence is enough, or an array of NumPy's or
    torch's, whose numbers are taken as Python's (see `sweeps.plain_values`)."""

    def __post_init__(self) -> None:
        where = f"axis {require_axis_name(self.name, 'axis')!r}"
        if not isinstance(self.path, str) or not self.path:
            raise ConfigurationError(
                f"{where}: path = {brief(self.path)}: must be names of fields with dots between, "
                "such as 'quantization.sharpness.rho0'"
            )
        if self.path.split(".")[0] == "seed":
            raise ConfigurationError(
                f"{where}: path = {self.path!r}: seeds stand in SweepSpec.seeds or Block.seeds"
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
            raise ConfigurationError(f"{where}: a value stands there twice: {brief(values)}")
        object.__setattr__(self, "values", dict(pairs))

    @property
    def labelled(self) -> dict[str, object]:
        """Label -> value."""
        assert isinstance(self.values, dict)
        return dict(self.values)


def _name_of(value: object, where: str) -> str:
    """A value's label, where it needs none of its own: a number, a text, a tuple of these."""
    label = _label(value)
    if label is None or (len(label) > LONGEST_LABEL and not isinstance(value, str)):
        example = "..." if label else f"{type(value).__name__}(...)"
        raise ConfigurationError(
            f"{where}: the value {brief(value)} has no short name: give a mapping of labels to "
            f"values, such as {{'mine': {example}}}"
        )
    return require_label(label, f"{where}: value")


def _label(value: object) -> str | None:
    """Short where that says it all: ``0.01``, ``1e-06``, ``(8, 8)``; None if there is none."""
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


@dataclass(frozen=True)
class PublishedCost:
    """What a trial took elsewhere: an estimate for as long as none like it has been run here."""

    what: str
    """Model and data, such as ``"ResNet20 on CIFAR-10"``."""
    hours: float
    """GPU-hours a trial."""
    gpu: str
    source: str
    """Paper and table."""

    def __post_init__(self) -> None:
        for name in ("what", "gpu", "source"):
            label = require_label(getattr(self, name), f"PublishedCost.{name}")
            object.__setattr__(self, name, label)
        hours = plain(self.hours)
        is_number = isinstance(hours, int | float) and not isinstance(hours, bool)
        if not is_number or not (math.isfinite(hours) and hours >= 0):
            raise ConfigurationError(
                f"PublishedCost.hours = {brief(self.hours)}: must be a number >= 0"
            )
        object.__setattr__(self, "hours", hours)


@dataclass(frozen=True)
class Block:
    """A part of a sweep with axes of its own: usually one method."""

    label: str
    """Unique in the sweep; also the method, unless that is given."""
    base: Recipe | None = None
    """What overrides and axes change; None for the sweep's."""
    overrides: Mapping[str, object] = field(default_factory=dict)
    """Path -> value, applied to the base recipe before the axes."""
    axes: tuple[Axis, ...] = ()
    """Every combination of their values is a configuration."""
    method: str | None = None
    """What tables call the method; the label if None. An axis named ``"method"`` goes before."""
    seeds: tuple[int, ...] | None = None
    """None for the sweep's."""
    cost: PublishedCost | None = None
    """What `sweeps plan` reckons with until trials have been run."""

    def __post_init__(self) -> None:
        where = f"block {require_label(self.label, 'Block.label')!r}"
        _require_kind(self.base, Recipe, f"{where}: base")
        _require_kind(self.cost, PublishedCost, f"{where}: cost")
        overrides = mapping_of(self.overrides, f"{where}: overrides", "{'epochs': 3}")
        if seeded := [path for path in overrides if path.split(".")[0] == "seed"]:
            raise ConfigurationError(
                f"{where}: overrides has {seeded[0]!r}: seeds stand in SweepSpec.seeds or "
                "Block.seeds"
            )
        axes = items_of(self.axes, Axis, f"{where}: axes", "(Axis('rho0', PATH, (0.1, 1)),)")
        for first, second in combinations(axes, 2):
            if first.name == second.name:
                raise ConfigurationError(f"{where}: two axes are called {first.name!r}")
            if f"{first.path}.".startswith(f"{second.path}."):
                raise ConfigurationError(
                    f"{where}: axis {second.name!r} replaces what axis {first.name!r} sets "
                    f"({first.path}); put it before, or leave one of them out"
                )
        normal: dict[str, Any] = {
            "label": require_label(self.label, "Block.label"),
            "overrides": overrides,
            "axes": axes,
        }
        if self.method is not None:
            normal["method"] = require_label(self.method, f"{where}: method")
        if self.seeds is not None:
            normal["seeds"] = seeds_of(self.seeds, f"{where}: seeds")
        for name, value in normal.items():
            object.__setattr__(self, name, value)

    def num_trials(self, seeds: int) -> int:
        """How many there are, with so many seeds of the sweep's."""
        seeds = seeds if self.seeds is None else len(self.seeds)
        return math.prod(len(axis.values) for axis in self.axes) * seeds


def _require_kind(value: object, kind: type, what: str) -> None:
    if value is not None and not isinstance(value, kind):
        raise ConfigurationError(
            f"{what} = {brief(value)}: must be {kind.__name__}(...) or None, not "
            f"{type(value).__name__}"
        )


@dataclass(frozen=True)
class Cell:
    """One trial of a sweep."""

    sweep: str
    block: str
    method: str
    coordinates: Mapping[str, str]
    """Axis name -> label."""
    recipe: Recipe
    fingerprint: str
    configuration_id: str

    @cached_property
    def name(self) -> str:
        """For people: ``PC ternary rho0=0.01 seed=0``, with the block's label in front."""
        axes = [
            label if name == "set" else f"{name}={label}"
            for name, label in self.coordinates.items()
            if name != "method"
        ]
        first = self.method if "method" in self.coordinates else self.block
        return " ".join([first, *axes, f"seed={self.recipe.seed}"])

    @property
    def parent(self) -> str | None:
        """Fingerprint of the trial whose final network this one starts from; None for none."""
        weights = self.recipe.initial_weights
        return weights.fingerprint if isinstance(weights, TrialWeights) else None


@dataclass(frozen=True, kw_only=True)
class SweepSpec:
    """A sweep: each block's grid, over a base recipe, for each seed."""

    name: str
    base: Recipe | None = None
    """What blocks without a base of their own start from."""
    blocks: tuple[Block, ...]
    seeds: tuple[int, ...]
    description: str = ""
    experiment: str = ""
    """The MLflow experiment of its runs; its name if empty. Sweeps that share trials do well to
    share it, as a trial has one run."""

    def __post_init__(self) -> None:
        where = f"sweep {require_name(self.name, 'SweepSpec.name')}"
        _require_kind(self.base, Recipe, f"{where}: base")
        blocks = items_of(self.blocks, Block, f"{where}: blocks", "(Block('PC', axes=...),)")
        seeds = seeds_of(self.seeds, f"{where}: seeds")
        require_text(self.description, f"{where}: description")
        if self.experiment != "":
            experiment = require_label(self.experiment, f"{where}: experiment")
            object.__setattr__(self, "experiment", experiment)
        if not blocks:
            raise ConfigurationError(f"{where}: blocks = (): must be at least one block")
        labels = [block.label for block in blocks]
        if twice := [label for label in labels if labels.count(label) > 1]:
            raise ConfigurationError(f"{where}: a block label stands there twice: {twice[0]!r}")
        for block in blocks:
            if block.base is None and self.base is None:
                raise ConfigurationError(
                    f"{where}, block {block.label!r}: base = None, and the sweep has none either"
                )
        trials = sum(block.num_trials(len(seeds)) for block in blocks)
        if trials > MOST_VALUES:
            raise ConfigurationError(
                f"{where}: makes {trials:,} trials; must be at most {MOST_VALUES:,}"
            )
        object.__setattr__(self, "blocks", blocks)
        object.__setattr__(self, "seeds", seeds)

    @cached_property
    def cells(self) -> tuple[Cell, ...]:
        """All trials, block by block; within a block the seed changes fastest.

        Raises:
            ConfigurationError: a path names no field, a value is not allowed, or two cells are the
                same trial; the message names sweep, block and axis.
        """
        cells: dict[str, Cell] = {}
        names: set[str] = set()
        for block in self.blocks:
            for cell in self._expand(block):
                if (same := cells.get(cell.fingerprint)) is not None:
                    raise ConfigurationError(
                        f"sweep {self.name}: {same.name!r} of block {same.block!r} and "
                        f"{cell.name!r} of block {cell.block!r} are the same trial"
                    )
                if cell.name in names:
                    raise ConfigurationError(
                        f"sweep {self.name}: two different trials are called {cell.name!r}; "
                        "give their blocks different labels, or an axis that tells them apart"
                    )
                cells[cell.fingerprint] = cell
                names.add(cell.name)
        return tuple(cells.values())

    def _expand(self, block: Block) -> Iterator[Cell]:
        start = block.base or self.base
        assert start is not None
        for path, value in block.overrides.items():
            start = self._override(start, path, value, f"block {block.label!r}")
        for labels in product(*(axis.labelled.items() for axis in block.axes)):
            recipe = start
            for axis, (label, value) in zip(block.axes, labels, strict=True):
                where = f"block {block.label!r}, axis {axis.name!r}, value {label!r}"
                recipe = self._override(recipe, axis.path, value, where)
            try:
                configuration = configuration_id(recipe)
            except Exception as error:  # whatever a value's own code does
                raise ConfigurationError(
                    f"sweep {self.name}, block {block.label!r}{_culprit(block, labels)}: "
                    f"{error if isinstance(error, ConfigurationError) else described(error)}"
                ) from error
            coordinates = {
                axis.name: label for axis, (label, _) in zip(block.axes, labels, strict=True)
            }
            for seed in self.seeds if block.seeds is None else block.seeds:
                seeded = self._override(recipe, "seed", seed, f"seed {seed}")
                yield Cell(
                    sweep=self.name,
                    block=block.label,
                    method=coordinates.get("method") or block.method or block.label,
                    coordinates=coordinates,
                    recipe=seeded,
                    fingerprint=fingerprint(seeded),
                    configuration_id=configuration,
                )

    def _override(self, recipe: Recipe, path: str, value: object, where: str) -> Recipe:
        try:
            return override(recipe, path, value)
        except ConfigurationError as error:
            raise ConfigurationError(f"sweep {self.name}, {where}: {error}") from error
        except Exception as error:  # of the user's own classes
            raise ConfigurationError(
                f"sweep {self.name}, {where}: path {path!r}: {described(error)}"
            ) from error


def _culprit(block: Block, labels: Sequence[tuple[str, object]]) -> str:
    """Which value of a configuration has no canonical form; empty if it is the base recipe's."""
    named = zip(block.axes, labels, strict=True)
    values = [
        *((f", axis {axis.name!r}, value {label!r}", value) for axis, (label, value) in named),
        *((f", override {path!r}", value) for path, value in block.overrides.items()),
    ]
    for where, value in values:
        try:
            canonical(value)
        except Exception:
            return where
    return ""
