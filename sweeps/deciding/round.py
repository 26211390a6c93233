"""Round: the answers to a sweep's questions so far, and the trials that the open ones need next."""

from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass
from itertools import count, islice

from analysis.deciding.decisions import Decision, decisions
from analysis.schema import Measurements, SchemaError
from quantlab import ConfigurationError
from sweeps.reporting.frames import trials_frame
from sweeps.reporting.metric import metric_of
from sweeps.selection.added import (
    AddedTrial,
    added_to,
    configuration_name,
    extended,
    parents_with_seeds,
    with_seeds_of,
)
from sweeps.selection.part_of_sweep import PartOfSweep
from sweeps.spec import Cell, SweepSpec
from sweeps.storage.folder import Storage
from sweeps.storage.trial_states import states_of


@dataclass(frozen=True)
class Round:
    """The state of a sweep's questions."""

    sweep: PartOfSweep
    """The sweep with the trials of this round."""
    decisions: tuple[Decision, ...]
    """All questions, in the order of the sweep."""
    added: tuple[AddedTrial, ...]
    """The trials that are new in it."""
    order: tuple[str, ...]
    """Fingerprints of the unfinished trials that its open questions wait for; those of the question
    whose answer is nearest are first."""

    @property
    def open(self) -> list[Decision]:
        """The questions that are not decided."""
        return [one for one in self.decisions if not one.is_decided]

    def waiting(self, most: int) -> list[Decision]:
        """The open questions that may get further seeds, those of the nearest answer first.

        Args:
            most: largest number of seeds of a question.
        """
        found = [one for one in self.open if one.next_seeds is not None and one.next_seeds <= most]
        return sorted(found, key=lambda one: one.distance)


def round_of(
    sweep: SweepSpec, storage: Storage, margin: float, most: int, *, at_once: bool = False
) -> Round:
    """Look at the questions of a sweep, and determine the trials of the next round.

    Each open question gets the seeds of its next look. That is a function of the results of its own
    trials only, so that every command on the storage, also one that starts later, finds the same.

    Args:
        sweep: the sweep, with the trials that were added to it.
        storage: the storage of its trials.
        margin: share, see `analysis.metric.Metric.margin`.
        most: largest number of seeds of a question.
        at_once: whether each question gets all seeds that it is expected to need, to plan with.

    Raises:
        ConfigurationError: trials have different main metrics, two configurations have the same
            columns, or a further seed needs a network that there is not.
    """
    if added_to(sweep) is None:
        sweep = extended(sweep, (), {})
    found = _decisions(sweep, storage, margin, most)
    names = {cell.configuration_id: configuration_name(cell.name) for cell in sweep.cells}
    start = first_free_seed(sweep)
    wanted: dict[tuple[str, int], list[Decision]] = {}
    waiting = [one for one in found if not one.is_decided]
    for one in sorted(waiting, key=lambda one: one.distance):
        until = one.expected_seeds if at_once else one.next_seeds
        if until is not None and until <= most:
            for seed in (*one.question.first, *further_seeds(one, start, until)):
                for configuration in one.question.configurations:
                    wanted.setdefault((names[configuration], seed), []).append(one)
    reasons = {key: _reason(for_) for key, for_ in wanted.items()}
    cells = _cells(sweep, wanted)
    states = states_of(cells, storage)
    known = {cell.fingerprint for cell in sweep.cells}
    new = [cell for cell in cells if cell.fingerprint not in known]
    parents = parents_with_seeds(sweep, new)
    _require_networks(new, {*known, *(cell.fingerprint for cell in (*parents, *new))}, storage)
    added = [
        *(_added(cell, "trials that need its network") for cell in parents),
        *(_added(cell, reasons[configuration_name(cell.name), cell.seed]) for cell in new),
    ]
    return Round(
        sweep=extended(sweep, [*parents, *new], {one.fingerprint: one.reason for one in added}),
        decisions=tuple(found),
        added=tuple(added),
        order=tuple(name for name, state in states.items() if not state.is_finished),
    )


def first_free_seed(sweep: SweepSpec) -> int:
    """Return the first whole number after all seeds of a sweep."""
    of_blocks = (block.seeds for block in sweep.blocks if block.seeds is not None)
    return max(seed for seeds in (sweep.seeds, *of_blocks) for seed in seeds) + 1


def further_seeds(one: Decision, start: int, until: int) -> list[int]:
    """Return the seeds of a question beyond those of the sweep: those that it has, then the next.

    Args:
        one: the question.
        start: see `first_free_seed`.
        until: number of seeds in all.
    """
    first = len(one.question.first)
    found = list(one.question.seeds[first:until])
    following = (seed for seed in count(start) if seed not in found)
    return [*found, *islice(following, max(until - first - len(found), 0))]


def _decisions(sweep: SweepSpec, storage: Storage, margin: float, most: int) -> list[Decision]:
    metric = metric_of(sweep.name, sweep.cells)
    try:
        measured = Measurements(trials_frame(sweep, storage), metric=metric)
    except SchemaError as error:
        raise ConfigurationError(f"sweep {sweep.name}: {error}") from error
    return decisions(measured.trials, metric, margin=margin, most=most)


def _cells(sweep: SweepSpec, wanted: Iterable[tuple[str, int]]) -> list[Cell]:
    """Return the cells of configurations and seeds, in their order; new ones are made."""
    known = {(configuration_name(cell.name), cell.seed): cell for cell in sweep.cells}
    missing: dict[str, list[int]] = {}
    for name, seed in wanted:
        if (name, seed) not in known:
            missing.setdefault(name, []).append(seed)
    made = with_seeds_of(sweep, missing)
    known |= {(configuration_name(cell.name), cell.seed): cell for cell in made}
    return [known[key] for key in wanted]


def _require_networks(new: Iterable[Cell], known: Set[str], storage: Storage) -> None:
    """Require the networks of further trials: none of these could be trained without them.

    Args:
        new: the further trials.
        known: fingerprints of all trials of the sweep, the further ones included.
        storage: the storage of the trials, which may have those of other sweeps.
    """
    for cell in new:
        for parent in cell.parents:
            if parent not in known and not storage.has_finished(parent):
                raise ConfigurationError(
                    f"--until-decided: {cell.name!r} would need the network of trial {parent}, "
                    "which is neither a trial of the sweep nor has finished in this storage; train "
                    f"that trial with seed {cell.seed} first, or make it one of the sweep"
                )


def _added(cell: Cell, reason: str) -> AddedTrial:
    return AddedTrial(fingerprint=cell.fingerprint, name=cell.name, reason=reason)


def _reason(questions: Sequence[Decision]) -> str:
    return "; ".join(one.about for one in questions)


def with_dependants(failed: Set[str], cells: Sequence[Cell]) -> set[str]:
    """Return trials that have failed, and all that need the network of one of them.

    Args:
        failed: fingerprints of the trials that have failed.
        cells: the trials of the sweep.
    """
    found = set(failed)
    while more := {
        cell.fingerprint
        for cell in cells
        if cell.fingerprint not in found and not found.isdisjoint(cell.parents)
    }:
        found |= more
    return found
