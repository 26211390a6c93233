"""PartOfSweep: some trials of a sweep, as a sweep."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property

from sweeps.spec import Cell, SweepSpec


@dataclass(frozen=True, kw_only=True)
class PartOfSweep(SweepSpec):
    """Some trials of a sweep; its blocks are those that have one of them."""

    trials: tuple[Cell, ...]
    report: str
    """Name of the report on these trials, so that it does not replace that on the whole sweep."""
    added: Mapping[str, str] | None = None
    """Fingerprint of a trial that was added to those of the sweep -> why; None if the sweep was
    never run until decided. See `sweeps.selection.added`."""

    def __post_init__(self) -> None:
        """Check nothing: the parts are those of a sweep, and an outline has no recipes."""

    @cached_property
    def cells(self) -> tuple[Cell, ...]:
        """The trials of this part."""
        return self.trials


def part_of(sweep: SweepSpec, trials: Sequence[Cell], report: str) -> PartOfSweep:
    """Return some trials of a sweep as a sweep.

    Args:
        sweep: the sweep.
        trials: its trials, at least one.
        report: name of the report on them.
    """
    values = {item.name: getattr(sweep, item.name) for item in fields(SweepSpec)}
    labels = {cell.block for cell in trials}
    values["blocks"] = tuple(block for block in sweep.blocks if block.label in labels)
    added = sweep.added if isinstance(sweep, PartOfSweep) else None
    return PartOfSweep(**values, trials=tuple(trials), report=report, added=added)


def report_name(sweep: SweepSpec) -> str:
    """Return the name of the report on a sweep, and of its folder."""
    return sweep.report if isinstance(sweep, PartOfSweep) else sweep.name


def with_seeds(sweep: SweepSpec, seeds: tuple[int, ...]) -> SweepSpec:
    """Return a sweep in which all configurations have the given seeds.

    Args:
        sweep: the sweep.
        seeds: the seeds, which blocks with seeds of their own take, too.

    Raises:
        ConfigurationError: see `SweepSpec`.
    """
    blocks = tuple(replace(block, seeds=None) for block in sweep.blocks)
    return replace(sweep, blocks=blocks, seeds=seeds)


def needed_by(trials: Iterable[Cell], others: Iterable[Cell]) -> list[Cell]:
    """Return trials whose networks the given ones need, and those that these need, and so on.

    Args:
        trials: the trials, none of which is returned.
        others: the trials to return some of, in their order.
    """
    known = {cell.fingerprint: cell for cell in others}
    start = {cell.fingerprint: cell for cell in trials}
    found: set[str] = set()
    rest = list(start.values())
    while rest:
        new = [one for one in rest.pop().parents if one in known and one not in found | set(start)]
        found |= set(new)
        rest += [known[one] for one in new]
    return [cell for fingerprint, cell in known.items() if fingerprint in found]
