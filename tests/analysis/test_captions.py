"""What captions say of the images of a choice, and of the limits in a table."""

import numpy as np
import pandas as pd
import pytest

from analysis.columns import ADDED, IMPORTANCE, empty
from analysis.findings import analyse
from analysis.schema import Measurements
from analysis.tables.findings import all_tables
from analysis.tables.table import Table
from tests.analysis.frames import grid
from tests.analysis.knob_effects.tables import with_knobs


def tables_of(frame: pd.DataFrame) -> dict[str, Table]:
    findings = analyse(Measurements(frame))
    return {table.name: table for table in all_tables(findings, empty(IMPORTANCE))}


def made() -> pd.DataFrame:
    return grid(lambda *_: 0.9, noise=0.001, sets=("binary",), seeds=3)


ON_VALIDATION = "was chosen on validation images."
ON_TEST = "was chosen on the test images, which is optimistic."


@pytest.mark.parametrize(
    ("lacking", "says"),
    [
        ((), f"Each ρ0 {ON_VALIDATION}"),
        (("PC", "PQ"), f"Each ρ0 {ON_TEST}"),
        (("PC",), "but that of the following on the test images, which is optimistic: ConvNet PC."),
    ],
)
def test_without_validation_images_captions_name_the_test_images(
    lacking: tuple[str, ...], says: str
) -> None:
    frame = made()
    frame.loc[frame["method"].isin(lacking), "validation_accuracy"] = np.nan
    tables = tables_of(frame)
    for name in ("sensitivity", "methods_1"):
        assert says in tables[name].caption


def test_captions_of_knobs_name_the_images_of_the_choice() -> None:
    frame = with_knobs(lambda rate, theta: 0.9 - 0.1 * theta * rate, noise=0.001)
    assert f"Each value {ON_VALIDATION}" in tables_of(frame)["knobs"].caption
    alone = frame.assign(validation_accuracy=np.nan)
    assert f"Each value {ON_TEST}" in tables_of(alone)["knobs"].caption


def test_the_caption_of_a_sweep_that_ran_until_decided_has_the_limits_of_its_looks() -> None:
    once, looked = made(), made().assign(**{ADDED: ""})
    caption = tables_of(once)["sensitivity"].caption
    assert "upper limit (Tukey)" in caption
    assert "p values (analysis of variance) are corrected" in caption
    caption = tables_of(looked)["sensitivity"].caption
    assert "upper limit of all looks together" in caption
    assert "There are no p values" in caption
    assert "Tukey" not in caption
    other = once.assign(model="Other", **{ADDED: ""})
    other[["trial_id", "configuration_id"]] += "o"
    waits = other["seed"] == 2  # so that no look is whole
    values = ["test_accuracy", "validation_accuracy"]
    other.loc[waits, "state"], other.loc[waits, values] = "WAITING", np.nan
    both = tables_of(pd.concat([looked, other], ignore_index=True))["sensitivity"]
    assert both.body["p"].eq("").tolist() == [True, True, False, False]
    assert "Rows without a look have Tukey's limit and p values." in both.caption
