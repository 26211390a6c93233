"""Tables of trials in one: each trial counts once, and the order of the tables has no effect."""

import re
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.findings import analyse
from analysis.joining.trials import Part, join
from analysis.schema import Measurements, SchemaError
from tests.analysis.frames import EXAMPLE, grid, trials
from tests.analysis.knob_effects.tables import settings_of, with_knobs

WHOLE = grid(lambda method, levels, place, seed: 0.9 - 0.01 * place, noise=0.01, rho0=(0.1, 1.0))


def waiting(frame: pd.DataFrame) -> pd.DataFrame:
    """The trials as they are in a storage in which they have not been trained."""
    return frame.assign(state="WAITING", validation_accuracy=np.nan, test_accuracy=np.nan, epochs=0)


@settings(max_examples=8, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32), count=st.integers(1, 4))
def test_order_and_overlap_have_no_effect(seed: int, count: int) -> None:
    """Each table has some of the trials; each trial was finished in one of those that have it."""
    rng = np.random.default_rng(seed)
    trained = rng.integers(count, size=len(WHOLE))
    has = rng.random((count, len(WHOLE))) < 0.4
    has[trained, np.arange(len(WHOLE))] = True
    parts = [
        Part(
            f"{place}.csv",
            pd.concat([WHOLE[has[place] & is_here], waiting(WHOLE[has[place] & ~is_here])]),
        )
        for place in range(count)
        if (is_here := trained == place).any()
    ]
    joined = join(parts)
    again = join([parts[place] for place in rng.permutation(len(parts))])
    pd.testing.assert_frame_equal(joined.trials, again.trials)
    assert (joined.parts == again.parts).all()
    assert joined.notes() == again.notes()
    assert joined.num_shared == (has[np.unique(trained)].sum(axis=0) > 1).sum()
    assert not joined.differing
    by_id = joined.trials.set_index("trial_id").loc[WHOLE["trial_id"]].reset_index()
    pd.testing.assert_frame_equal(by_id[list(WHOLE)], WHOLE, check_dtype=False)
    for trial, place in zip(joined.trials["trial_id"], joined.parts, strict=True):
        assert joined.names[place] == f"{trained[int(trial[1:])]}.csv"


def test_a_joined_table_is_analysed_as_the_whole_one() -> None:
    parts = [Part("a", WHOLE.iloc[::2]), Part("b", WHOLE.iloc[1::2]), Part("c", WHOLE.iloc[::3])]
    keys = ["method", "set", "rho0"]
    whole, joined = (
        analyse(Measurements(frame)).sensitivity.sort_values(keys[:2]).reset_index(drop=True)
        for frame in (WHOLE, join(parts).trials)
    )
    columns = ["method", "set", "choices", "range", "verdict"]
    pd.testing.assert_frame_equal(whole[columns], joined[columns])


def test_results_that_differ_are_named_and_the_first_table_counts() -> None:
    other = trials(EXAMPLE)
    other.loc[0, "test_accuracy"] = 0.5
    other.loc[9, ["state", "test_accuracy", "validation_accuracy"]] = ["COMPLETE", 0.4, 0.4]
    joined = join([Part("b", other), Part("a", trials(EXAMPLE))])
    assert joined.differing == ("FP  None seed=0", "PQ binary 1e-06 seed=1")
    assert joined.trials.loc[0, "test_accuracy"] == 0.98
    assert joined.trials.loc[9, "state"] == "DIVERGED"
    assert joined.notes() == [
        "10 trials in several sources, and counted once",
        "2 trials with different results in two sources, of which that of the first in the "
        "alphabet counts: FP  None seed=0, PQ binary 1e-06 seed=1",
    ]


def labelled(frame: pd.DataFrame, **changes: Any) -> pd.DataFrame:
    return frame.assign(**{"recipe.epochs": 3, **changes})


def test_a_configuration_has_the_names_of_the_first_table() -> None:
    first = labelled(trials(EXAMPLE[4:6]), sweep="first")
    second = labelled(trials(EXAMPLE[4:8]), sweep="second", method="ProxConnect")
    second["axis.theta"] = "1"
    joined = join([Part("second.py", second), Part("first.py", first)])
    assert list(joined.trials["method"]) == ["PC", "PC", "ProxConnect", "ProxConnect"]
    assert list(joined.trials["axis.theta"]) == ["1"] * 4  # about which the first says nothing
    assert list(joined.trials["sweep"]) == ["first + second"] * 2 + ["second"] * 2
    assert joined.renamed == ("PC binary 0.01 seed=0",)
    apart = join([Part("second.py", second), Part("first.py", first, "mine")], by="tag").trials
    assert list(apart["axis.tag"]) == ["mine + second.py"] * 2 + ["second.py"] * 2
    again = join([Part("joined.csv", joined.trials), Part("first.py", first)], by="sweep").trials
    assert list(again["axis.sweep"]) == ["first + second"] * 2 + ["second"] * 2


def test_different_configurations_with_the_same_columns_need_to_be_kept_apart() -> None:
    first = trials(EXAMPLE[4:6], sweep="first")
    other = trials(EXAMPLE[4:6], sweep="other", configuration_id="c")
    other["trial_id"] = ["x", "y"]
    parts = [Part("first", first), Part("other", other)]
    with pytest.raises(SchemaError, match="'c' has the same dataset, model"):
        Measurements(join(parts).trials)
    apart = Measurements(join(parts, by="sweep").trials).trials
    assert list(apart["axis.sweep"]) == ["first"] * 2 + ["other"] * 2
    with pytest.raises(SchemaError, match="there already is an axis 'sweep'"):
        join([Part("apart.csv", apart)], by="sweep")


def test_a_value_of_a_knob_is_one_value_however_it_is_written() -> None:
    """Two sweeps with a rate each, of which one also has a theta; the order has no effect."""
    whole = with_knobs(lambda rate, theta: 0.9, noise=0.001, thetas=(0.0, 1.0))
    first = whole[whole["axis.theta"] == "0"]
    second = whole[whole["axis.theta"] == "1"].replace(
        {"axis.rate": {"0.01": "1e-2", "0.1": "0.10", "1": "1.0"}}
    )
    overlap = first[:3].assign(**{"axis.rate": "0.010", "recipe.epochs": 3})
    first = first.assign(**{"recipe.epochs": 3})
    for parts in ([first, second, overlap], [overlap, second, first]):
        joined = join([Part(f"{place}.csv", part) for place, part in enumerate(parts)])
        assert set(joined.trials["axis.rate"]) == {"0.01", "0.1", "1"}
        assert joined.renamed == ()
        found = settings_of(joined.trials)
        assert sorted(found.table["label of rate"]) == ["0.01"] * 2 + ["0.1"] * 2 + ["1"] * 2


def test_a_table_that_names_no_knobs_has_those_of_the_others() -> None:
    whole = with_knobs(lambda rate, theta: 0.9 - rate / 10, noise=0.001, thetas=(0.0, 1.0))
    first, second = whole[whole["axis.rate"] != "1"], whole[whole["axis.rate"] == "1"]
    more = first[first["seed"] == 0].assign(seed=9)  # a seed of configurations that the first has
    more["trial_id"] = "more " + more["trial_id"]
    more["axis.rate"] = more["axis.rate"] + "e0"
    other = more.assign(method="PQ", configuration_id="PQ" + more["configuration_id"])
    other["trial_id"] = "other " + other["trial_id"]
    silent = pd.concat([second, more, other]).drop(columns=["knob.rate", "knob.theta"])
    joined = Measurements(join([Part("first", first), Part("second", silent)]).trials).trials
    is_other = joined["method"] == "PQ"
    assert set(joined.loc[~is_other, "knob.rate"]) == {"log"}
    assert set(joined.loc[~is_other, "axis.rate"]) == {"0.01", "0.1", "1"}
    assert set(joined.loc[is_other, "knob.rate"]) == {""}
    assert set(joined.loc[is_other, "axis.rate"]) == {"0.01e0", "0.1e0"}
    columns = ["knob", "choices", "lowest", "highest"]
    found, wanted = (analyse(Measurements(frame)).knobs[columns] for frame in (joined, whole))
    pd.testing.assert_frame_equal(found, wanted)


@pytest.mark.parametrize("recipe", [{}, {"recipe.epochs": 3}])
def test_the_range_of_a_knob_may_differ_between_tables(recipe: dict[str, Any]) -> None:
    """A knob is no part of a recipe, and has the widest range of all tables."""
    first = with_knobs(lambda rate, theta: 0.9, noise=0.001, knobs=("log from 0.01 to 1", "linear"))
    first = first.assign(**recipe)
    more = first.assign(seed=first["seed"] + 9, **{"knob.rate": "log from 0.001 to 0.1"})
    more["trial_id"] = "more " + more["trial_id"]
    joined = join([Part("first", first), Part("more", more.drop(columns="knob.theta"))])
    assert joined.renamed == ()
    found = analyse(Measurements(joined.trials)).knobs.set_index("knob")
    assert found.loc["rate", ["low", "high"]].tolist() == [0.001, 1.0]
    assert found["choices"].to_dict() == {"rate": 3, "theta": 3}


def test_a_text_is_no_value_of_a_knob_of_another_table() -> None:
    first = with_knobs(lambda rate, theta: 0.9, thetas=(0.0,))
    other = first.assign(configuration_id="o", trial_id="o" + first["trial_id"])[:3]
    other = other.assign(**{"axis.rate": "warm"}).drop(columns="knob.rate")
    joined = Measurements(join([Part("first", first), Part("other", other)]).trials).trials
    assert list(joined["knob.rate"]) == ["log"] * len(first) + [""] * 3


def test_labels_of_axes_that_are_no_knobs_stay_as_they_are_written() -> None:
    whole = with_knobs(lambda rate, theta: 0.9, thetas=(0.0,), knobs=("nominal", "linear"))
    other = whole.assign(method="PQ", **{"axis.rate": whole["axis.rate"] + "e0", "knob.rate": ""})
    for column in ("trial_id", "configuration_id"):
        other[column] = "other " + other[column]
    joined = join([Part("a", whole), Part("b", other)]).trials
    assert set(joined["axis.rate"]) == {"0.01", "0.1", "1", "0.01e0", "0.1e0", "1e0"}


def test_chance_of_one_sweep_leaves_the_classes_of_another() -> None:
    first = grid(lambda *_: 0.1, noise=0.002, methods=("PC",), sets=("binary",), seed=1)
    second = first.assign(sweep="second", set="ternary", chance=0.02)
    for column in ("trial_id", "configuration_id"):
        second[column] = "second " + second[column]
    parts = [Part("a", first.assign(classes=10.0)), Part("b", second.assign(classes=10.0))]
    found = analyse(Measurements(join(parts).trials)).sensitivity
    assert found["chance"].tolist() == [0.1, 0.02]
    assert found["verdict"].tolist() == ["fails", "stable"]


def test_sweeps_with_different_seeds_that_are_kept_apart_lack_nothing() -> None:
    first = grid(lambda *_: 0.9, noise=0.001, methods=("PC",), sets=("binary",))
    second = first.assign(sweep="second", seed=first["seed"] + 3)
    for column in ("trial_id", "configuration_id"):
        second[column] = "second " + second[column]
    joined = join([Part("a", first), Part("b", second)], by="sweep").trials
    findings = analyse(Measurements(joined))
    assert (findings.configurations["absent"] == 0).all()
    assert findings.verdicts["verdict"].tolist() == ["stable"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"trial_id": ["t4", "z"]}, "trial_id 't4' is 'PC binary 0.01 seed=0' in a and 'PC binary"),
        ({"method": "other"}, "'PC-binary-0.1' has method 'PC' in a and 'other' in b; give each"),
        ({"state": "DONE"}, "b: trials: state 'DONE' is unknown"),
    ],
)
def test_ids_of_other_programs_that_mean_something_else_are_refused(
    change: dict[str, Any], message: str
) -> None:
    other = trials(EXAMPLE[6:8]).assign(trial_id=["p", "q"], seed=[7, 8]).assign(**change)
    with pytest.raises(SchemaError, match=re.escape(message)):
        join([Part("a", trials(EXAMPLE)), Part("b", other)])
