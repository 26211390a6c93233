"""Block: a part of a sweep, usually one method, with its own axes; and the published cost of it."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import combinations
from typing import TYPE_CHECKING, Any

from quantlab.errors import ConfigurationError, brief
from quantlab.plain_values import require_number
from sweeps.axis import Axis
from sweeps.labels import require_label
from sweeps.plain_values import MOST_VALUES, items_of, mapping_of, seeds_of

if TYPE_CHECKING:
    from quantlab import Recipe


MEMORY_GIB = "memory_gib"
"""The name of the memory of a process in `Block.resources`; in GiB, unlike Ray's ``memory``."""

_MEANT = {"memory": MEMORY_GIB, "cpu": "CPU", "gpu": "GPU", "num_cpus": "CPU", "num_gpus": "GPU"}
"""Names that have another meaning or none in Ray -> those that are meant."""


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
    priority: int = 0
    """Trials of a block with a higher priority are trained earlier, and so are the trials whose
    networks they need. It is no part of a recipe."""
    resources: Mapping[str, float] = field(default_factory=dict)
    """What each trial needs of its machine, such as ``{"accelerator_type:H100": 0.01}`` or
    ``{"memory_gib": 12}``; see `resources_of`. It is no part of a recipe."""

    def __post_init__(self) -> None:
        where = f"block {require_label(self.label, 'Block.label')!r}"
        for name in ("base", "starts_from", "taught_by"):
            require_recipe(getattr(self, name), f"{where}: {name}")
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
        if type(self.priority) is not int:
            raise ConfigurationError(
                f"{where}: priority = {brief(self.priority)}: must be an integer; trials with a "
                "higher one are trained earlier"
            )
        normal: dict[str, Any] = {
            "label": require_label(self.label, "Block.label"),
            "overrides": overrides,
            "axes": axes,
            "resources": resources_of(self.resources, f"{where}: resources"),
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


def resources_of(values: object, what: str) -> dict[str, float]:
    """Return what a trial needs of its machine, as numbers by their names in Ray.

    ``CPU`` and ``GPU`` replace the numbers of the command line; ``GPU`` is not used by trials that
    run on CPUs. ``memory_gib`` is the memory of each process in GiB. All others are resources that
    Ray finds, such as ``accelerator_type:H100``, or that `ray start --resources` gives a machine.

    Args:
        values: the mapping.
        what: name of the field, for the message.

    Raises:
        ConfigurationError: the value is not a mapping from names to numbers, a number is not
            possible, or another name is meant.
    """
    found: dict[str, float] = {}
    for name, value in mapping_of(values, what, "{'accelerator_type:H100': 0.01}").items():
        where = f"{what}[{name!r}] = {brief(value)}"
        if not name or name != "".join(name.split()):
            raise ConfigurationError(f"{where}: the name must be text without spaces")
        if name in _MEANT:
            raise ConfigurationError(f"{where}: write {_MEANT[name]!r} instead of {name!r}")
        is_number = type(value) in (int, float) and 0 < value <= MOST_VALUES
        if name == MEMORY_GIB:
            if not is_number:
                raise ConfigurationError(f"{where}: must be a number of GiB > 0")
        elif not is_number or (value != int(value) and not 1e-4 <= value < 1):
            raise ConfigurationError(f"{where}: must be an integer, or a fraction from 0.0001 to 1")
        elif name == "GPU" and value > 1:
            raise ConfigurationError(
                f"{where}: must be at most 1; --gpus-per-trial {value:g} trains each trial of a "
                "sweep on several GPUs"
            )
        found[name] = float(value)
    return found


def require_recipe(value: object, what: str) -> None:
    """Check that a value is a recipe or None.

    Raises:
        ConfigurationError: it is not; the message begins with `what`.
    """
    if value is not None:
        from quantlab.recipe import Recipe  # which imports torch, and outlines have no recipes

        _require_type(value, Recipe, what)


def _require_type(value: object, expected: type, what: str) -> None:
    if value is not None and not isinstance(value, expected):
        raise ConfigurationError(
            f"{what} = {brief(value)}: must be {expected.__name__}(...) or None, not "
            f"{type(value).__name__}"
        )
