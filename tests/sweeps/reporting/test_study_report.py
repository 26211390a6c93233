"""Reports of studies with made-up results: nothing is trained."""

from pathlib import Path

import pytest
from optuna.trial import BaseTrial

from analysis.figures.style import for_print
from quantlab import ConfigurationError, Recipe, override
from sweeps.reporting.study_figures import optuna_figures
from sweeps.reporting.study_report import measurements_of_study
from sweeps.searching.known_studies import study_data
from sweeps.searching.results import is_over, load, summary_lines, winner
from sweeps.searching.study_queue import StudyQueue
from sweeps.storage import Storage, sharing
from sweeps.study import BITS, VALIDATION_ACCURACY, StudySpec
from tests.sweeps.made_studies import finish, run, space, spec


def levels(trial: BaseTrial) -> Recipe:
    count = trial.suggest_int("levels", 2, 5)
    return override(space(trial), "quantization.quantizer.levels", tuple(map(float, range(count))))


def searched(folder: Path, **changes: object) -> tuple[StudySpec, Storage]:
    made, storage = spec(**changes), Storage(folder)
    run(StudyQueue(made, storage), storage)
    return made, storage


def test_the_winner_is_new_and_known_points_are_named(tmp_path: Path) -> None:
    made, storage = searched(tmp_path, known={"PC": {"rho0": 0.1}})
    study = load(made, storage, None)
    assert study.best_trial.number == 0
    assert winner(made, study).number != 0
    assert is_over(made, study)
    lines = summary_lines(made, study, storage)
    assert lines[0].startswith("made: ")
    assert lines[1].startswith("best new: configuration ")
    assert "known: configuration 0 (PC), validation accuracy 90.10 %" in lines
    measured = measurements_of_study(made, study, storage)
    table = measured.configurations.set_index("configuration")
    assert table.loc[0, "label"] == "PC"
    assert table.loc[0, "seeds"] == 3
    assert table.loc[table["state"] == "PRUNED", "seeds"].max() < 3
    assert table.loc[table["state"] == "PRUNED", "objective.validation accuracy"].isna().all()
    assert measured.winner == f"configuration {winner(made, study).number}"
    with for_print():
        drawn = {item.name: item.figure.axes[0] for item in optuna_figures(made, study)}
    assert list(drawn) == ["history", "curves", "timeline"]  # one parameter compares nothing
    assert drawn["history"].get_ylabel() == "validation accuracy (%)"
    points = drawn["history"].collections[0]
    complete = table.loc[table["state"] == "COMPLETE", "objective.validation accuracy"]
    assert list(points.get_offsets()[:, 1]) == pytest.approx(list(100 * complete.sort_index()))
    heights = [height for line in drawn["curves"].get_lines() for height in line.get_ydata()]
    assert 1 < min(heights) < max(heights) <= 100


def test_several_objectives_have_a_front_and_a_hypervolume(tmp_path: Path) -> None:
    made, storage = searched(tmp_path, space=levels, objectives=(VALIDATION_ACCURACY, BITS))
    study = load(made, storage, None)
    measured = measurements_of_study(made, study, storage)
    table = measured.configurations
    values = table[["objective.validation accuracy", "objective.bits a weight"]].to_numpy()
    for row, (accuracy, bits) in zip(table.itertuples(), values, strict=True):
        beaten = ((values[:, 0] >= accuracy) & (values[:, 1] <= bits)) & (
            (values[:, 0] > accuracy) | (values[:, 1] < bits)
        )
        assert row.on_front == (not beaten.any())
    with for_print():
        drawn = {item.name: item.figure for item in optuna_figures(made, study)}
    (line,) = [line for line in drawn["hypervolume"].axes[0].get_lines() if len(line.get_xdata())]
    heights = list(line.get_ydata())
    assert len(heights) == 20
    assert heights == sorted(heights)
    lost, worst = values[:, 0].min(), values[:, 1].max()
    volume, reached = 0.0, lost
    for accuracy, bits in sorted(values[table["on_front"]].tolist()):
        volume, reached = volume + (accuracy - reached) * (worst - bits), accuracy
    assert heights[-1] == pytest.approx(100 * volume)  # accuracies are in percent
    assert {"importance_1", "importance_2", "slice_1"} <= set(drawn)


def test_a_configuration_without_a_driver_is_interrupted(tmp_path: Path) -> None:
    made, storage = spec(configurations=3, known={"PC": {"rho0": 0.1}}), Storage(tmp_path)
    queue = StudyQueue(made, storage)
    for cell in queue.next():
        queue.ended(cell, finish(storage, cell))
    queue.next()
    assert "1 RUNNING" in summary_lines(made, queue.study, storage)[0]
    queue.close()  # the system releases the locks of a dead process
    study = load(made, storage, None)
    assert "1 INTERRUPTED" in summary_lines(made, study, storage)[0]
    last = StudyQueue(made, storage)
    run(last, storage)
    assert "INTERRUPTED" not in summary_lines(made, last.study, storage)[0]


def test_a_missing_study_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigurationError,
        match=r"study made: not found in sqlite.*optuna.db; start it with `sweeps search`",
    ):
        load(spec(), Storage(tmp_path), None)
    assert not (tmp_path / "optuna.db").exists()


def test_a_loaded_study_stays_as_it_is_while_the_search_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of an answer is of one moment; what ends at that moment has not lost its driver."""
    made = spec(configurations=4, known={"PC": {"rho0": 0.1}}, seeds=(0,))
    storage = Storage(tmp_path)
    queue = StudyQueue(made, storage)
    known, first, second = (queue.next()[0] for _ in range(3))
    queue.ended(first, finish(storage, first))
    is_held = sharing.is_held

    def late(path: Path) -> bool:
        if path.name == "2" and queue.is_pending(second):
            queue.ended(second, finish(storage, second))
        return is_held(path)

    monkeypatch.setattr(sharing, "is_held", late)
    study = load(made, storage, None)

    def answers() -> tuple[object, ...]:
        described = study_data(made, study, storage)
        report = measurements_of_study(made, study, storage)
        return (
            described["states"],
            described["configuration_list"],
            summary_lines(made, study, storage),
            list(report.configurations["state"]),
            is_over(made, study),
        )

    before = answers()
    assert before[0] == {"RUNNING": 1, "COMPLETE": 2}
    queue.ended(known, finish(storage, known))
    run(queue, storage)
    assert answers() == before
    assert study_data(made, load(made, storage, None), storage)["finished"] == 4
