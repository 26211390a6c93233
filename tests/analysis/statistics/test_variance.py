"""The variance split against statsmodels, and on grids whose shares are known."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
import statsmodels.formula.api as smf

from analysis.statistics.variance import variance_split
from tests.analysis.frames import grid


def shares(frame: pd.DataFrame, column: str = "share") -> dict[str, float]:
    return variance_split(frame).set_index("source")[column].to_dict()


def test_one_method_is_statsmodels_sequential_analysis() -> None:
    frame = grid(
        lambda method, levels, place, seed: (
            0.5 + 0.1 * place + (0.07 * place if levels == "binary" else 0.2) + 0.03 * seed
        ),
        methods=("PC",),
        noise=0.02,
    )
    for lost in ([], [0, 4, 9]):  # balanced, and with gaps
        part = frame.drop(index=lost).reset_index(drop=True)
        model = smf.ols("test_accuracy ~ C(set) + C(rho0) + C(set):C(rho0) + C(seed)", part).fit()
        expected = sm.stats.anova_lm(model, typ=1)
        # Its order is by the number of factors; ours has the seed last, as the formula has.
        found = variance_split(part).set_index("source")
        for ours, theirs in (("set", "C(set)"), ("ρ0", "C(rho0)"), ("noise", "Residual")):
            assert found.loc[ours, "squares"] == pytest.approx(expected.loc[theirs, "sum_sq"])
            assert found.loc[ours, "degrees"] == expected.loc[theirs, "df"]
        interaction = found.loc["set × ρ0", "squares"] + found.loc["seed", "squares"]
        theirs = expected.loc[["C(set):C(rho0)", "C(seed)"], "sum_sq"].sum()
        assert interaction == pytest.approx(theirs)


def test_squares_and_degrees_add_up_with_nested_rho0_and_gaps() -> None:
    frame = grid(lambda method, levels, place, seed: 0.5 + 0.1 * place, noise=0.05)
    own_grid = frame["rho0"].where(frame["method"] == "PC", frame["rho0"] * 7)
    frame = frame.assign(rho0=own_grid).drop(index=[1, 2, 30]).reset_index(drop=True)
    found = variance_split(frame)
    accuracy = frame["test_accuracy"]
    assert found["squares"].sum() == pytest.approx(((accuracy - accuracy.mean()) ** 2).sum())
    assert found["degrees"].sum() == len(frame) - 1
    assert found["explained"].sum() == pytest.approx(1)
    assert found["share"].sum() == pytest.approx(1)


def test_planted_main_effects_have_their_shares() -> None:
    """Effects +-a of two levels have variance a^2 each: 4, 1 and noise of 0.25."""
    frame = grid(
        lambda method, levels, place, seed: (
            0.5 + (0.2 if levels == "binary" else -0.2) + (0.1 if method == "PC" else -0.1)
        ),
        noise=0.05,
        seeds=20,
    )
    found = shares(frame)
    assert found["set"] == pytest.approx(4 / 5.25, abs=0.02)
    assert found["method"] == pytest.approx(1 / 5.25, abs=0.02)
    assert found["noise"] == pytest.approx(0.25 / 5.25, abs=0.02)
    assert abs(found["ρ0"]) < 0.01
    assert abs(found["set × method"]) < 0.01


def test_a_planted_interaction_is_no_main_effect() -> None:
    frame = grid(
        lambda method, levels, place, seed: (
            0.5 + (0.2 if (levels == "binary") == (method == "PC") else -0.2)
        ),
        noise=0.02,
    )
    found = shares(frame)
    assert found["set × method"] > 0.97
    assert abs(found["set"]) + abs(found["method"]) < 0.01
    frame = grid(
        lambda method, levels, place, seed: (
            0.5 + (place - 1) * (0.2 if levels == "binary" else -0.2)
        ),
        noise=0.02,
    )
    found = shares(frame)
    assert found["set × ρ0"] > 0.97
    assert abs(found["ρ0"]) < 0.01


def test_a_planted_seed_effect_is_the_seeds() -> None:
    found = shares(grid(lambda method, levels, place, seed: 0.5 + 0.1 * seed, noise=0.01))
    assert found["seed"] > 0.95


def test_pure_noise_is_called_noise() -> None:
    splits = pd.DataFrame(
        [shares(grid(lambda *_: 0.5, noise=0.05, seed=seed)) for seed in range(60)]
    )
    assert splits["noise"].mean() == pytest.approx(1, abs=0.05)
    assert (splits.drop(columns="noise").mean().abs() < 0.03).all()
    explained = shares(grid(lambda *_: 0.5, noise=0.05), "explained")
    assert explained["noise"] < 0.9  # which the shares are there for


def test_a_method_by_itself_and_what_does_not_vary() -> None:
    frame = grid(
        lambda method, levels, place, seed: 0.5 + 0.1 * place * (method == "PQ"), noise=0.01
    )
    split = variance_split(frame, by_method=True).set_index(["method", "source"])["share"]
    assert split.loc[("PQ", "ρ0")] > 0.9
    assert abs(split.loc[("PC", "ρ0")]) < 0.3
    assert ("PC", "method") not in split.index
    single = variance_split(grid(lambda *_: 0.5, methods=("PC",), sets=("binary",), noise=0.1))
    assert single["source"].tolist() == ["ρ0", "seed", "noise"]


def test_without_repetition_nothing_is_called_noise() -> None:
    found = variance_split(grid(lambda m, s, place, seed: 0.5 + 0.1 * place, seeds=1))
    assert found.set_index("source").loc["noise", "degrees"] == 0
    assert np.isnan(found["share"]).all()


def test_seeds_of_their_own_are_part_of_the_noise() -> None:
    frame = grid(lambda *_: 0.5, noise=0.05)
    frame["seed"] = range(len(frame))
    found = variance_split(frame).set_index("source")
    assert "seed" not in found.index
    assert found.loc["noise", "degrees"] == len(frame) - 12
    assert found.loc["noise", "share"] == pytest.approx(1, abs=0.35)
