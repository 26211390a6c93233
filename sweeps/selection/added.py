"""Trials that were added to a sweep: further seeds of some of its configurations."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from sweeps.selection.part_of_sweep import PartOfSweep, needed_by, part_of, report_name
from sweeps.spec import Block, Cell, SweepSpec


@dataclass(frozen=True, kw_only=True)
class AddedTrial:
    """A trial that was added to a sweep."""

    fingerprint: str
    name: str
    """Its name in the sweep, such as ``PC ternary rho0=0.01 seed=3``."""
    reason: str
    """The questions for which it was added, or the trials that need its network."""

    @property
    def configuration(self) -> str:
        """Its name without the seed."""
        return configuration_name(self.name)

    @property
    def seed(self) -> int:
        """Its seed."""
        return int(self.name.rpartition(" seed=")[2])


def configuration_name(name: str) -> str:
    """Return the name of a trial without its seed."""
    return name.rpartition(" seed=")[0]


def own_cells(sweep: SweepSpec) -> list[Cell]:
    """Return the trials of a sweep without those that were added to it."""
    added = added_to(sweep) or {}
    return [cell for cell in sweep.cells if cell.fingerprint not in added]


def added_to(sweep: SweepSpec) -> Mapping[str, str] | None:
    """Return the trials that were added to a sweep: fingerprint -> reason.

    Returns:
        The trials; None if the sweep was never run until decided.
    """
    return sweep.added if isinstance(sweep, PartOfSweep) else None


def with_added(
    sweep: SweepSpec, added: Iterable[AddedTrial], *, is_changed: bool = False
) -> PartOfSweep:
    """Return a sweep with the trials that were added to it.

    Args:
        sweep: the sweep, of which the blocks have recipes.
        added: the trials. Those of configurations that the sweep does not have, or not with this
            recipe, are left out.
        is_changed: whether the recipes are about to be changed, so that any of them may be meant.
    """
    reasons_of: dict[str, dict[str, str]] = {}  # with other recipes before a file was changed
    seeds: dict[str, dict[int, None]] = {}
    for trial in added:
        reasons_of.setdefault(trial.name, {})[trial.fingerprint] = trial.reason
        seeds.setdefault(trial.configuration, {})[trial.seed] = None
    cells = [
        cell
        for cell in with_seeds_of(sweep, seeds)
        if is_changed or cell.fingerprint in reasons_of[cell.name]
    ]
    reasons = {}
    for cell in cells:
        known = reasons_of[cell.name]
        reasons[cell.fingerprint] = known.get(cell.fingerprint, [*known.values()][-1])
    return extended(sweep, cells, reasons)


def extended(sweep: SweepSpec, further: Iterable[Cell], reasons: Mapping[str, str]) -> PartOfSweep:
    """Return a sweep with further cells, after its own.

    Args:
        sweep: the sweep.
        further: the cells; those that it has are left out.
        reasons: fingerprint of a cell -> why it was added.
    """
    known = {cell.fingerprint for cell in sweep.cells}
    new = {cell.fingerprint: cell for cell in further if cell.fingerprint not in known}
    before = added_to(sweep) or {}
    part = part_of(sweep, [*sweep.cells, *new.values()], report_name(sweep))
    return replace(part, added={**before, **{name: reasons[name] for name in new}})


def with_seeds_of(sweep: SweepSpec, seeds: Mapping[str, Iterable[int]]) -> list[Cell]:
    """Return trials of configurations of a sweep with other seeds.

    Args:
        sweep: the sweep, of which the blocks have recipes.
        seeds: name of a configuration, see `configuration_name` -> seeds.
    """
    blocks = {block.label: block for block in sweep.blocks}
    first: dict[str, Cell] = {}
    for cell in sweep.cells:
        first.setdefault(configuration_name(cell.name), cell)
    return [
        _with_seed(cell, blocks[cell.block], seed)
        for name, cell in first.items()
        for seed in seeds.get(name, ())
    ]


def parents_with_seeds(sweep: SweepSpec, cells: Iterable[Cell]) -> list[Cell]:
    """Return the trials with the seeds of further cells whose networks these need.

    Args:
        sweep: the sweep, of which the blocks have recipes.
        cells: further cells of it.
    """
    cells = list(cells)
    known = {cell.fingerprint for cell in (*sweep.cells, *cells)}
    if all(parent in known for cell in cells for parent in cell.parents):
        return []
    names = {configuration_name(cell.name) for cell in sweep.cells}
    others = with_seeds_of(sweep, dict.fromkeys(names, sorted({cell.seed for cell in cells})))
    return [cell for cell in needed_by(cells, others) if cell.fingerprint not in known]


def _with_seed(cell: Cell, block: Block, seed: int) -> Cell:
    from quantlab.canonical import fingerprint
    from quantlab.recipe import override

    recipe = override(cell.recipe, "seed", seed)
    if block.starts_from is not None:
        recipe = override(recipe, "initial_weights", None)
    recipe = block.joined(recipe, fingerprint)
    return replace(cell, recipe=recipe, fingerprint=fingerprint(recipe))
