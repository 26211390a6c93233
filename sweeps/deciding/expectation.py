"""Expectation: what a sweep that is run until decided is expected to need."""

from collections import Counter
from typing import Any

from analysis.deciding.looks import last_seeds
from sweeps.coordinates import level_set
from sweeps.deciding.progress import NO_QUESTION, named
from sweeps.deciding.round import Round, first_free_seed, further_seeds, round_of
from sweeps.selection.added import (
    configuration_name,
    own_cells,
    parents_with_seeds,
    with_seeds_of,
)
from sweeps.selection.part_of_sweep import PartOfSweep
from sweeps.spec import SweepSpec
from sweeps.storage.folder import Storage
from sweeps.storage.trial_states import states_of


def expected(
    sweep: SweepSpec, storage: Storage, margin: float, most: int
) -> tuple[PartOfSweep, dict[str, Any]]:
    """Return a sweep with the trials that it is expected to need, and what is expected.

    Before the first looks, nothing can be expected, and the sweep gets no further trials.

    Args:
        sweep: the sweep, with the trials that were added to it.
        storage: the storage of its trials.
        margin: share, see `analysis.metric.Metric.margin`.
        most: largest number of seeds of a question.

    Returns:
        The sweep, and JSON data: ``questions``, ``decided`` and ``unfinished`` (before their first
        look) are numbers of questions, ``expected_trials`` is the number of trials to add, null if
        it is unknown, ``most_trials`` the largest number that can be added, and ``lines`` says it
        in sentences.

    Raises:
        ConfigurationError: see `round_of`.
    """
    found = round_of(sweep, storage, margin, most, at_once=True)
    unfinished = [one for one in found.open if not one.seeds]
    has_trials = len(unfinished) < len(found.decisions)
    data: dict[str, Any] = {
        "questions": len(found.decisions),
        "decided": len(found.decisions) - len(found.open),
        "unfinished": len(unfinished),
        "expected_trials": len(found.added) if has_trials else None,
        "most_trials": _most(found, sweep, storage, most),
        "most_seeds": most,
    }
    return found.sweep, {**data, "lines": _lines(found, data)}


def _most(found: Round, sweep: SweepSpec, storage: Storage, most: int) -> int:
    """Return how many trials can be added at most.

    As long as trials of the sweep itself have not finished, any configuration may turn out to be
    the one that is compared.
    """
    start, cells = first_free_seed(sweep), own_cells(sweep)
    wanted = {
        (configuration, seed)
        for one in found.open
        for seed in further_seeds(one, start, last_seeds(len(one.question.first), most))
        for configuration in one.question.configurations
    }
    states = states_of(cells, storage)
    if not all(state.is_finished for state in states.values()):
        count = Counter(cell.configuration_id for cell in cells if level_set(cell))
        for configuration, first in count.items():
            last = max(last_seeds(first, most), first)
            wanted |= {(configuration, seed) for seed in range(start, start + last - first)}
    names = {cell.configuration_id: configuration_name(cell.name) for cell in sweep.cells}
    seeds: dict[str, list[int]] = {}
    known = {(cell.configuration_id, cell.seed) for cell in sweep.cells}
    for configuration, seed in sorted(wanted - known):
        seeds.setdefault(names[configuration], []).append(seed)
    new = with_seeds_of(sweep, seeds)
    return len(new) + len(parents_with_seeds(sweep, new))


def _lines(found: Round, data: dict[str, Any]) -> list[str]:
    """Return sentences on what is expected."""
    added = "1 trial is" if data["most_trials"] == 1 else f"{data['most_trials']} trials are"
    at_most = f"at most {added} added, for up to {data['most_seeds']} seeds"
    if not found.decisions and not data["most_trials"]:
        return [f"--until-decided: the sweep {NO_QUESTION}."]
    if data["unfinished"] == len(found.decisions):
        return [f"--until-decided: nothing was looked at yet; {at_most}."]
    first = f"--until-decided: {data['decided']} of {data['questions']} questions are decided"
    if not found.open:
        return [f"{first}."]
    lines = [f"{first}; about {data['expected_trials']} added trials are expected; {at_most}."]
    unlikely = [one for one in found.open if one.expected_seeds is None]
    if unlikely:
        lines.append(f"Not expected within {data['most_seeds']} seeds: {named(unlikely)}.")
    return lines
