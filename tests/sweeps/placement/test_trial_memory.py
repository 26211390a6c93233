"""How much memory trials reserve: as given, as measured, and after one was killed."""

from dataclasses import replace
from pathlib import Path

import pytest

from quantlab import Distillation
from quantlab.execution import DEFAULT_EXECUTION, Execution
from quantlab.initial_weights import TrialWeights
from quantlab.models.mlp import MLP
from sweeps.placement import needs as needs_module
from sweeps.placement.needs import Needs
from sweeps.placement.resources import Resources
from sweeps.placement.trial_memory import GIB, MARGIN, TrialMemory, memory_of
from sweeps.spec import Block, Cell, SweepSpec
from sweeps.storage import Storage, TrialState
from tests.quantlab.recipes import quantized, small_recipe
from tests.sweeps.trial_files import ended

SWEEP = SweepSpec(
    name="memory",
    blocks=(
        Block("FP", base=small_recipe()),
        Block("PC", base=quantized()),
        Block("large", base=quantized(batch_size=20)),
        Block("own", base=quantized(epochs=2), resources={"memory_gib": 7}),
    ),
    seeds=tuple(range(6)),
)


def of(block: str) -> list[Cell]:
    return [cell for cell in SWEEP.cells if cell.block == block]


def finish(storage: Storage, cell: Cell, gib: float | None, pack: int = 1, **other: str) -> None:
    folder = storage.trial(cell.fingerprint)
    folder.path.mkdir(parents=True)
    values = {"device": "cpu (x)", "execution": str(DEFAULT_EXECUTION), **other}
    result = ended(TrialState.COMPLETE)
    folder.result.write(replace(result, memory_gib=gib, pack=pack, **values))  # type: ignore[arg-type]


def measured(
    storage: Storage, *, device: str = "cpu", execution: Execution = DEFAULT_EXECUTION
) -> TrialMemory:
    return TrialMemory.measured(SWEEP.cells, storage, device=device, execution=execution)


def test_finished_trials_say_what_others_like_them_need(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    first, second, third, fourth, *_ = of("PC")
    finish(storage, first, 2.0)
    finish(storage, second, 2.4)
    finish(storage, third, 9.9, device="cuda:0 (Y)")
    finish(storage, fourth, 9.9, execution=str(Execution(threads=3)))
    finish(storage, of("FP")[0], None)  # an older result
    memory = measured(storage)
    assert memory.of(of("PC")[:1]) == 2.7, "a tenth more than the largest, in tenths of a GiB"
    assert memory.of(of("FP")[:1]) == memory.of(of("large")[:1]) == 0
    assert memory.of(of("own")[:1]) == 7, "the block has precedence"
    assert measured(storage, device="cuda").of(of("PC")[:1]) == 10.9
    assert TrialMemory(1.5).of(of("PC")[:1]) == 1.5
    assert TrialMemory(0).of(of("PC")[:1]) == 0


def test_a_teacher_needs_memory_too() -> None:
    """Its network, and not what it was trained with."""
    plain = small_recipe()
    teacher = TrialWeights("0123456789abcdef")
    taught = replace(plain, distillation=Distillation(teacher=teacher))
    by_larger = replace(
        plain, distillation=Distillation(teacher=teacher, model=MLP(hidden=(800, 800)))
    )
    by_other = replace(taught, distillation=Distillation(teacher=TrialWeights("f" * 16)))
    assert len({memory_of(recipe) for recipe in (plain, taught, by_larger)}) == 3
    assert memory_of(taught) == memory_of(by_other)
    assert memory_of(plain) != memory_of(replace(plain, accumulation=2))


def test_packs_need_no_more_than_multiples_of_smaller_ones(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    first, second, *others = of("PC")
    finish(storage, first, 1.0, pack=1)
    finish(storage, second, 1.5, pack=3)
    memory = measured(storage)
    assert memory.of(others[:1]) == 1.1
    assert memory.of(others[:2]) == 1.7, "no more than a pack of 3, and less than twice one"
    assert memory.of([*others, *others]) == 4.4  # 8 trials: at most 8/3 of a pack of 3


def test_what_was_measured_on_a_larger_machine_is_at_most_all_that_there_is(
    tmp_path: Path,
) -> None:
    storage = Storage(tmp_path)
    finish(storage, of("PC")[0], 20.0)
    small = {"CPU": 4.0, "memory": 10.0 * GIB}
    needs = Needs(Resources(), TrialMemory(), look=lambda: [small])
    needs.settle(Resources(), SWEEP.cells, storage)
    assert needs.bundles(of("PC")[1:2]) == [{"CPU": 1.0, "GPU": 0.0, "memory": 10 * GIB}]
    assert needs.limits_of_memory(SWEEP.cells) == [
        "PC seed=0: 10.0 GiB of memory are reserved for such a trial, as finished ones needed, so "
        "that 1 and not 4 fit on the machines (--memory-per-trial 0 reserves none)"
    ]
    assert needs.require_room(SWEEP.cells, is_fixed=True) == []
    given = Needs(Resources(memory_per_trial=0), TrialMemory(0), look=lambda: [small])
    given.settle(given.resources, SWEEP.cells, storage)
    assert "memory" not in given.bundles(of("PC")[1:2])[0]


def test_what_fits_because_of_memory_is_said_in_trials(tmp_path: Path) -> None:
    """Each of these has two processes."""
    storage = Storage(tmp_path)
    resources = Resources(memory_per_trial=None, gpus_per_trial=2, cpus_per_trial=2)
    first = of("PC")[0]
    finish(storage, first, 30.0, device="cuda:0 (Y)", execution=str(resources.execution))
    memory = measured(storage, device="cuda", execution=resources.execution)
    machine = {"CPU": 64.0, "GPU": 8.0, "memory": 140.0 * GIB}
    (line,) = Needs(resources, memory, look=lambda: [machine]).limits_of_memory([first])
    assert line == (
        "PC seed=0: 33.0 GiB of memory are reserved for each of 2 processes of such a trial, as "
        "finished ones needed, so that 2 and not 4 fit on the machines (--memory-per-trial 0 "
        "reserves none)"
    )


def test_memory_that_only_other_machines_have_is_not_reserved(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    finish(storage, of("PC")[0], 20.0, device="cuda:0 (Y)")
    head = {"CPU": 4.0, "memory": 60.0 * GIB}
    with_gpu = {"CPU": 4.0, "GPU": 1.0, "memory": 10.0 * GIB}
    resources = Resources(gpus_per_trial=1)
    needs = Needs(resources, TrialMemory(), look=lambda: [head, with_gpu])
    needs.settle(resources, SWEEP.cells, storage)
    assert needs.bundles(of("PC")[1:2]) == [{"CPU": 1.0, "GPU": 1.0, "memory": 10 * GIB}]
    assert needs.places(of("PC")[1:2]) == 1, "and it does not wait for ever"


def test_after_a_kill_as_many_run_as_the_measured_memory_allows_or_half() -> None:
    pack = of("PC")[:1]
    unknown = TrialMemory()
    assert unknown.fewer_at_once([pack] * 8, most=8, gib=32) == 4
    assert unknown.of(pack) == 8
    assert unknown.of(of("FP")[:1]) == 0, "another kind of trials did not run"
    assert unknown.fewer_at_once([pack] * 4, most=4, gib=32) == 2
    assert unknown.fewer_at_once([pack] * 2, most=2, gib=32) == 1
    assert unknown.of(pack) == 32
    assert unknown.fewer_at_once([pack], most=1, gib=32) == 0
    known = TrialMemory()
    known.note(pack, 4.0)
    known.note(pack, 3.0)
    assert known.fewer_at_once([pack] * 8, most=8, gib=32) == 7, "which fit, by what they needed"
    given = TrialMemory(3.0)
    assert given.fewer_at_once([pack] * 3, most=3, gib=10) == 1
    assert given.of(pack) == 10, "what was given was too little"


def test_after_a_kill_a_small_machine_without_room_for_a_trial_decides_nothing() -> None:
    pack = of("PC")[:1]
    known = TrialMemory()
    known.note(pack, 13.0)
    fit = known.fewer_at_once([pack] * 10, most=10, gib=60, smallest=10)
    assert fit == int(60 / (MARGIN * 13.0)) == 4
    assert known.of(pack) == 60 / fit
    unknown = TrialMemory()
    assert unknown.fewer_at_once([pack] * 3, most=3, gib=100, smallest=33.335) == 1
    assert unknown.of(pack) == 100


def test_after_a_kill_no_machine_is_left_idle_unless_it_must_be(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(needs_module, "REFRESH_SECONDS", -1)
    pack = of("PC")[:1]
    large, small = {"CPU": 8.0, "memory": 60.0 * GIB}, {"CPU": 2.0, "memory": 10.0 * GIB}
    nodes = [large, small]
    needs = Needs(Resources(memory_per_trial=3), TrialMemory(3.0), look=lambda: nodes)
    assert needs.places(pack) == 8 + 2
    assert "now 6 trials or packs run at once" in needs.fewer_at_once([pack] * 10)
    assert needs.places(pack) == 6 + 1
    assert "now 3 trials or packs run at once" in needs.fewer_at_once([pack] * 7)
    assert needs.places(pack) == 3, "the large machine alone has so much memory for each"
    nodes.remove(large)
    assert needs.places(pack) == 1, "no trial reserves more than there is now"
