"""SweepSpec: a sweep, and its expansion into cells with unique fingerprints."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations, product
from typing import TYPE_CHECKING, Any

from quantlab.errors import ConfigurationError, brief, described
from quantlab.plain_values import plain, require_number
from sweeps.cell import Cell as Cell
from sweeps.labels import (
    LONGEST_LABEL,
    require_axis_name,
    require_label,
    require_name,
    require_text,
)
from sweeps.plain_values import MOST_VALUES, in_order, items_of, mapping_of, seeds_of

if TYPE_CHECKING:
    from quantlab import Recipe


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


@dataclass(frozen=True)
class PublishedCost:
    """The published cost of a trial, which is the estimate until a similar trial has finished."""

    what: str
    """Model and dataset, such as ``"ResNet20 on CIFAR-10"``."""
    hours: float
    """GPU-hours per trial."""
    gpu: str
    """Name of the GPU."""
    source: str
    """Paper and table."""

    def __post_init__(self) -> None:
        for name in ("what", "gpu", "source"):
            label = require_label(getattr(self, name), f"PublishedCost.{name}")
            object.__setattr__(self, name, label)
        object.__setattr__(self, "hours", require_number(self, "hours"))


@dataclass(frozen=True)
class Block:
    """A part of a sweep with its own axes, usually one method."""

    label: str
    """Label of the block, which is unique in the sweep."""
    base: "Recipe | None" = None
    """Recipe that the overrides and axes change; None for that of the sweep."""
    overrides: Mapping[str, object] = field(default_factory=dict)
    """Path -> value, applied to the base recipe before the axes."""
    axes: tuple[Axis, ...] = ()
    """Axes of the grid; every combination of their values is a configuration."""
    method: str | None = None
    """Name of the method in tables; None for the label. The label of an axis named ``"method"``
    replaces it."""
    seeds: tuple[int, ...] | None = None
    """Seeds of each configuration; None for those of the sweep."""
    cost: PublishedCost | None = None
    """Cost of a trial for `sweeps plan`, until similar trials have finished; None if unknown."""
    starts_from: "Recipe | None" = None
    """Recipe of the trials whose networks the trials of the block start from: each of them from
    that of its own seed, so that the seeds of a configuration are independent. None for the
    `initial_weights` of the recipes."""
    taught_by: "Recipe | None" = None
    """Recipe of the trials that are the teachers of those of the block: each of them has that of
    its own seed, in the place of the teacher and the model of its `distillation`, which is needed
    for the other settings. None for the teachers of the recipes."""

    def __post_init__(self) -> None:
        where = f"block {require_label(self.label, 'Block.label')!r}"
        for name in ("base", "starts_from", "taught_by"):
            _require_recipe(getattr(self, name), f"{where}: {name}")
        _require_type(self.cost, PublishedCost, f"{where}: cost")
        overrides = mapping_of(self.overrides, f"{where}: overrides", "{'epochs': 3}")
        if seeded := [path for path in overrides if path.split(".")[0] == "seed"]:
            raise ConfigurationError(
                f"{where}: overrides has {seeded[0]!r}: must not set the seed; set SweepSpec.seeds "
                "or Block.seeds instead"
            )
        axes = items_of(self.axes, Axis, f"{where}: axes", "(Axis('rho0', PATH, (0.1, 1)),)")
        for first, second in combinations(axes, 2):
            if first.name == second.name:
                raise ConfigurationError(
                    f"{where}: axes: two of them have the name {first.name!r}; rename one of them"
                )
            if f"{first.path}.".startswith(f"{second.path}."):
                raise ConfigurationError(
                    f"{where}: axis {second.name!r} replaces what axis {first.name!r} sets "
                    f"({first.path}); put it before that axis, or remove one of them"
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

    def joined(self, recipe: "Recipe", identity: Callable[["Recipe"], str]) -> "Recipe":
        """Return a recipe with the networks of `starts_from` and `taught_by`.

        Args:
            recipe: a recipe of the block.
            identity: see `with_networks_of_its_seed`.
        """
        from sweeps.same_seed import with_networks_of_its_seed

        return with_networks_of_its_seed(
            recipe, starts_from=self.starts_from, taught_by=self.taught_by, identity=identity
        )

    def num_trials(self, seeds: int) -> int:
        """Return the number of trials of the block.

        Args:
            seeds: number of seeds of the sweep, which a block without its own seeds uses.
        """
        seeds = seeds if self.seeds is None else len(self.seeds)
        return math.prod(len(axis.values) for axis in self.axes) * seeds


def _require_recipe(value: object, what: str) -> None:
    if value is not None:
        from quantlab.recipe import Recipe  # which imports torch, and outlines have no recipes

        _require_type(value, Recipe, what)


def _require_type(value: object, expected: type, what: str) -> None:
    if value is not None and not isinstance(value, expected):
        raise ConfigurationError(
            f"{what} = {brief(value)}: must be {expected.__name__}(...) or None, not "
            f"{type(value).__name__}"
        )


@dataclass(frozen=True, kw_only=True)
class SweepSpec:
    """A sweep: the grid of each block over a base recipe, for each seed."""

    name: str
    """Name of the sweep, of its report, and of its MLflow experiment."""
    base: "Recipe | None" = None
    """Recipe of the blocks that have no base."""
    blocks: tuple[Block, ...]
    """Parts of the sweep, usually one for each method."""
    seeds: tuple[int, ...]
    """Seeds of the blocks that have no seeds."""
    description: str = ""
    """Text in the plan and the report."""
    experiment: str = ""
    """MLflow experiment of the runs; the name of the sweep if empty. Sweeps that share trials
    should share the experiment, because each trial has one run."""

    def __post_init__(self) -> None:
        where = f"sweep {require_name(self.name, 'SweepSpec.name')}"
        _require_recipe(self.base, f"{where}: base")
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
            raise ConfigurationError(
                f"{where}: blocks: two of them have the label {twice[0]!r}; rename one of them"
            )
        for block in blocks:
            if block.base is None and self.base is None:
                raise ConfigurationError(
                    f"{where}, block {block.label!r}: base = None: must be a Recipe, because the "
                    "sweep has no base"
                )
        trials = sum(block.num_trials(len(seeds)) for block in blocks)
        if trials > MOST_VALUES:
            raise ConfigurationError(
                f"{where}: has {trials:,} trials; must have at most {MOST_VALUES:,}"
            )
        object.__setattr__(self, "blocks", blocks)
        object.__setattr__(self, "seeds", seeds)

    @cached_property
    def cells(self) -> tuple[Cell, ...]:
        """All trials, block by block; within a block, the seed changes fastest.

        Raises:
            ConfigurationError: a path names no field, a value is invalid, or two cells are the same
                trial; the message names the sweep, block and axis.
        """
        cells: dict[str, Cell] = {}
        names: set[str] = set()
        for block in self.blocks:
            for cell in self._expand(block):
                if (same := cells.get(cell.fingerprint)) is not None:
                    raise ConfigurationError(
                        f"sweep {self.name}: {same.name!r} of block {same.block!r} and "
                        f"{cell.name!r} of block {cell.block!r} are the same trial; remove one of "
                        "them"
                    )
                if cell.name in names:
                    raise ConfigurationError(
                        f"sweep {self.name}: two different trials have the name {cell.name!r}; "
                        "give their blocks different labels, or add an axis that distinguishes them"
                    )
                cells[cell.fingerprint] = cell
                names.add(cell.name)
        return tuple(cells.values())

    def _expand(self, block: Block) -> Iterator[Cell]:
        from quantlab.canonical import configuration_id, fingerprint

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
                configuration = configuration_id(block.joined(recipe, configuration_id))
            except Exception as error:  # the user's code may raise anything
                raise ConfigurationError(
                    f"sweep {self.name}, block {block.label!r}{_culprit(block, labels)}: "
                    f"{error if isinstance(error, ConfigurationError) else described(error)}"
                ) from error
            coordinates = {
                axis.name: label for axis, (label, _) in zip(block.axes, labels, strict=True)
            }
            for seed in self.seeds if block.seeds is None else block.seeds:
                seeded = self._override(recipe, "seed", seed, f"seed {seed}")
                seeded = block.joined(seeded, fingerprint)
                yield Cell(
                    sweep=self.name,
                    block=block.label,
                    method=coordinates.get("method") or block.method or block.label,
                    coordinates=coordinates,
                    recipe=seeded,
                    fingerprint=fingerprint(seeded),
                    configuration_id=configuration,
                )

    def _override(self, recipe: "Recipe", path: str, value: object, where: str) -> "Recipe":
        from quantlab.recipe import override

        try:
            return override(recipe, path, value)
        except ConfigurationError as error:
            raise ConfigurationError(f"sweep {self.name}, {where}: {error}") from error
        except Exception as error:  # the user's classes may raise anything
            raise ConfigurationError(
                f"sweep {self.name}, {where}: path {path!r}: {described(error)}"
            ) from error


def _culprit(block: Block, labels: Sequence[tuple[str, object]]) -> str:
    """Name the value of a configuration that has no canonical form; empty if it is in the base."""
    from quantlab.canonical import canonical

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
