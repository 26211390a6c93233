"""SweepSpec: a sweep, and its expansion into cells with unique fingerprints."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import TYPE_CHECKING

from quantlab.errors import ConfigurationError, described
from sweeps.axis import Axis as Axis
from sweeps.axis import Knob as Knob
from sweeps.block import Block as Block
from sweeps.block import PublishedCost as PublishedCost
from sweeps.block import require_recipe
from sweeps.cell import Cell as Cell
from sweeps.labels import require_label, require_name, require_text
from sweeps.plain_values import MOST_VALUES, items_of, seeds_of

if TYPE_CHECKING:
    from quantlab import Recipe


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
        require_recipe(self.base, f"{where}: base")
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
            start = overridden(start, path, value, f"sweep {self.name}, block {block.label!r}")
        for labels in product(*(axis.labelled.items() for axis in block.axes)):
            recipe = start
            for axis, (label, value) in zip(block.axes, labels, strict=True):
                where = f"block {block.label!r}, axis {axis.name!r}, value {label!r}"
                recipe = overridden(recipe, axis.path, value, f"sweep {self.name}, {where}")
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
            knobs = {axis.name: axis.knob.text for axis in block.axes if axis.knob is not None}
            for seed in self.seeds if block.seeds is None else block.seeds:
                seeded = overridden(recipe, "seed", seed, f"sweep {self.name}, seed {seed}")
                seeded = block.joined(seeded, fingerprint)
                yield Cell(
                    sweep=self.name,
                    block=block.label,
                    method=coordinates.get("method") or block.method or block.label,
                    coordinates=coordinates,
                    recipe=seeded,
                    fingerprint=fingerprint(seeded),
                    configuration_id=configuration,
                    resources=block.resources,
                    knobs=knobs,
                )


def overridden(recipe: "Recipe", path: str, value: object, where: str) -> "Recipe":
    """Return a recipe with another value at a path; its message begins with what asks for it.

    Args:
        recipe: the recipe.
        path: see `quantlab.override`.
        value: see `quantlab.override`.
        where: what asks for the value, such as ``"sweep mine, block 'PC'"``.

    Raises:
        ConfigurationError: the path names no field, or the value is not allowed there; also if a
            class of the user's raises another error.
    """
    from quantlab.recipe import override

    try:
        return override(recipe, path, value)
    except ConfigurationError as error:
        raise ConfigurationError(f"{where}: {error}") from error
    except Exception as error:  # the user's classes may raise anything
        raise ConfigurationError(f"{where}: path {path!r}: {described(error)}") from error


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
