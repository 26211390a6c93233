"""What a sweep's trials hand over to the analysis."""

from pathlib import Path

import numpy as np
import pytest
import torch

from analysis.schema import Measurements
from analysis.variance import variance_split
from quantlab.quantization_sets import BINARY, QUATERNARY, TERNARY
from quantlab.quantizers.piecewise_linear import PiecewiseLinear
from sweeps.importance import importance_frame
from sweeps.loading import load_sweep
from sweeps.maps import EXAMPLES, maps_frame
from sweeps.results import bits, histograms_frame, trials_frame
from sweeps.storage import Storage
from tests.analysis.frames import grid
from tests.conftest import Ran


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
    sharpness = storage.trial(histograms["trial_id"].iloc[0]).read_history()[0].sharpness
    expected = torch.tanh((1 + sharpness) * torch.tensor(curve["latent"].to_numpy()))
    assert np.allclose(curve["proximal"], expected)


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
