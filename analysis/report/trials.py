"""The table of trials on a report's page, with a column for each axis and links."""

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd
from markupsafe import Markup, escape

from analysis.columns import axis_columns
from analysis.report.html_rows import escaped, html_rows
from analysis.rounding import rho0_label
from analysis.schema import Measurements
from analysis.statistics.aggregate import SETTING
from analysis.tables.table import axis_labels


@dataclass(frozen=True)
class TrialLinks:
    """Where more about a trial is found; addresses for links."""

    folder: str = ""
    """Its folder, relative to the page; empty for none."""
    run: str = ""
    """Its run in MLflow's UI; empty for none."""


_LAST = ("fingerprint", "MLflow")
"""Headers of the columns with links."""


@dataclass(frozen=True)
class TrialTable:
    """The cells of the table as HTML."""

    head: tuple[str, ...]
    kinds: tuple[str, ...]
    """CSS class of each column: ``text`` or ``number``."""
    columns: tuple[tuple[str, ...], ...]
    """The cells of each column."""

    @property
    def rows(self) -> list[tuple[str, ...]]:
        """The cells of each row."""
        return list(zip(*self.columns, strict=True))

    @property
    def body(self) -> Markup:
        """The rows as HTML; the cells of the state have its name as a second class."""
        kinds = [
            [f"{kind} {cell}" for cell in column] if name == "state" else kind
            for name, kind, column in zip(self.head, self.kinds, self.columns, strict=True)
        ]
        return html_rows(self.columns, kinds)


def trial_table(measurements: Measurements, links: Mapping[str, TrialLinks]) -> TrialTable:
    """A row for each trial. A setting, set or ρ0 that no two trials differ in has no column.

    Args:
        measurements: the trials, and their metrics.
        links: fingerprint -> links; the fingerprint is a link to the folder.
    """
    trials = measurements.trials
    columns: dict[str, pd.Series] = {
        key: trials[key] for key in SETTING if trials[key].nunique() > 1
    }
    columns["method"] = trials["method"]
    if (trials["set"] != "").any():
        columns["set"] = trials["set"]
    if trials["rho0"].notna().any():
        columns["ρ0"] = trials["rho0"].map(rho0_label)
    results = {
        "seed": trials["seed"].astype(str),
        "state": trials["state"],
        **_values(measurements),
        "epochs": trials["epochs"].map("{:.0f}".format),
        "seconds": trials["seconds"].map("{:.1f}".format),
    }
    labels = axis_labels(axis_columns(trials), [*columns, *results, *_LAST])
    columns |= {label: trials[axis] for axis, label in labels.items()}
    texts = pd.DataFrame(columns | results).astype(str)
    first_number = list(texts.columns).index("state") + 1
    numbers = {"ρ0", "seed", *texts.columns[first_number:]}
    kinds = ["number" if name in numbers else "text" for name in texts]
    cells = [escaped(texts[name].tolist()) for name in texts]
    has_runs = any(of.run for of in links.values())
    own = [links.get(trial, TrialLinks()) for trial in trials["trial_id"].tolist()]
    names = escaped(trials["trial_id"].tolist())
    cells.append(
        [_link(of.folder, name) if of.folder else name for of, name in zip(own, names, strict=True)]
    )
    if has_runs:
        cells.append([_link(of.run, "run") if of.run else "" for of in own])
    head = [*texts.columns, *(_LAST if has_runs else _LAST[:1])]
    kinds += ["text"] * (len(head) - len(kinds))
    return TrialTable(tuple(map(str, head)), tuple(kinds), tuple(map(tuple, cells)))


def _link(address: str, text: str) -> str:
    """A link as HTML.

    Args:
        address: where it leads to.
        text: its text as HTML.
    """
    return f'<a href="{escape(address)}">{text}</a>'


def _values(measurements: Measurements) -> dict[str, pd.Series]:
    """The values of each metric, those of further metrics only if there are any."""
    trials, of_further = measurements.trials, {metric.name for metric in measurements.further}
    return {
        f"{split} {metric.head}": trials[column].map(metric.text)
        for metric in (measurements.metric, *measurements.further)
        for split in ("validation", "test")
        if (column := metric.column(split)) in trials
        and (metric.name not in of_further or trials[column].notna().any())
    }
