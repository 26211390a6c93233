"""Searches for what needs no tuning, with made-up results: nothing is trained."""

import itertools
import random
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from optuna.pruners import NopPruner
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState

from quantlab import ConfigurationError
from quantlab.models.convnet import ConvNet
from sweeps.evaluation.constraint import Constraint
from sweeps.evaluation.neighbourhood import Neighbourhood
from sweeps.loading import load_sweep
from sweeps.placement.packing import Packing
from sweeps.reporting.study_report import measurements_of_study
from sweeps.searching import search
from sweeps.searching.promotion import write_confirmation
from sweeps.searching.results import (
    exceeds_limits,
    is_over,
    load,
    recipe_of,
    seeds_of,
    states_of,
    summary_lines,
    winner,
)
from sweeps.searching.study_queue import StudyQueue
from sweeps.spec import Cell
from sweeps.storage import Storage, TrialState
from sweeps.storage.folder import TrialFolder
from sweeps.storage.optuna_database import open_storage
from sweeps.study import (
    BITS,
    FILE_BYTES,
    VALIDATION_ACCURACY,
    StudySpec,
    WholeSeeds,
    better_half,
    seed_halving,
    worst,
)
from tests.conftest import Command
from tests.sweeps.made_studies import counts, run, spec, trained
from tests.sweeps.trial_files import ended, epoch


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty database of Optuna, which takes longer to create than to copy."""
    file = tmp_path_factory.mktemp("optuna") / "optuna.db"
    open_storage(f"sqlite:///{file}")
    return file


@pytest.fixture(autouse=True)
def _copied(database: Path, tmp_path: Path) -> None:
    shutil.copy(database, tmp_path / "optuna.db")


RHO0 = Neighbourhood(name="rho0", paths=("quantization.sharpness.rho0",), factors=(0.1, 1, 10))
WIDTHS = {"narrow": {"model": ConvNet(width=4)}, "wide": {"model": ConvNet(width=8)}}


def untuned(**changes: object) -> StudySpec:
    settings = {"objectives": (worst(VALIDATION_ACCURACY),), "neighbourhoods": (RHO0,)}
    return spec(**(settings | {"pruner": NopPruner(), "configurations": 8} | changes))


def score(cell: Cell) -> float:
    """A score that falls with rho0, grows with the width, and differs between seeds."""
    assert cell.recipe.quantization is not None
    assert isinstance(cell.recipe.model, ConvNet)
    rho0 = cell.recipe.quantization.sharpness.at(0, 1)
    seed = 0.01 * ((cell.recipe.seed * 7 + round(1000 * rho0)) % 5)
    return float(0.5 - 0.04 * rho0 + 0.01 * cell.recipe.model.width + seed)


def finish(storage: Storage, cell: Cell) -> TrialState:
    """Write a result, whose file has as many bytes as 1,000 times rho0."""
    assert cell.recipe.quantization is not None
    folder = storage.trial(cell.fingerprint)
    folder.path.mkdir(parents=True, exist_ok=True)
    with (folder.path / "trained").open("a") as file:
        file.write("once\n")
    size = round(1000 * cell.recipe.quantization.sharpness.at(0, 1))
    folder.result.write(ended(validation_accuracy=score(cell), file_bytes=size))
    return TrialState.COMPLETE


def searched(made: StudySpec, storage: Storage, *, at_once: int = 2, pack: int = 1) -> StudyQueue:
    queue = StudyQueue(made, storage, packing=Packing(pack))
    out: list[Cell] = []
    while True:
        while len(out) < at_once and (cells := queue.next()):
            out += cells
        if not out:
            assert queue.is_over
            return queue
        cell = out.pop()
        queue.ended(cell, finish(storage, cell))


def scores(made: StudySpec, trial: FrozenTrial) -> dict[str, list[list[float]]]:
    """Setting -> seed -> the scores of a configuration with all values of its knob."""
    found: dict[str, list[list[float]]] = {}
    for cells in seeds_of(made, trial.number, recipe_of(made, trial)):
        by_setting = itertools.groupby(cells, lambda cell: cell.coordinates.get("setting", ""))
        for setting, own in by_setting:
            found.setdefault(setting, []).append([score(cell) for cell in own])
    return found


def test_a_configuration_is_as_good_as_its_worst_trials(tmp_path: Path) -> None:
    objectives = (worst(VALIDATION_ACCURACY), worst(VALIDATION_ACCURACY, 0.25))
    made = untuned(objectives=objectives, settings=WIDTHS, configurations=2)
    queue = searched(made, Storage(tmp_path), at_once=3)
    assert counts(queue.study) == {OptunaState.COMPLETE: 2}
    for trial in queue.study.trials:
        settings = scores(made, trial)
        assert list(settings) == ["narrow", "wide"]
        own = [sorted(itertools.chain(*seeds)) for seeds in settings.values()]
        for value, place in zip(trial.values, (0, 2), strict=True):  # of nine in each setting
            assert value == pytest.approx(sum(values[place] for values in own) / 2)
    assert trained(Storage(tmp_path)) == [1] * (2 * 2 * 3 * 3)


def test_a_trial_of_two_settings_is_trained_once_and_counts_in_both(tmp_path: Path) -> None:
    width = Neighbourhood(name="width", paths=("model.width",), factors=(1, 2))
    settings = {"narrow": {"model.width": 4}, "wide": {"model.width": 8}}
    made = untuned(settings=settings, neighbourhoods=(width,), configurations=2, seeds=(0,))
    storage = Storage(tmp_path)
    queue = searched(made, storage, pack=3)
    assert trained(storage) == [1] * 2 * 3  # widths 4, 8 and 16
    for trial in queue.study.trials:
        ((narrow, both, _, wide),) = seeds_of(made, trial.number, recipe_of(made, trial))
        worst_in_each = [min(map(score, pair)) for pair in ((narrow, both), (both, wide))]
        assert trial.value == pytest.approx(sum(worst_in_each) / 2)
    table = measurements_of_study(made, queue.study, storage)
    assert list(table.configurations["seeds"]) == [1, 1]
    assert len(table.variants) == 4


def test_quantiles_are_on_the_bad_side() -> None:
    values = [0.3, 0.1, 0.4, 0.2]
    for quantile, high, low in ((0.0, 0.1, 0.4), (0.25, 0.2, 0.3), (0.6, 0.3, 0.2)):
        assert worst(VALIDATION_ACCURACY, quantile).over_seeds(values) == high
        assert worst(BITS, quantile).over_seeds(values) == low
    assert worst(BITS).name == "worst bits a weight"
    # The product of 0.29 and 100 is a little less than 29 in floating point.
    assert worst(VALIDATION_ACCURACY, 0.29).over_seeds([float(one) for one in range(100)]) == 29
    assert worst(BITS, 0.25).name == "0.25 quantile of the bits a weight"
    assert VALIDATION_ACCURACY.over_trials([[0.2, 0.4], [0.9]]) == pytest.approx(0.6)
    for quantile in (1.0, -0.1):
        with pytest.raises(ConfigurationError, match=r"Objective.quantile = "):
            worst(BITS, quantile)


def test_drivers_may_die_between_trials_of_one_seed(tmp_path: Path) -> None:
    storage, rng = Storage(tmp_path), random.Random(1)
    made = untuned(settings=WIDTHS, configurations=3, seeds=(0, 1), pruner=seed_halving())
    for _ in range(3):
        queue = StudyQueue(made, storage)
        for _ in range(rng.randrange(1, 9)):
            for cell in queue.next():
                if rng.random() < 0.8:
                    queue.ended(cell, finish(storage, cell))
        queue.close()  # the system releases the locks of a dead process
    queue = searched(made, storage)
    states = counts(queue.study)
    assert set(states) <= {OptunaState.COMPLETE, OptunaState.PRUNED}
    assert sum(states.values()) == 3
    assert set(trained(storage)) == {1}
    for trial in queue.study.get_trials(states=(OptunaState.COMPLETE,)):
        worsts = [min(itertools.chain(*seeds)) for seeds in scores(made, trial).values()]
        assert trial.value == pytest.approx(sum(worsts) / 2)


def test_rungs_are_numbers_of_whole_seeds(tmp_path: Path) -> None:
    """After 1 and 2 of 4 seeds, only the better half of those that have come so far goes on."""
    made = untuned(pruner=seed_halving(), seeds=(0, 1, 2, 3), configurations=9)
    queue = searched(made, Storage(tmp_path), at_once=1)
    reached = Counter(max(trial.intermediate_values) for trial in queue.study.trials)
    assert set(reached) <= {1, 2, 4}
    assert min(reached[1], reached[2], reached[4]) >= 1
    assert len(trained(Storage(tmp_path))) == 3 * sum(n * often for n, often in reached.items())
    before: dict[int, list[float]] = {1: [], 2: []}
    for trial in queue.study.trials:  # one after the other, as one is trained at once
        for rung, others in before.items():
            if rung not in trial.intermediate_values:
                continue
            values = [own for seeds in scores(made, trial).values() for own in seeds[:rung]]
            value = min(itertools.chain(*values))
            assert trial.intermediate_values[rung] == pytest.approx(value)
            others.append(value)
            allowed = sorted(others, reverse=True)[max(len(others) // 2, 1) - 1]
            assert (max(trial.intermediate_values) > rung) == (value >= allowed)
        assert (trial.last_step == 4) == (trial.state is OptunaState.COMPLETE)


def test_a_seed_is_one_pack_and_its_curves_stop_nothing(tmp_path: Path) -> None:
    """A curve is that of one value of a knob among several."""
    made, storage = untuned(pruner=better_half(startup=1), seeds=(0, 1)), Storage(tmp_path)
    assert spec(pruner=better_half()).prunes_within_seeds
    assert not spec(pruner=WholeSeeds(better_half())).prunes_within_seeds
    queue = StudyQueue(made, storage, packing=Packing(3))
    pack = queue.next()
    assert [cell.coordinates["configuration"] for cell in pack] == ["0"] * 3
    assert [cell.recipe.seed for cell in pack] == [0] * 3
    assert len({cell.coordinates["rho0"] for cell in pack}) == 3
    for cell in pack:
        queue.ended(cell, finish(storage, cell))
    following = queue.next()
    assert {cell.coordinates["configuration"] for cell in following} == {"0"}
    assert [cell.recipe.seed for cell in following] == [1] * 3
    folder = storage.trial(following[0].fingerprint)
    folder.make()
    folder.append_history(epoch(1, validation_accuracy_hard=0.0))
    assert not queue.should_prune(following[0].fingerprint)


def test_limits_end_a_configuration_and_are_optunas_constraints(tmp_path: Path) -> None:
    largest_first = replace(RHO0, factors=(10, 1, 0.1))
    made = untuned(
        neighbourhoods=(largest_first,),
        constraints=(Constraint(FILE_BYTES, 2000),),
        configurations=8,
    )
    storage = Storage(tmp_path)
    queue = StudyQueue(made, storage)
    lines: list[str] = []
    queue.on_finished = lines.append
    while cells := queue.next():
        for cell in cells:
            queue.ended(cell, finish(storage, cell))
    study = queue.study
    heavy = [trial for trial in study.trials if 10 * trial.params["rho0"] > 2.0005]
    assert heavy
    assert [trial.number for trial in study.trials if exceeds_limits(trial)] == [
        trial.number for trial in heavy
    ]
    for trial in study.trials:
        excess = round(10_000 * trial.params["rho0"]) - 2000
        assert trial.constraints == {"bytes of the file": excess}
    ends = [line for line in lines if "bytes of the file" in line]
    assert len(ends) == len(heavy)
    assert "pruned after 0 of 3 seeds: bytes of the file " in ends[0]
    assert ends[0].endswith(" > 2000")
    states = states_of(made, study, storage)
    assert Counter(states) == {"INFEASIBLE": len(heavy), "COMPLETE": 8 - len(heavy)}
    assert f"{len(heavy)} INFEASIBLE" in summary_lines(made, study, storage)[0]
    assert is_over(made, study)
    # The trials of its seed that had not begun were not trained.
    assert len(trained(storage)) == 9 * (8 - len(heavy)) + len(heavy)
    assert winner(made, study).params["rho0"] <= 0.2


def test_with_several_objectives_the_front_keeps_the_limits(tmp_path: Path) -> None:
    made = spec(
        objectives=(VALIDATION_ACCURACY, FILE_BYTES),
        constraints=(Constraint(FILE_BYTES, 50),),
        configurations=6,
        seeds=(0,),
    )
    storage = Storage(tmp_path)
    queue = searched(made, storage)
    assert counts(queue.study) == {OptunaState.COMPLETE: 6}
    table = measurements_of_study(made, queue.study, storage).configurations
    heavy = table["param.rho0"] > 0.0505
    assert heavy.any()
    assert list(table["state"] == "INFEASIBLE") == list(heavy)
    assert not table.loc[heavy, "on_front"].any()
    assert table["on_front"].any()
    assert winner(made, queue.study).params["rho0"] < 0.0505


def test_a_configuration_that_diverged_has_limits_too(tmp_path: Path) -> None:
    """GPSampler requires the same limits of all configurations, in one order."""
    limits = (Constraint(BITS, 2), Constraint(FILE_BYTES, 200))
    made = spec(constraints=limits, seeds=(0,), configurations=3, pruner=NopPruner())
    queue = StudyQueue(made, Storage(tmp_path))
    complete = ended(validation_accuracy=0.5, file_bytes=300, bits=1.0)
    for ends in (complete, ended(TrialState.DIVERGED)):
        (cell,) = queue.next()
        folder = Storage(tmp_path).trial(cell.fingerprint)
        folder.make()
        folder.result.write(ends)
        queue.ended(cell, ends.state)
    first, second = queue.study.trials
    assert list(first.constraints.items()) == [("bits a weight", -1.0), ("bytes of the file", 100)]
    assert list(second.constraints.items()) == [("bits a weight", 0.0), ("bytes of the file", 0.0)]
    assert states_of(made, queue.study, Storage(tmp_path)) == ["INFEASIBLE", "COMPLETE"]


def test_a_study_without_these_parts_goes_on_and_a_changed_one_is_refused(tmp_path: Path) -> None:
    made, storage = spec(configurations=2), Storage(tmp_path)
    queue = StudyQueue(made, storage)
    run(queue, storage)
    kept = dict(queue.study.user_attrs["judged_by"])
    for name in ("settings", "neighbourhoods", "constraints"):  # as an earlier release wrote it
        del kept[name]
    queue.study.set_user_attr("judged_by", kept)
    StudyQueue(spec(configurations=3), storage)
    for changes, message in (
        ({"settings": WIDTHS}, r"settings changed from \{\} to .*another name"),
        ({"constraints": (Constraint(BITS, 2),)}, r"constraints changed from \[\] to .*another"),
        ({"objectives": (worst(VALIDATION_ACCURACY),)}, "objectives changed"),
    ):
        with pytest.raises(ConfigurationError, match=message):
            StudyQueue(spec(**changes), storage)


def test_bad_rungs_are_named() -> None:
    for rungs, message in (((1, 1), "reduction = 1: must be .* >= 2"), ((2, 0), "first = 0: must")):
        with pytest.raises(ConfigurationError, match=f"seed_halving: {message}"):
            seed_halving(*rungs)
    with pytest.raises(ConfigurationError, match="WholeSeeds: pruner = 3: must be one of Optuna's"):
        WholeSeeds(3)  # type: ignore[arg-type]


STUDY = """
from quantlab import override
from quantlab.models.convnet import ConvNet
from sweeps.study import Neighbourhood, StudySpec, VALIDATION_ACCURACY, worst
from tests.quantlab.recipes import quantized


def space(trial):
    rho0 = trial.suggest_float("rho0", 0.001, 1.0, log=True)
    return override(quantized(), "quantization.sharpness.rho0", rho0)


STUDY = StudySpec(
    name="made",
    space=space,
    configurations=3,
    seeds=(0,),
    settings={"narrow": {"model": ConvNet(width=4)}},
    neighbourhoods=(
        Neighbourhood(
            name="rho0",
            paths=("quantization.sharpness.rho0",),
            factors=(0.1, 1),
            confirmed=(0.1, 0.5, 1),
        ),
    ),
    objectives=(worst(VALIDATION_ACCURACY),),
    known={"PC": {"rho0": 0.06}},
    confirmation_settings={"wide": {"model": ConvNet(width=8)}},
    confirmation_seeds=(7, 8),
)
"""


def test_the_winner_is_confirmed_around_its_knob_and_where_the_search_never_was(
    tmp_path: Path,
) -> None:
    from sweeps.loading import load_study

    file = tmp_path / "study.py"
    file.write_text(STUDY)
    made, storage = load_study(str(file)), Storage(tmp_path)
    queue = searched(made, storage)
    best = winner(made, queue.study)
    assert best.number > 0
    write_confirmation(made, str(file), queue.study, tmp_path / "confirm.py")
    sweep = load_sweep(str(tmp_path / "confirm.py"))
    blocks = [(block.label, block.method) for block in sweep.blocks]
    assert blocks == [
        ("winner, narrow", "winner"),
        ("winner, wide", "winner"),
        ("PC, narrow", "PC"),
        ("PC, wide", "PC"),
    ]
    assert len(sweep.cells) == 4 * 3 * 2
    for cell in sweep.cells:
        assert isinstance(cell.recipe.model, ConvNet)
        assert cell.recipe.model.width == (4 if "narrow" in cell.block else 8)
        assert cell.recipe.seed in (7, 8)
        assert cell.recipe.quantization is not None
        rho0 = cell.recipe.quantization.sharpness.at(0, 1)
        assert float(cell.coordinates["rho0"]) == pytest.approx(rho0, rel=1e-3)
    centre = {"PC": 0.06, "winner": best.params["rho0"]}
    for label, factor in itertools.product(centre, (0.1, 0.5, 1)):
        wanted = f"{factor * centre[label]:.4g}"
        assert sum(
            cell.method == label and cell.coordinates["rho0"] == wanted for cell in sweep.cells
        ) == (2 * 2)


HEAVY = {"constraints": (Constraint(FILE_BYTES, -1),), "seeds": (0,), "configurations": 2}
"""A study in which the first trial of each configuration shows that it exceeds a limit."""


def begin(storage: Storage, cell: Cell) -> TrialFolder:
    folder = storage.trial(cell.fingerprint)
    folder.make()
    folder.recipe.write_text("{}")
    return folder


def test_trials_that_no_configuration_needs_any_more_are_stopped(tmp_path: Path) -> None:
    """Whether the search that began them ends, is killed, or drops them before they go on."""
    made, storage = untuned(**HEAVY), Storage(tmp_path)
    queue = StudyQueue(made, storage, packing=Packing(3))
    dropped: list[Cell] = []
    queue.on_dropped = dropped.append
    first, second, third = queue.next()
    folder = begin(storage, second)
    queue.ended(first, finish(storage, first))
    later = StudyQueue(made, storage)
    with folder.locked():
        later.stop_left_over()
    assert folder.state() is TrialState.INTERRUPTED
    later.stop_left_over()
    assert folder.state() is TrialState.STOPPED
    folder.clear()  # it was killed at another moment
    queue.stop_unneeded()
    queue.stop_unneeded()
    assert dropped == [second]
    assert folder.state() is TrialState.STOPPED
    assert storage.trial(third.fingerprint).state() is TrialState.WAITING
    failed, sibling, _ = queue.next()
    folder = begin(storage, sibling)
    queue.ended(failed, TrialState.FAILED)
    queue.close()
    later.stop_left_over()
    assert folder.state() is TrialState.INTERRUPTED  # the next search repeats its configuration
    assert dropped == [second]


@pytest.mark.parametrize("halted", ["before", "after"])
def test_a_trial_that_is_dropped_before_it_goes_on_is_told_at_once(
    halted: str, tmp_path: Path
) -> None:
    """It is put back, as after `sweeps pause`, before or after its configuration ends."""
    storage = Storage(tmp_path)
    queue = StudyQueue(untuned(**HEAVY), storage, packing=Packing(3))
    dropped: list[Cell] = []
    queue.on_dropped = dropped.append
    first, second, _ = queue.next()
    folder = begin(storage, second)
    ends: list[Callable[[], object]] = [
        lambda: queue.halt(second),
        lambda: queue.ended(first, finish(storage, first)),
    ]
    first_end, last_end = ends if halted == "before" else ends[::-1]
    first_end()
    assert not dropped
    last_end()
    assert dropped == [second]
    assert folder.state() is TrialState.STOPPED
    queue.close()
    assert dropped == [second]


HEAVY_FILE = """
from tests.sweeps.searching.test_untuned import HEAVY, untuned

STUDY = untuned(**HEAVY)
"""


def test_a_search_without_a_winner_says_why(
    tmp_path: Path, quick_command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "made.py").write_text(HEAVY_FILE)
    searched(untuned(**HEAVY), Storage(tmp_path))
    monkeypatch.setattr(search, "run_study", lambda *_, **__: None)  # which would start Ray
    why = "no configuration is complete and keeps all limits (2 INFEASIBLE), and the search is over"
    where = ("made.py", "--storage", str(tmp_path))
    told = ("--on-end", "echo it is $QUANTLAB_STATE")
    done = quick_command(tmp_path, "search", *where, *told, "--promote", "confirm.py")
    assert done.returncode == 1
    assert f"sweeps: study made: {why}; loosen the limits" in done.stderr
    assert "beyond 2 and search again; confirm.py was not written\n" in done.stderr
    assert "it is FAILED" in done.stderr
    for command in (("report",), ("export", "--best", "--out", "out")):
        done = quick_command(tmp_path, *command, *where)
        assert done.returncode == 2
        assert why in done.stderr
    more = untuned(**(HEAVY | {"configurations": 3}))
    with pytest.raises(ConfigurationError, match=r"2 INFEASIBLE.*; continue the search"):
        winner(more, load(more, Storage(tmp_path), None))
