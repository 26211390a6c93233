"""What a sweep's trials hand over to the analysis."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from analysis.findings import analyse
from analysis.schema import Measurements
from analysis.statistics.selection import Split
from analysis.statistics.variance import variance_split
from quantlab import (
    ConfigurationError,
    Distillation,
    Quantization,
    Quantizer,
    Schedule,
    WeightGroup,
)
from quantlab.initial_weights import RandomLevels, WeightsFile
from quantlab.optim.histogram import NUM_BINS, WeightHistogram
from quantlab.quantization_sets import BINARY, QUATERNARY, TERNARY
from quantlab.quantizers.knots import Knots
from quantlab.quantizers.mixture import Averaged
from quantlab.quantizers.nearest import Nearest
from quantlab.quantizers.piecewise_linear import PiecewiseLinear
from quantlab.quantizers.tanh import Tanh
from quantlab.quantizers.unbounded.grid import StochasticOnGrid
from quantlab.schedules import Constant, InversePi, Linear, ProxQuantEpochs
from quantlab.update_rules import POST_TRAINING, PROX_QUANT, UpdateRule
from sweeps.coordinates import bits, classes, level_set, network_bits, regime, rho0
from sweeps.loading import load_sweep
from sweeps.reporting import sweep_report
from sweeps.reporting.frames import histograms_frame, trials_frame
from sweeps.reporting.importance import importance_frame
from sweeps.reporting.maps import EXAMPLES, maps_frame, quantizer_maps
from sweeps.reporting.terminal import show
from sweeps.spec import Axis, Block, SweepSpec
from sweeps.storage import Storage, TrialState
from sweeps.worker.trial_writer import record_failure
from tests.analysis.frames import grid
from tests.conftest import Ran
from tests.quantlab.recipes import quantized, small_recipe
from tests.sweeps.trial_files import ended, epoch


def test_bits_of_the_papers_sets() -> None:
    found = {
        cell.coordinates.get("set", ""): bits(cell.recipe, {})
        for cell in load_sweep("digits").cells
    }
    assert found == {
        "": 32.0,
        "binary": 1.0,
        "ternary": pytest.approx(np.log2(3)),
        "quaternary": 2.0,
    }
    assert [len(levels) for levels in (BINARY, TERNARY, QUATERNARY)] == [2, 3, 4]


def test_bits_of_the_network_are_missing_in_older_results() -> None:
    full, quantized = load_sweep("digits").cells[0].recipe, load_sweep("digits").cells[-1].recipe
    assert network_bits(full, {}) == 32
    assert np.isnan(network_bits(quantized, {"bits": 1.0}))
    assert network_bits(quantized, {"bits": 1.0, "network_bits": 1.7}) == 1.7


def rho0_of(
    quantizer: Quantizer,
    sharpness: Schedule,
    axis: Axis | None = None,
    rule: UpdateRule = PROX_QUANT,
) -> list[float | None]:
    quantization = Quantization(rule=rule, quantizer=quantizer, sharpness=sharpness)
    sweep = SweepSpec(
        name="a",
        base=small_recipe(quantization=quantization),
        blocks=(Block("A", axes=(axis,) if axis else ()),),
        seeds=(0,),
    )
    return [rho0(cell) for cell in sweep.cells]


def test_rho0_is_what_the_axis_says() -> None:
    schedule = ProxQuantEpochs(rate=1, eta=Constant(0.05))
    rates = Axis("rho0", "quantization.sharpness.rate", (0.1, 1.0, 10.0))
    assert rho0_of(PiecewiseLinear(), schedule, rates) == [0.1, 1, 10]
    by_name = Axis("rho0", "quantization.sharpness", {"1e-2": Linear(0.01), "2e-2": Linear(0.02)})
    assert rho0_of(PiecewiseLinear(), schedule, by_name) == [0.01, 0.02]
    growth = Axis("rho0", "quantization.quantizer.rho.start", (0.2, 0.4))
    assert rho0_of(Knots(), Linear(1), growth) == [0.2, 0.4]
    # A label that is no number leaves it to the schedule.
    words = Axis("rho0", "quantization.sharpness", {"low": Linear(0.01), "high": Linear(0.02)})
    assert rho0_of(PiecewiseLinear(), schedule, words) == [0.01, 0.02]


def test_rho0_is_that_of_the_schedule_where_it_means_that() -> None:
    eta = Constant(0.05)
    assert rho0_of(PiecewiseLinear(), Linear(0.3)) == [0.3]
    assert rho0_of(PiecewiseLinear(), InversePi(0.3, eta)) == [0.3]
    assert rho0_of(PiecewiseLinear(), Constant(0.3)) == [0.3]
    assert rho0_of(PiecewiseLinear(), ProxQuantEpochs(rate=1, eta=eta)) == [None]
    assert rho0_of(Nearest(), Linear(0.3)) == [None]
    assert rho0_of(PiecewiseLinear(), Linear(0.3), rule=POST_TRAINING) == [None]
    # Maps whose parameters follow the sharpness as a clock.
    for quantizer in (Knots(), Tanh(), Averaged(members=(Knots(), Nearest()))):
        assert rho0_of(quantizer, Linear(1)) == [None]


def test_layers_with_sets_of_their_own_are_of_no_common_set() -> None:
    plain = Quantization(rule=PROX_QUANT, quantizer=PiecewiseLinear(TERNARY), sharpness=Linear(0.1))
    same, other = (
        replace(plain, groups=(WeightGroup(layers=("Linear",), quantizer=PiecewiseLinear(levels)),))
        for levels in (TERNARY, BINARY)
    )
    axis = Axis("scope", "quantization", {"plain": plain, "same": same, "other": other})
    base = small_recipe(quantization=plain)
    sweep = SweepSpec(name="a", base=base, blocks=(Block("A", axes=(axis,)),), seeds=(0,))
    assert [level_set(cell) for cell in sweep.cells] == ["ternary", "ternary", "by layer"]


def test_an_unbounded_set_has_a_name_of_its_own_and_32_bits() -> None:
    plain = Quantization(rule=PROX_QUANT, quantizer=StochasticOnGrid(0.1))
    group = WeightGroup(layers=("Linear",), quantizer=StochasticOnGrid(0.2))
    axis = Axis("scope", "quantization", {"all": plain, "two": replace(plain, groups=(group,))})
    base = small_recipe(quantization=plain)
    sweep = SweepSpec(name="a", base=base, blocks=(Block("A", axes=(axis,)),), seeds=(0,))
    assert [level_set(cell) for cell in sweep.cells] == ["grid 0.1", "by layer"]
    assert [bits(cell.recipe, {}) for cell in sweep.cells] == [32, 32]


def test_training_from_random_levels_is_end_to_end() -> None:
    starts = {"random": RandomLevels(), "file": WeightsFile("net.pt")}
    axis = Axis("start", "initial_weights", starts)
    sweep = SweepSpec(name="a", base=small_recipe(), blocks=(Block("A", axes=(axis,)),), seeds=(0,))
    assert [regime(cell) for cell in sweep.cells] == ["end-to-end", "fine-tuning"]


def test_trials_with_a_teacher_are_apart_from_those_without(tmp_path: Path) -> None:
    taught = quantized(distillation=Distillation(teacher=WeightsFile("net.pt"), weight=0.25))
    blocks = (
        Block("with", base=taught, method="PC"),
        Block("without", base=quantized(), method="PC"),
        Block("FP", base=small_recipe()),
    )
    sweep = SweepSpec(name="a", blocks=blocks, seeds=(0,))
    frame = Measurements(trials_frame(sweep, Storage(tmp_path))).trials
    assert set(frame["regime"]) == {"end-to-end"}
    said = "distillation=Distillation, teacher=WeightsFile, file=net.pt, weight=0.25, temperature=1"
    assert frame["axis.distillation"].tolist() == [said, "none", "none"]
    one = SweepSpec(name="a", blocks=blocks[1:], seeds=(0,))
    frame = Measurements(trials_frame(one, Storage(tmp_path))).trials
    assert "axis.distillation" not in frame


def test_histograms_of_a_growing_range_have_common_bins(tmp_path: Path) -> None:
    """The first epoch's 41 bins, 0.1 apart, become bins of 0.2; those of the second one stay."""
    quantization = Quantization(rule=PROX_QUANT, quantizer=StochasticOnGrid(0.1))
    sweep = SweepSpec(
        name="a", base=small_recipe(quantization=quantization), blocks=(Block("A"),), seeds=(0,)
    )
    (cell,) = sweep.cells
    folder = Storage(tmp_path).trial(cell.fingerprint)
    folder.make()
    for number, high in ((1, 2.0), (2, 4.0)):
        counts = [0] * NUM_BINS
        counts[20], counts[24], counts[40] = 5, 2, 3
        histogram = WeightHistogram(-high, high, tuple(counts))
        folder.append_history(epoch(number, weight_histogram=histogram))
    folder.result.write(ended(epochs=2))
    frame = histograms_frame(sweep, Storage(tmp_path), [cell.configuration_id])
    filled = frame[frame["fraction"] > 0]
    assert filled["epoch"].tolist() == [1, 1, 1, 2, 2, 2]
    assert filled["weight"].tolist() == pytest.approx([0, 0.4, 2, 0, 0.8, 4], abs=1e-12)
    assert filled["fraction"].tolist() == pytest.approx([0.5, 0.2, 0.3] * 2)
    assert len(frame) == 2 * NUM_BINS
    assert frame["weight"].nunique() == NUM_BINS


def test_an_axis_of_words_without_a_rho0_stays_an_axis(tmp_path: Path) -> None:
    quantization = Quantization(rule=PROX_QUANT, quantizer=Knots(), sharpness=Linear(1))
    words = Axis("rho0", "quantization.sharpness", {"slow": Linear(1), "fast": Linear(2)})
    sweep = SweepSpec(
        name="a",
        base=small_recipe(quantization=quantization),
        blocks=(Block("A", axes=(words,)),),
        seeds=(0,),
    )
    frame = trials_frame(sweep, Storage(tmp_path))
    assert frame["rho0"].isna().all()
    assert frame["axis.rho0"].tolist() == ["slow", "fast"]


def test_results_with_and_without_top5_and_selected_epochs(tmp_path: Path) -> None:
    sweep = SweepSpec(name="a", base=small_recipe(), blocks=(Block("A"),), seeds=(0, 1))
    storage = Storage(tmp_path)
    new = {"test_accuracy_top5": 0.9, "validation_accuracy_top5": 0.8, "selected_epoch": 3}
    for cell, details in zip(sweep.cells, (new, {}), strict=True):
        folder = storage.trial(cell.fingerprint)
        folder.make()
        folder.result.write(ended(**details))
    assert storage.trial(sweep.cells[0].fingerprint).result.read() == ended(**new)
    frame = Measurements(trials_frame(sweep, storage)).trials
    found = frame[list(new)]
    assert found.iloc[0].to_dict() == new
    assert found.iloc[1].isna().all()


@pytest.mark.slow
def test_histograms_and_maps_of_a_sweep(tiny: Ran) -> None:
    sweep = load_sweep(str(tiny.folder / "tiny.py"))
    storage = Storage(tiny.folder / "runs")
    trials = trials_frame(sweep, storage)
    wanted = trials.loc[trials["method"] == "MD", "configuration_id"].unique()[:1]
    histograms = histograms_frame(sweep, storage, wanted)
    assert set(histograms["configuration_id"]) == set(wanted)
    assert histograms["trial_id"].nunique() == 1
    sums = histograms.groupby("epoch")["fraction"].sum()
    assert sums.to_numpy() == pytest.approx(1)
    assert (histograms["weight"].min(), histograms["weight"].max()) == (-1, 1)
    maps = maps_frame(sweep, storage, list(wanted))
    Measurements(trials, histograms=histograms, maps=maps)
    own = maps[maps["figure"] == "maps"]
    assert own["row"].unique().tolist() == ["MD"]
    curve = own[own["curve"] == "after the first epoch"]
    sharpness = storage.trial(histograms["trial_id"].iloc[0]).read_history()[0].sharpness_after
    expected = torch.tanh((1 + sharpness) * torch.tensor(curve["latent"].to_numpy()))
    assert np.allclose(curve["proximal"], expected)


def test_histograms_and_maps_are_those_of_the_selected_configurations(tmp_path: Path) -> None:
    axis = Axis("rho0", "quantization.sharpness.rho0", (0.1, 1.0))
    sweep = SweepSpec(
        name="made", base=quantized(), blocks=(Block("PC", axes=(axis,)),), seeds=(0,)
    )
    storage = Storage(tmp_path)
    for cell, validation in zip(sweep.cells, (0.9, 0.5), strict=True):
        folder = storage.trial(cell.fingerprint)
        folder.make()
        histogram = WeightHistogram(low=-1.0, high=1.0, counts=(1, 2, 1))
        folder.append_history(epoch(1, weight_histogram=histogram))
        accuracies = {"validation_accuracy": validation, "test_accuracy": 1.4 - validation}
        folder.result.write(ended(epochs=1, **accuracies))
    measured = sweep_report.measurements_of(sweep, storage)
    splits: tuple[Split, ...] = ("validation", "test")
    for split, cell in zip(splits, sweep.cells, strict=True):
        findings = analyse(measured, select_on=split)
        details = sweep_report.details_of(sweep, storage, findings)
        assert set(details["histograms"]["trial_id"]) == {cell.fingerprint}
        assert set(details["maps"]["row"]) == {"", "PC"}


def test_the_examples_are_the_maps_of_equation_13(tmp_path: Path) -> None:
    maps = maps_frame(load_sweep("digits"), Storage(tmp_path), [])
    assert len(maps["column"].unique()) == len(EXAMPLES)
    for (rho, varrho), (_, curve) in zip(EXAMPLES, maps.groupby("column", sort=False), strict=True):
        quantizer = PiecewiseLinear(TERNARY, rho_scale=rho, varrho_scale=varrho)
        latent = torch.tensor(curve["latent"].to_numpy())
        known = curve["proximal"].notna().to_numpy()
        expected = quantizer.prox(latent, 1.0).numpy()
        assert np.allclose(curve["proximal"][known], expected[known])
        assert (~known).sum() <= 2  # one point at each jump


def test_a_group_of_layers_is_drawn_by_its_own_schedule(tmp_path: Path) -> None:
    group = WeightGroup(
        layers=("Linear",), quantizer=PiecewiseLinear(BINARY), sharpness=Linear(0.3)
    )
    quantization = Quantization(
        rule=PROX_QUANT, quantizer=PiecewiseLinear(), sharpness=Linear(0.01), groups=(group,)
    )
    base = small_recipe(quantization=quantization)
    sweep = SweepSpec(name="a", base=base, blocks=(Block("A"),), seeds=(0,))
    (cell,) = sweep.cells
    folder = Storage(tmp_path).trial(cell.fingerprint)
    folder.path.mkdir(parents=True)
    for number in (1, 2):  # of 10 steps each
        folder.append_history(epoch(number, sharpness=0.0, sharpness_after=0.01 * (1 + number)))
    maps = quantizer_maps({"winner": cell}, Storage(tmp_path))
    for layers, (quantizer, rho) in {
        "Linear": (PiecewiseLinear(BINARY), 0.6),
        "other layers": (PiecewiseLinear(), 0.02),
    }.items():
        curve = maps[(maps["row"] == layers) & (maps["curve"] == "after the first epoch")]
        known = curve["proximal"].notna()
        expected = quantizer.prox(torch.tensor(curve["latent"].to_numpy()), rho).numpy()
        assert np.allclose(curve["proximal"][known], expected[known.to_numpy()])


def test_fanova_agrees_with_the_variance_split_on_main_effects() -> None:
    frame = grid(
        lambda method, levels, place, seed: (
            0.5 + 0.15 * place + (0.1 if levels == "binary" else 0.0) + 0.01 * seed
        ),
        noise=0.005,
    )
    ours = variance_split(frame).set_index("source")["share"]
    theirs = importance_frame(frame)
    whole = theirs[theirs["method"] == ""].set_index("factor")["importance"]
    assert whole.sum() == pytest.approx(1)
    assert whole["ρ0"] == pytest.approx(ours["ρ0"], abs=0.05)
    assert whole["set"] == pytest.approx(ours["set"], abs=0.05)
    assert set(theirs["method"]) == {"", "PQ", "PC"}
    assert importance_frame(frame[frame["method"] == "none"]).empty
    many = [frame.assign(model=f"Net{number}") for number in range(2000 // len(frame) + 1)]
    assert importance_frame(pd.concat(many, ignore_index=True)).empty


def test_no_number_is_cut_off_where_the_terminal_is_narrow(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    methods = ("PC", "PQ", "rPC", "BC", "TWN", "LSQ")
    measured = Measurements(grid(lambda *_: 0.5, methods=methods, noise=0.01))
    chosen = sweep_report.ReportOptions(("markdown",), "validation", None, 0.03)
    written = sweep_report.report(measured, tmp_path / "out", "made", {}, chosen)
    show(written)
    printed = capsys.readouterr().out.partition("over ρ0: PC")[0]
    (table,) = [table for table in written.tables if table.name.startswith("methods")]
    cells = [cell for row in table.body.itertuples(index=False) for cell in row]
    plain = [re.sub(r"[*_]{2}", "", cell) for cell in cells]
    assert all(part in printed for cell in plain for part in cell.split(" at "))


def test_classes_are_known_without_a_result() -> None:
    assert {classes(cell.recipe) for cell in load_sweep("digits").cells} == {10}


def test_a_sweep_of_which_all_trials_diverged_has_a_report_that_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    axis = Axis("rho0", "quantization.sharpness.rho0", (0.1, 1.0))
    sweep = SweepSpec(
        name="made", base=quantized(), blocks=(Block("PC", axes=(axis,)),), seeds=(0, 1)
    )
    storage = Storage(tmp_path / "runs")
    with pytest.raises(ConfigurationError, match=r"no trial has ended .*\(4 trials: 4 WAITING\)"):
        sweep_report.measurements_of(sweep, storage)
    for cell in sweep.cells:
        folder = storage.trial(cell.fingerprint)
        folder.make()
        folder.result.write(ended(TrialState.DIVERGED, test_accuracy=None, error="not finite"))
    chosen = sweep_report.ReportOptions(("html", "markdown"), "validation", None, 0.03)
    measured = sweep_report.measurements_of(sweep, storage)
    written = sweep_report.report(measured, tmp_path / "out", "made", {}, chosen)
    show(written)
    assert capsys.readouterr().out.startswith("trials: 4 diverged\n")
    assert written.findings.verdicts["verdict"].tolist() == ["fails"]
    text = (tmp_path / "out" / "report.md").read_text()
    assert "4 trials: 4 DIVERGED." in text
    assert "| 2 diverged | 2 diverged |" in text


def test_failed_trials_have_their_reason_and_a_link_to_what_they_printed(tmp_path: Path) -> None:
    sweep = SweepSpec(name="made", base=quantized(), blocks=(Block("PC"),), seeds=(0, 1, 2))
    storage, out = Storage(tmp_path / "runs"), tmp_path / "runs" / "reports" / "made"
    for cell in sweep.cells:
        record_failure(storage.trial(cell.fingerprint), "OSError: no file")
    first, second, done = sweep.cells
    storage.trial(done.fingerprint).result.write(ended(TrialState.DIVERGED, test_accuracy=None))
    printed = storage.trial(second.fingerprint).output_of(0)
    printed.write_text("beware\n")
    found = sweep_report.failed_in(sweep.cells, storage, out)
    assert [(one.name, one.fingerprint, one.reason) for one in found] == [
        (cell.name, cell.fingerprint, "OSError: no file") for cell in (first, second)
    ]
    assert found[0].log == ""
    assert (out / found[1].log).resolve() == printed.resolve()
