"""What trials cost, by those that have finished, and how long they take on a machine."""

import platform
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from quantlab import ConfigurationError, Recipe, Stage, canonical_json
from quantlab.execution import Execution
from sweeps.placement.resources import Resources
from sweeps.placement.trial_memory import GIB
from sweeps.planning.costs.machine import Machine, this_machine
from sweeps.planning.costs.timing import Timing
from sweeps.planning.plan import describe, plan_of
from sweeps.spec import Block, PublishedCost, SweepSpec
from sweeps.storage import Storage
from tests.quantlab.recipes import quantized, small_recipe
from tests.sweeps.trial_files import ended, epoch

CPU = f"cpu ({platform.machine()})"


def sweep(*bases: Recipe, cost: PublishedCost | None = None) -> SweepSpec:
    blocks = tuple(Block(f"b{place}", base=base, cost=cost) for place, base in enumerate(bases))
    return SweepSpec(name="s", blocks=blocks, seeds=(0, 1))


def finish(storage: Storage, recipe: Recipe, *, steps: int = 7, **details: Any) -> None:
    """One trial, of 2 s an epoch and, in the second stage, 0.5 s."""
    cell = sweep(recipe).cells[0]
    folder = storage.trial(cell.fingerprint)
    folder.path.mkdir(parents=True)
    folder.recipe.write_text(canonical_json(cell.recipe))
    epochs = recipe.epochs + recipe.batchnorm_epochs
    for number in range(1, epochs + 1):
        is_first = number <= recipe.epochs
        stage = Stage.QUANTIZE if is_first else Stage.BATCHNORM
        seconds = 2.0 if is_first else 0.5
        record = epoch(number, step=steps * number, stage=stage, seconds=seconds)
        folder.append_history(record)
    where = {"device": CPU, "host": platform.node(), "training_images": 200}
    folder.result.write(ended(**({"epochs": epochs} | where | details)))


def seconds_per_trial(plan: dict[str, Any]) -> list[float | None]:
    return [row["hours_per_trial"] and 3600 * row["hours_per_trial"] for row in plan["costs"]]


def test_trials_of_another_length_are_scaled(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    short, long = quantized(), quantized(epochs=30, batchnorm_epochs=4)
    by_steps = quantized(steps_per_epoch=70)  # of 10 passes
    finish(storage, short)
    plan = plan_of(sweep(short, long, by_steps), storage, Machine(slots=2))
    assert seconds_per_trial(plan) == pytest.approx([3 * 2 + 2 * 0.5, 30 * 2 + 4 * 0.5, 10 * 7])
    scaled = f"scaled from 1 finished on {CPU}"
    assert [row["source"] for row in plan["costs"]] == [f"1 finished on {CPU}", scaled, scaled]
    # One of 7 s, two of 62 s and two of 70 s in two slots, in this order.
    assert plan["time"]["seconds"] == pytest.approx(7 + 62 + 70)
    assert "On this machine, the 5 trials take about 2.3 min, 2 at once." in describe(plan)


def test_epochs_of_steps_are_scaled_to_passes(tmp_path: Path) -> None:
    """The number of training images of the result says how many steps a pass has."""
    storage = Storage(tmp_path)
    finish(storage, quantized(steps_per_epoch=70), steps=70)
    (row,) = plan_of(sweep(quantized()), storage)["costs"]
    assert 3600 * row["hours_per_trial"] == pytest.approx((3 * 2 + 2 * 0.5) / 10)


def test_the_trials_most_alike_are_those_that_count(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    finish(storage, small_recipe(epochs=4), device="cuda (NVIDIA H200)")
    (row,) = plan_of(sweep(quantized()), storage)["costs"]
    assert row["source"] == "scaled from 1 finished on cuda (NVIDIA H200)"
    plan = plan_of(sweep(quantized()), storage)
    assert plan["time"]["seconds"] is None  # a CPU is not a GPU
    assert "--time measures" in describe(plan)
    assert "How long the trial takes here is unknown" in describe({**plan, "to_run": 1})
    gpu = Machine(device="cuda", slots=1)
    assert plan_of(sweep(quantized()), storage, gpu)["time"]["seconds"] == pytest.approx(20)
    finish(storage, small_recipe(epochs=5), pack=9)
    plan = plan_of(sweep(quantized()), storage)
    assert plan["costs"][0]["source"] == f"scaled from 1 finished on {CPU}, in packs"
    finish(storage, replace(quantized(), batchnorm_epochs=1), host="elsewhere")
    plan = plan_of(sweep(quantized()), storage)
    assert plan["costs"][0]["source"] == f"scaled from 1 finished on {CPU} of elsewhere"
    assert plan["time"]["seconds"] == pytest.approx(2 * 7)


def test_published_costs_are_hours_of_another_machine(tmp_path: Path) -> None:
    cost = PublishedCost("ResNet20 on CIFAR-10", 1.5, "GTX 1080 Ti", "Table 5")
    plan = plan_of(sweep(small_recipe(), cost=cost), Storage(tmp_path))
    assert plan["costs"][0]["source"] == "Table 5 (GTX 1080 Ti)"
    assert plan["time"]["seconds"] is None
    assert " 1.5 h" in describe(plan)


def test_time_is_measured_where_no_trial_has_finished(tmp_path: Path) -> None:
    storage, machine = Storage(tmp_path / "runs"), this_machine(Resources(concurrency=1, pack=2))
    own = sweep(quantized(epochs=40), small_recipe())
    finish(storage, small_recipe(), pack=2, execution=machine.execution)
    timing = Timing.on(machine, Execution(), tmp_path)
    plan = plan_of(own, storage, machine, timing)
    measured, known = plan["costs"]
    assert (measured["source"], known["source"]) == (f"measured on {CPU}", f"1 finished on {CPU}")
    assert 1e-3 < 3600 * measured["hours"] < 600
    assert plan["time"]["seconds"] == pytest.approx(3600 * sum(map(left, plan["costs"])))
    assert "packs of up to 2" not in describe(plan)  # one pack after the other
    assert timing.lines == []
    assert not (tmp_path / "runs" / "trials" / own.cells[1].fingerprint).exists()


def of_two_blocks(**resources: float) -> SweepSpec:
    blocks = (
        Block("small", base=quantized()),
        Block("large", base=quantized(batchnorm_epochs=4), resources=resources),
    )
    return SweepSpec(name="s", blocks=blocks, seeds=(0, 1))


def with_two_cpus(**options: Any) -> Machine:
    has = {"CPU": 2.0, "GPU": 0.0, "memory": 10.0 * GIB}
    execution = str(Execution())
    return Machine(slots=2, resources=Resources(**options), has=has, execution=execution)


def test_blocks_and_memory_determine_how_many_trials_fit(tmp_path: Path) -> None:
    """One trial of 7 s, and two of 8 s in the other block."""
    storage, large = Storage(tmp_path), of_two_blocks(CPU=2)
    finish(storage, quantized(), execution=str(Execution()))
    for own, machine, seconds, at_once in (
        (of_two_blocks(), with_two_cpus(), 8 + 7, "2 at once"),
        (large, with_two_cpus(), 7 + 8 + 8, "one after the other"),
        (of_two_blocks(CPU=0.5), with_two_cpus(), 8, "at most 3 at once"),
        (of_two_blocks(memory_gib=5), with_two_cpus(concurrency=2), 8 + 7, "at most 2 at once"),
        (of_two_blocks(), with_two_cpus(memory_per_trial=6), 7 + 8 + 8, "one after the other"),
        (of_two_blocks(elsewhere=1), with_two_cpus(), 8 + 7, "at most 2 at once"),
    ):
        plan = plan_of(own, storage, machine)
        assert plan["time"]["seconds"] == pytest.approx(seconds)
        assert f", {at_once}." in describe(plan)
    for block, what in (
        (of_two_blocks(CPU=3), "3 CPU"),
        (of_two_blocks(memory_gib=11), "11.0 GiB"),
    ):
        plan = plan_of(block, storage, with_two_cpus())
        assert plan["time"]["seconds"] is None
        says = f"Trials of block large do not fit on this machine: each reserves {what}"
        assert says in describe(plan)


def test_the_memory_of_finished_trials_counts(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    finish(storage, quantized(), execution=str(Execution()), memory_gib=6.0)
    plan = plan_of(of_two_blocks(), storage, with_two_cpus())
    assert plan["time"]["seconds"] == pytest.approx(7 + 8 + 8)
    assert "small seed=1: 6.6 GiB of memory are reserved for such a trial" in describe(plan)
    plan = plan_of(of_two_blocks(), storage, with_two_cpus(memory_per_trial=0))
    assert plan["time"]["seconds"] == pytest.approx(8 + 7)


def left(row: dict[str, Any]) -> float:
    return float(row["hours_to_run"])


def test_a_machine_without_room_trains_nothing(tmp_path: Path) -> None:
    none = this_machine(Resources(cpus_per_trial=100_000))
    assert none.slots == 0
    plan = plan_of(sweep(small_recipe()), Storage(tmp_path), none)
    assert "too few CPUs or GPUs" in describe(plan)
    with pytest.raises(ConfigurationError, match="too few CPUs or GPUs for a trial"):
        Timing.on(none, Execution(), tmp_path)
    with pytest.raises(ConfigurationError, match="measures one process, but 2 train"):
        Timing.on(Machine(), Execution(replicas=2), tmp_path)
