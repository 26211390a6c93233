"""Cell: one trial of a sweep, and what is known of it without its recipe."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from quantlab import Recipe

T = TypeVar("T")


def fact(function: Callable[[Any], T]) -> Callable[[Any], T]:
    """Compute a function of a cell once, and keep its value in `Cell.facts`.

    The value must depend on the cell alone, and not on files. It must be of the types that JSON
    has: lists and not tuples. The outlines of sweeps store it (see `sweeps.outlines`), so that a
    later command has the value without torch.

    Args:
        function: a function of a cell.
    """
    name = f"{function.__module__}.{function.__qualname__}"

    @wraps(function)
    def of(cell: Any) -> T:
        if name not in cell.facts:
            cell.facts[name] = function(cell)
        value: T = cell.facts[name]
        return value

    return of


@dataclass(frozen=True)
class Cell:
    """A cell of the grid of a sweep, which is one trial."""

    sweep: str
    """Name of the sweep."""
    block: str
    """Label of the block."""
    method: str
    """Name of the method in tables."""
    coordinates: Mapping[str, str]
    """Axis name -> label."""
    recipe: "Recipe"
    fingerprint: str
    """Identity of the recipe, and so of the trial."""
    configuration_id: str
    """Identity of the recipe without its seed."""
    resources: Mapping[str, float] = field(default_factory=dict, compare=False)
    """What the trial needs of its machine; see `sweeps.block.resources_of`."""
    knobs: Mapping[str, str] = field(default_factory=dict, compare=False)
    """Name of each axis that is a knob -> its scale and range, as `analysis.knobs.knob.Knob.text`
    writes them."""
    facts: dict[str, Any] = field(init=False, default_factory=dict, compare=False, repr=False)
    """Values of functions of the cell; see `fact`."""

    @property
    @fact
    def seed(self) -> int:
        """Seed of the recipe."""
        return self.recipe.seed

    @property
    def name(self) -> str:
        """Name in messages and MLflow, such as ``PC ternary rho0=0.01 seed=0``."""
        axes = [
            label if name == "set" else f"{name}={label}"
            for name, label in self.coordinates.items()
            if name != "method"
        ]
        first = self.method if "method" in self.coordinates else self.block
        return " ".join([first, *axes, f"seed={self.seed}"])

    @property
    @fact
    def starts_from(self) -> str | None:
        """Fingerprint of the trial from whose network this one starts; None if there is none."""
        return _trial_of(self.recipe.initial_weights)

    @property
    @fact
    def taught_by(self) -> str | None:
        """Fingerprint of the trial whose network is the teacher; None if there is none."""
        return _trial_of(self.recipe.distillation and self.recipe.distillation.teacher)

    @property
    def parents(self) -> tuple[str, ...]:
        """Fingerprints of the trials whose networks this one needs, each once."""
        needed = (self.starts_from, self.taught_by)
        return tuple(dict.fromkeys(parent for parent in needed if parent is not None))


def _trial_of(weights: object) -> str | None:
    """Return the fingerprint of the trial that has the weights; None if no trial has them."""
    from quantlab.initial_weights import TrialWeights

    return weights.fingerprint if isinstance(weights, TrialWeights) else None
