"""The table of trials on a report's page."""

import pandas as pd

from analysis.report.trials import TrialLinks, trial_table
from analysis.schema import Measurements
from tests.analysis.frames import EXAMPLE, trials


def test_every_axis_has_a_column_and_what_does_not_vary_has_none() -> None:
    frame = trials(EXAMPLE, **{"axis.lr": "<0.1>"})
    table = trial_table(Measurements(frame), {})
    own = ("method", "set", "ρ0", "lr", "seed", "state")
    values = ("validation %", "test %", "epochs", "seconds", "fingerprint")
    assert table.head == own + values
    assert len(table.rows) == len(frame)
    row = dict(zip(table.head, table.rows[frame.index[frame["method"] == "PC"][0]], strict=True))
    assert (row["set"], row["ρ0"], row["lr"]) == ("binary", "1e-2", "&lt;0.1&gt;")
    assert dict(zip(table.head, table.kinds, strict=True))["ρ0"] == "number"
    full = trials([("FP", "", None, seed, 0.9) for seed in (0, 1)])
    assert trial_table(Measurements(full), {}).head[:3] == ("method", "seed", "state")
    other = frame.assign(dataset="Other")
    other[["trial_id", "configuration_id"]] += "o"
    both = Measurements(pd.concat([frame, other], ignore_index=True))
    assert trial_table(both, {}).head[:2] == ("dataset", "method")


def test_trials_have_links_where_there_is_something_to_link_to() -> None:
    frame = trials(EXAMPLE)
    first, second, third = frame["trial_id"][:3]
    links = {first: TrialLinks("../t0/", "http://h/#/runs/1"), second: TrialLinks("../t1/")}
    table = trial_table(Measurements(frame), links)
    assert table.head[-2:] == ("fingerprint", "MLflow")
    assert [row[-2:] for row in table.rows[:3]] == [
        (f'<a href="../t0/">{first}</a>', '<a href="http://h/#/runs/1">run</a>'),
        (f'<a href="../t1/">{second}</a>', ""),
        (third, ""),
    ]
