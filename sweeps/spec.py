"""SweepSpec: a sweep as a value, and its expansion into cells with unique fingerprints."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product

from quantlab import ConfigurationError, Recipe, configuration_id, fingerprint, override
from quantlab.initial_weights import TrialWeights


@dataclass(frozen=True)
class Axis:
    """One direction of a grid: a field of the recipe, and the values it takes."""

    name: str
    """The axis in names, tags and tables, such as ``"set"`` or ``"rho0"``."""
    path: str
    """Dotted path of the recipe's field, such as ``"quantization.sharpness.rho0"``."""
    values: Mapping[str, object] | Sequence[float | int | str]
    """Label -> value; for plain numbers and strings a sequence is enough."""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.-]*", self.name):
            raise ConfigurationError(
                f"axis {self.name!r}: the name must be letters, digits, '_', '-' and '.'"
            )
        if isinstance(self.values, str) or len(self.values) == 0:
            raise ConfigurationError(
                f"axis {self.name!r}: values = {self.values!r}: must be a mapping or a sequence, "
                "with at least one value"
            )
        if len(self.labelled) < len(self.values):
            raise ConfigurationError(
                f"axis {self.name!r}: a value stands there twice: {tuple(self.values)}"
            )

    @property
    def labelled(self) -> dict[str, object]:
        """Label -> value."""
        if isinstance(self.values, Mapping):
            return dict(self.values)
        return {_label(value): value for value in self.values}


def _label(value: float | int | str) -> str:
    """Short where that says it all: ``0.01``, ``1e-06``."""
    if isinstance(value, str):
        return value
    short = f"{value:g}"
    return short if float(short) == value else repr(float(value))


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
        if not self.name or not self.name.replace("_", "").replace("-", "").isalnum():
            raise ConfigurationError(
                f"SweepSpec.name = {self.name!r}: must be letters, digits, '-' and '_'"
            )
        if not self.blocks or not self.seeds:
            raise ConfigurationError(f"sweep {self.name}: needs at least one block and one seed")
        for what, items in (
            ("block label", [block.label for block in self.blocks]),
            ("seed", list(self.seeds)),
        ):
            if len(set(items)) < len(items):
                raise ConfigurationError(f"sweep {self.name}: a {what} stands there twice: {items}")
        for block in self.blocks:
            where = f"sweep {self.name}, block {block.label!r}"
            if block.base is None and self.base is None:
                raise ConfigurationError(f"{where}: base = None, and the sweep has none either")
            if block.seeds is not None and len(set(block.seeds)) != max(1, len(block.seeds)):
                raise ConfigurationError(
                    f"{where}: seeds = {block.seeds}: must be one or more, each once"
                )

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
            except TypeError as error:
                raise ConfigurationError(
                    f"sweep {self.name}, block {block.label!r}: {error}"
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
