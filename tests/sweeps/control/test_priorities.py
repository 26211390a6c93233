"""The order of trials, and those that a budget of trials chooses."""

from dataclasses import replace
from pathlib import Path

import pytest

from quantlab import ConfigurationError
from sweeps.control.budget import Budget
from sweeps.control.priorities import priorities_of, within_budget
from sweeps.running.cell_queue import CellQueue
from sweeps.spec import Block, Cell, SweepSpec
from sweeps.storage import Storage, TrialState
from tests.quantlab.recipes import small_recipe
from tests.sweeps.running.test_cell_queue import SWEEP


def order(sweep: SweepSpec, folder: Path, *first: str) -> list[str]:
    """The blocks of a sweep in the order in which its trials are trained, one at a time."""
    priorities = priorities_of(sweep, sweep.cells, first)
    queue = CellQueue(sweep.cells, Storage(folder), priorities=priorities)
    found = []
    while cells := queue.next():
        (cell,) = cells
        found.append(cell.block)
        queue.ended(cell, TrialState.COMPLETE)
    assert queue.is_over
    return found


def prior(sweep: SweepSpec, **priorities: int) -> SweepSpec:
    """The sweep with other priorities of its blocks."""
    blocks = (replace(one, priority=priorities.get(one.label, 0)) for one in sweep.blocks)
    return replace(sweep, blocks=tuple(blocks))


def test_blocks_of_a_higher_priority_come_first_with_those_that_they_need(tmp_path: Path) -> None:
    assert order(SWEEP, tmp_path) == ["parent", "child", "alone", "child", "grandchild"]
    alone_first = order(prior(SWEEP, alone=1), tmp_path)
    assert alone_first == ["alone", "parent", "child", "child", "grandchild"]
    both = order(prior(SWEEP, grandchild=2, alone=1), tmp_path)
    assert both == ["parent", "child", "grandchild", "alone", "child"]
    late = order(prior(SWEEP, child=-1), tmp_path)  # but the grandchild needs one of them
    assert late == ["parent", "child", "alone", "grandchild", "child"]


def test_first_has_precedence_over_blocks_and_the_earlier_over_the_later(tmp_path: Path) -> None:
    labels = ("a", "b", "c")
    blocks = tuple(
        Block(label, base=small_recipe(batch_size=10 + place)) for place, label in enumerate(labels)
    )
    sweep = SweepSpec(name="three", blocks=blocks, seeds=(0, 1))
    urgent = prior(sweep, b=5)
    assert order(urgent, tmp_path) == ["b", "b", "a", "a", "c", "c"]
    assert order(urgent, tmp_path, "block=c") == ["c", "c", "b", "b", "a", "a"]
    assert order(urgent, tmp_path, "seed=1,block=a", "block=c") == ["a", "c", "c", "b", "b", "a"]


def test_conditions_that_no_trial_fulfils_are_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"^--first block=x: no trial of sweep family has"):
        priorities_of(SWEEP, SWEEP.cells, ["block=x"])
    with pytest.raises(ConfigurationError, match=r"^--first block=x: no trial"):
        within_budget(SWEEP, SWEEP.cells, None, ["block=x"])  # before the number of trials is told
    with pytest.raises(ConfigurationError, match=r"^--first fast: 'fast' is no condition"):
        priorities_of(SWEEP, SWEEP.cells, ["fast"])


@pytest.mark.parametrize("priority", [1.5, "1", True, None])
def test_a_priority_is_an_integer(priority: object) -> None:
    with pytest.raises(ConfigurationError, match=r"^block 'a': priority = .*: must be an integer"):
        Block("a", priority=priority)  # type: ignore[arg-type]


def chosen(most: int, *, unfinished: tuple[Cell, ...] = SWEEP.cells, first: str = "") -> list[str]:
    budget = Budget.parse(f"{most}trials")
    cells = within_budget(SWEEP, unfinished, budget, [first] if first else [])
    return [cell.block for cell in cells]


def test_a_budget_of_trials_counts_the_finished_and_chooses_parents_too() -> None:
    assert chosen(1, first="block=grandchild") == ["parent"]
    assert chosen(3, first="block=grandchild") == ["child", "grandchild", "parent"]
    assert chosen(5) == [cell.block for cell in SWEEP.cells]
    rest = tuple(cell for cell in SWEEP.cells if cell.block != "parent")
    assert chosen(1, unfinished=rest) == []
    assert chosen(2, unfinished=rest) == ["alone"]
    failed = within_budget(SWEEP, rest, Budget.parse("1trials"), num_failed=1)
    assert [cell.block for cell in failed] == ["alone"]
    assert len(within_budget(SWEEP, rest, None)) == 4
    assert len(within_budget(SWEEP, rest, Budget.parse("1h"))) == 4


@pytest.mark.parametrize("text", ["200", "h", "0h", "-1h", "1.5trials", "3 weeks", "1e9999h", ""])
def test_other_budgets_are_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="must be a number > 0 of days, hours, minutes"):
        Budget.parse(text)


def test_a_budget_says_what_it_is() -> None:
    assert [str(Budget.parse(text)) for text in ("200h", "5d", "90min", "50trials")] == [
        "200.0 h",
        "120.0 h",
        "1.5 h",
        "50 trials",
    ]
