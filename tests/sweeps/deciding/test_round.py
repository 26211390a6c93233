"""Rounds of further trials: which are added, and that nothing else has an influence on them."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from quantlab import ConfigurationError
from sweeps.deciding.expectation import expected
from sweeps.deciding.record import grown, is_recorded, record, recorded
from sweeps.deciding.round import Round, round_of, with_dependants
from sweeps.selection.added import added_to, with_added
from sweeps.selection.part_of_sweep import with_seeds
from sweeps.selection.selected import selected
from sweeps.spec import Axis, Block, Cell, SweepSpec
from sweeps.storage import Storage, TrialState
from tests.quantlab.recipes import quantized, small_recipe
from tests.sweeps.trial_files import ended

MARGIN = 0.03
MOST = 8
RHO0 = Axis("rho0", "quantization.sharpness.rho0", (0.1, 1.0))
SWEEP = SweepSpec(
    name="made",
    base=small_recipe(),
    blocks=(
        Block("FP"),
        Block("PC", base=quantized(), axes=(RHO0,)),
        Block("PQ", base=quantized(batch_size=16), axes=(RHO0,)),
    ),
    seeds=(0, 1, 2),
)


def score(cell: Cell) -> float:
    """PC has no effect of rho0 and some noise; PQ is sensitive to it."""
    noise = Random(cell.fingerprint).gauss(0.0, 0.012)
    return 0.8 + noise - 0.3 * (cell.name.startswith("PQ rho0=1"))


def contrary(cell: Cell) -> float:
    """A seed that is good at one rho0 is bad at the other."""
    return 0.8 + 0.008 * (-1) ** (cell.seed + ("rho0=1" in cell.name))


def finish(cells: Iterable[Cell], storage: Storage, score: Callable[[Cell], float] = score) -> None:
    """Write the results of cells as if they had been trained."""
    for cell in cells:
        folder = storage.trial(cell.fingerprint)
        folder.make()
        value = score(cell)
        folder.result.write(ended(test_accuracy=value, validation_accuracy=value, classes=10))


def loaded(storage: Storage, sweep: SweepSpec = SWEEP) -> SweepSpec:
    """The sweep as a command loads it."""
    known = recorded(sweep.name, storage)
    return selected(sweep, added=lambda name: None if known is None else known.added)[0]


def next_round(storage: Storage, sweep: SweepSpec | None = None) -> Round:
    """What one command does between two rounds."""
    found = round_of(sweep or loaded(storage), storage, MARGIN, MOST)
    record("made", storage, margin=3.0, most_seeds=MOST, added=found.added)
    return found


def until_decided(storage: Storage, trained: Callable[[list[Cell]], list[Cell]]) -> Round:
    """All rounds; each time, some of the trials that are due are trained, and then all is lost."""
    finish(SWEEP.cells, storage)
    for _ in range(200):
        found = next_round(storage)
        due = [cell for cell in found.sweep.cells if cell.fingerprint in found.order]
        if not due:
            return found
        finish(trained(due), storage)
    raise AssertionError("the rounds have no end")


def test_open_questions_get_the_next_seeds_and_the_others_none(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    finish(SWEEP.cells, storage)
    found = next_round(storage)
    assert [one.about for one in found.decisions if one.is_decided] == ["ρ0 of PQ on ternary"]
    assert {one.name for one in found.added} == {
        f"{name} seed={seed}"
        for name in ("PC rho0=0.1", "PC rho0=1", "PQ rho0=0.1")
        for seed in (3, 4)
    }
    of_all_seeds = {cell.fingerprint: cell.name for cell in with_seeds(SWEEP, (3, 4)).cells}
    assert all(of_all_seeds[one.fingerprint] == one.name for one in found.added)
    reasons = {one.name: one.reason for one in found.added}
    assert reasons["PQ rho0=0.1 seed=3"] == "PC and PQ on ternary"
    assert "ρ0 of PC on ternary" in reasons["PC rho0=0.1 seed=3"]
    nearest = found.waiting(MOST)[0].question
    configurations = {cell.fingerprint: cell.configuration_id for cell in found.sweep.cells}
    first = found.order[: 2 * len(nearest.configurations)]
    assert {configurations[name] for name in first} == set(nearest.configurations)


def test_a_command_that_is_killed_again_and_again_decides_as_one_that_is_not(
    tmp_path: Path,
) -> None:
    """Any part of the trials of a round may have ended, in any order, when the next begins."""
    random = Random(1)

    def some(due: list[Cell]) -> list[Cell]:
        return random.sample(due, random.randint((len(due) + 1) // 2, len(due)))

    at_once = until_decided(Storage(tmp_path / "whole"), lambda due: due)
    in_parts = until_decided(Storage(tmp_path / "killed"), some)
    for name in ("answer", "is_decided", "seeds", "estimate", "low", "high"):
        values = [[getattr(one, name) for one in found.decisions] for found in (at_once, in_parts)]
        assert values[0] == values[1]
    assert set(added_to(at_once.sweep) or {}) == set(added_to(in_parts.sweep) or {})


def test_every_command_finds_the_added_trials_as_those_of_the_sweep(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    assert not is_recorded("made", storage)
    finish(SWEEP.cells, storage)
    first = next_round(storage)
    again = next_round(storage)  # by another command, before anything was trained
    assert again.added == ()
    assert again.order == first.order
    sweep = loaded(storage)
    assert len(sweep.cells) == len(SWEEP.cells) + len(first.added)
    part, _ = selected(SWEEP, only=["seed=3,method=PC"], added=lambda name: first.added)
    assert [cell.name for cell in part.cells] == ["PC rho0=0.1 seed=3", "PC rho0=1 seed=3"]
    assert set(added_to(part) or {}) >= {cell.fingerprint for cell in part.cells}
    exact, _ = selected(SWEEP, seeds="0-1", added=lambda name: first.added)
    assert {cell.seed for cell in exact.cells} == {0, 1}


def test_added_trials_of_an_edited_sweep_are_not_its_trials_any_more(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    finish(SWEEP.cells, storage)
    next_round(storage)
    base = small_recipe(epochs=7)
    changed = replace(SWEEP, base=base, blocks=tuple(_longer(block) for block in SWEEP.blocks))
    assert list(loaded(storage, changed).cells) == list(changed.cells)
    more = replace(SWEEP, seeds=(0, 1, 2, 3))
    sweep = loaded(storage, more)
    assert {cell.seed for cell in sweep.cells if cell.fingerprint in (added_to(sweep) or {})} == {4}


def _longer(block: Block) -> Block:
    return replace(block, base=block.base and replace(block.base, epochs=7))


def test_trials_of_changed_settings_have_additions_of_their_own(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    setting = "batch_size=32"
    changed, _ = selected(SWEEP, settings=[setting], only=["method=PC"])
    finish(changed.cells, storage)
    found = round_of(changed, storage, MARGIN, MOST)
    record(changed.name, storage, margin=3.0, most_seeds=MOST, added=found.added)
    assert recorded("made", storage) is None
    known = recorded("made-batch_size-32", storage)
    assert known is not None
    again, _ = selected(
        SWEEP, settings=[setting], only=["method=PC"], added=lambda name: known.added
    )
    assert {cell.fingerprint for cell in again.cells} == {
        cell.fingerprint for cell in found.sweep.cells
    }


def test_networks_that_added_trials_need_are_added_too(tmp_path: Path) -> None:
    """Students of a further seed have the teacher of that seed."""
    full = small_recipe()
    sweep = SweepSpec(
        name="made",
        base=full,
        blocks=(
            Block("FP"),
            Block("PC", base=quantized(batch_size=16), starts_from=full, axes=(RHO0,)),
        ),
        seeds=(0, 1, 2),
    )
    storage = Storage(tmp_path)
    finish(sweep.cells, storage, contrary)
    found = next_round(storage, sweep)
    names = [one.name for one in found.added]
    assert names[:2] == ["FP seed=3", "FP seed=4"]
    added = {one.fingerprint for one in found.added}
    children = [cell for cell in found.sweep.cells if cell.parents and cell.seed > 2]
    assert len(children) == 4
    assert all(set(cell.parents) <= added for cell in children)
    (failed,) = (one for one in found.sweep.cells if one.name == "FP seed=3")
    lost = with_dependants({failed.fingerprint}, found.sweep.cells)
    assert lost - {failed.fingerprint} == {one.fingerprint for one in children if one.seed == 3}
    assert with_dependants({children[0].fingerprint}, found.sweep.cells) == {
        children[0].fingerprint
    }
    _, data = expected(sweep, storage, MARGIN, MOST)
    assert 0 < data["expected_trials"] <= data["most_trials"]
    same = with_added(sweep, found.added)
    assert {cell.fingerprint for cell in same.cells} == {
        cell.fingerprint for cell in found.sweep.cells
    }


def test_added_trials_outlive_a_change_of_the_file_that_was_undone(tmp_path: Path) -> None:
    """The record has trials of the same names with either recipe."""
    storage = Storage(tmp_path)
    blocks = tuple(
        replace(block, base=replace(block.base or SWEEP.base, epochs=7)) for block in SWEEP.blocks
    )
    edited = replace(SWEEP, blocks=blocks)
    rounds = []
    for sweep in (SWEEP, edited):
        finish(sweep.cells, storage, contrary)
        rounds.append(next_round(storage, sweep))
    for sweep, found in zip((SWEEP, edited), rounds, strict=True):
        assert found.added
        assert added_to(grown(sweep, storage)) == {
            trial.fingerprint: trial.reason for trial in found.added
        }


def fine_tuned(*blocks: Block) -> SweepSpec:
    """Trials that start from those of their seed in full precision, and these if they are given."""
    base = quantized(batch_size=16)
    child = Block("PC", base=base, starts_from=small_recipe(), axes=(RHO0,))
    return SweepSpec(name="made", base=small_recipe(), blocks=(*blocks, child), seeds=(0, 1, 2))


def test_added_trials_of_changed_settings_start_from_changed_trials(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    sweep = fine_tuned(Block("FP"))
    changed, _ = selected(sweep, settings=["epochs=7"])
    finish(changed.cells, storage, contrary)
    found = round_of(changed, storage, MARGIN, MOST)
    assert [one.name for one in found.added][:2] == ["FP seed=3", "FP seed=4"]
    recipes = {cell.fingerprint: cell.recipe for cell in found.sweep.cells}
    children = [cell for cell in found.sweep.cells if cell.block == "PC"]
    assert len(children) == 2 * 5
    for cell in children:
        (parent,) = cell.parents
        assert (recipes[parent].epochs, recipes[parent].seed) == (7, cell.seed)
    again, _ = selected(sweep, settings=["epochs=7"], added=lambda name: found.added)
    assert {cell.fingerprint for cell in again.cells} == set(recipes)
    alone, _ = selected(sweep, settings=["initial_weights=None"], only=["block=PC"])
    finish(alone.cells, storage, contrary)
    found = round_of(alone, storage, MARGIN, MOST)
    assert len(found.added) == 4
    assert not any(cell.parents for cell in found.sweep.cells)


def test_seeds_of_which_the_networks_are_nowhere_are_refused_before_they_are_added(
    tmp_path: Path,
) -> None:
    storage = Storage(tmp_path)
    sweep = fine_tuned()
    finish(sweep.cells, storage, contrary)
    with pytest.raises(ConfigurationError, match=r"'PC rho0=0.1 seed=3' would need the network"):
        next_round(storage, sweep)
    assert not is_recorded("made", storage)
    others = with_seeds(replace(SWEEP, blocks=(Block("FP"),)), (3, 4))
    finish(others.cells, storage)  # by another sweep
    assert len(next_round(storage, sweep).added) == 4


def test_a_failed_trial_holds_back_its_own_questions_only(tmp_path: Path) -> None:
    from sweeps.worker.trial_writer import record_failure

    storage = Storage(tmp_path)
    finish(SWEEP.cells, storage)
    found = next_round(storage)
    due = [cell for cell in found.sweep.cells if cell.fingerprint in found.order]
    failing = next(cell for cell in due if cell.name == "PC rho0=1 seed=3")
    finish([cell for cell in due if cell is not failing], storage)
    folder = storage.trial(failing.fingerprint)
    folder.make()
    record_failure(folder, "broken")
    assert folder.state() is TrialState.FAILED
    later = next_round(storage)
    assert [one.seeds for one in later.decisions if one.about == "ρ0 of PC on ternary"] == [3]
    comparison = next(one for one in later.decisions if one.about == "PC and PQ on ternary")
    assert comparison.seeds == 5
    assert failing.fingerprint in later.order


def test_a_plan_says_what_is_expected_and_what_is_the_most(tmp_path: Path) -> None:
    """With up to 40 seeds, the last look has 27, which are 24 more than the sweep has."""
    storage = Storage(tmp_path)
    sweep, data = expected(SWEEP, storage, MARGIN, 40)
    assert len(sweep.cells) == len(SWEEP.cells)
    assert (data["expected_trials"], data["most_trials"]) == (None, 4 * 24)
    finish(SWEEP.cells, storage)
    sweep, data = expected(SWEEP, storage, MARGIN, 40)
    assert data["expected_trials"] == len(sweep.cells) - len(SWEEP.cells)
    assert (data["questions"], data["decided"]) == (3, 1)
    assert 0 < data["expected_trials"] <= data["most_trials"] == 3 * 24
    assert data["lines"][0] == (
        "--until-decided: 1 of 3 questions are decided; about "
        f"{data['expected_trials']} added trials are expected; at most 72 trials are added, for up "
        "to 40 seeds."
    )


def test_a_plan_of_a_sweep_that_asks_nothing_says_so(tmp_path: Path) -> None:
    sweep = replace(SWEEP, blocks=SWEEP.blocks[:1])
    storage = Storage(tmp_path)
    finish(sweep.cells, storage)
    _, data = expected(sweep, storage, MARGIN, MOST)
    assert data["lines"] == [
        "--until-decided: the sweep has no question: no method with several ρ0, and no two methods "
        "on a set."
    ]


def test_a_page_that_is_open_sees_trials_that_are_added_later(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    finish(SWEEP.cells, storage)
    assert grown(SWEEP, storage) is SWEEP
    found = next_round(storage)
    later = grown(SWEEP, storage)
    assert {cell.name for cell in later.cells} == {cell.name for cell in found.sweep.cells}
    assert grown(later, storage) is later
