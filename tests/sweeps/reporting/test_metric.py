"""Reports of tasks whose main metric is not an accuracy, with made-up results."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from analysis.metric import ACCURACY, ACCURACY_TOP5
from quantlab import ConfigurationError
from quantlab.tasks import Task
from quantlab.tasks.classification import Classification, TopAccuracy
from quantlab.tasks.language_modelling import LanguageModelling
from quantlab.tasks.regression import Regression
from sweeps.coordinates import main_metric
from sweeps.reporting import sweep_report
from sweeps.reporting.frames import trials_frame
from sweeps.reporting.metric import described, metric_named, metric_of
from sweeps.reporting.sweep_report import ReportOptions, measurements_of, measurements_of_table
from sweeps.reporting.terminal import show
from sweeps.spec import Axis, Block, SweepSpec
from sweeps.storage import Storage
from sweeps.tracking.experiment import experiment_tags
from tests.quantlab.recipes import quantized, small_recipe
from tests.sweeps.trial_files import ended, epoch


def sweep_of(task: Task) -> SweepSpec:
    axis = Axis("rho0", "quantization.sharpness.rho0", (0.1, 1.0))
    blocks = (
        Block("FP", base=replace(small_recipe(), task=task)),
        Block("PC", base=replace(quantized(), task=task), axes=(axis,)),
    )
    return SweepSpec(name="made", blocks=blocks, seeds=(0, 1))


def train(sweep: SweepSpec, storage: Storage) -> None:
    """Write results: the error is 1 in full precision, and 2 and 3 with the two rho0."""
    for cell in sweep.cells:
        main = cell.recipe.task.metrics[0].name
        value = {"": 1.0, "0.1": 2.0, "1": 3.0}[cell.coordinates.get("rho0", "")]
        value = 0.1 * (value + 0.02 * cell.recipe.seed)
        folder = storage.trial(cell.fingerprint)
        folder.make()
        points = {f"{main}_{point}": value for point in ("latent", "proximal", "hard")}
        folder.append_history(replace(epoch(1), validation=points))
        values = {metric.name: value for metric in cell.recipe.task.metrics}
        folder.result.write(replace(ended(), validation=values, test=values, file_bytes=999))


def test_the_report_of_a_regression(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sweep, storage = sweep_of(Regression()), Storage(tmp_path / "runs")
    train(sweep, storage)
    measured = measurements_of(sweep, storage)
    assert "chance" not in measured.trials
    assert set(measured.importance["factor"]) == {"\u03c10", "seed"}
    chosen = ReportOptions(("markdown",), "validation", None, 0.03)
    written = sweep_report.report(measured, tmp_path / "out", "made", {}, chosen)
    assert written.findings.selected["rho0"].tolist() == pytest.approx([math.nan, 0.1], nan_ok=True)
    show(written)
    printed = " ".join(capsys.readouterr().out.split())
    assert "Test mean squared error over \u03c10: PC, end-to-end, Digits." in printed
    assert "0.2010 (0.0014)" in printed
    assert "PC sensitive" in printed
    assert "Test mean squared error changes by up to " in printed
    compared = ReportOptions(("markdown",), "validation", "proxconnect", 0.03)
    with pytest.raises(
        ConfigurationError, match=r"^--compare proxconnect: .*accuracies; .*omit the option$"
    ):
        sweep_report.report(measured, tmp_path / "new", "made", {}, compared)
    table = tmp_path / "trials.csv"
    measured.trials.to_csv(table, index=False)
    again = measurements_of_table(table, metric_named("mean_squared_error"))
    assert again.trials["test_mean_squared_error"].tolist() == pytest.approx(
        measured.trials["test_mean_squared_error"].tolist()
    )
    with pytest.raises(ConfigurationError, match=r"'test_mean_squared_error'; name .*--metric"):
        measurements_of_table(table)


def test_guessing_is_that_of_the_task(tmp_path: Path) -> None:
    """In the units of the metric; 1 / classes needs no column of its own."""
    sweep = sweep_of(LanguageModelling())
    frame = trials_frame(sweep, Storage(tmp_path))
    assert frame["chance"].tolist() == [math.log2(10)] * len(sweep.cells)
    assert "test_accuracy" not in frame
    assert frame["test_bits_per_byte"].dtype == float
    frame = trials_frame(sweep_of(Classification()), Storage(tmp_path))
    assert "chance" not in frame
    assert {"test_accuracy", "test_accuracy_top5"} <= set(frame.columns)


def test_a_sweep_of_several_metrics_is_refused(tmp_path: Path) -> None:
    smoothed = sweep_of(Classification(label_smoothing=0.1))
    first, second = sweep_of(Classification()), sweep_of(Regression())
    blocks = (*first.blocks, replace(second.blocks[0], label="numbers"))
    mixed = replace(first, blocks=blocks)
    with pytest.raises(
        ConfigurationError,
        match=r"^sweep made: the main metric of numbers .* is mean_squared_error, and that of FP "
        r"seed=0 is accuracy: must be one metric, .*$",
    ):
        measurements_of(mixed, Storage(tmp_path))
    assert metric_of("both", (*first.cells, *smoothed.cells)) == ACCURACY


def test_metrics_are_described() -> None:
    assert described(TopAccuracy()) == ACCURACY
    assert described(TopAccuracy(5)) == ACCURACY_TOP5
    bits = metric_named("bits_per_byte")
    assert bits.shown(2.3094) == "2.309 bits a byte"
    assert bits.shown_difference(0.0123) == "0.012 bits a byte"
    assert (bits.higher_is_better, bits.with_unit) == (False, "cross-entropy (bits a byte)")
    assert metric_named("r2:higher").higher_is_better
    assert not metric_named("loss:lower").higher_is_better
    for text, message in (
        ("r2", "must say which values are better, as r2:higher or r2:lower; known .* accuracy,"),
        ("r2:up", "must be the NAME of the columns"),
        ("a b", "must be the NAME of the columns"),
        ("accuracy:lower", "higher values of accuracy are better; omit the direction"),
    ):
        with pytest.raises(ConfigurationError, match=f"^--metric {text}: {message}"):
            metric_named(text)


def test_the_main_metric_is_that_of_mlflow() -> None:
    prefix = "mlflow.experiment.primaryMetric"
    for task, name, is_higher in (
        (Classification(), "test_accuracy", "true"),
        (Regression(), "test_mean_squared_error", "false"),
    ):
        tags = experiment_tags(main_metric(sweep_of(task).cells))
        assert (tags[f"{prefix}.name"], tags[f"{prefix}.greaterIsBetter"]) == (name, is_higher)
    assert main_metric([]).name == "accuracy"
    assert np.isfinite(main_metric([]).factor)
