"""Tables of methods over several tasks: aggregates, ranks and probabilities of improvement."""

from collections.abc import Iterator

import pandas as pd

from analysis.across_settings.across_settings import ALL_PAIRS
from analysis.across_settings.tasks import BOUNDS, FULL_PRECISION
from analysis.columns import axis_columns
from analysis.findings import Findings
from analysis.rounding import p_value, points, probability
from analysis.tables.table import Columns, Format, Mark, Table, build

ACROSS = "Across tasks"
"""Section of a report."""

_MEASURES = {"IQM %": "iqm", "median %": "median", "mean %": "mean", "gap %": "optimality_gap"}


def across_tables(findings: Findings) -> Iterator[Table]:
    """Methods over tasks; none for fewer than two methods or tasks.

    Args:
        findings: result of `findings.analyse`.
    """
    found = findings.across_settings
    if found.empty:
        return
    columns: Columns = {"method": "variant"}
    comparable = "iqm" in found
    if comparable:
        columns |= {header: _measure(name) for header, name in _MEASURES.items()}
    columns["mean rank"] = "rank_text"
    caption = f"Each method over {_tasks(findings)}, at its chosen ρ0."
    if comparable:
        caption += (
            f" {scale_note(findings)} The IQM is the mean of the runs of all tasks without the "
            "lowest and the highest quarter, and the gap is the mean distance below 100. In "
            "parentheses: 95 % intervals by the stratified bootstrap, which resamples the runs of "
            "each task."
        )
    else:
        caption += " Values of different tasks are not comparable, but ranks are."
    yield build(
        "across_settings",
        ACROSS,
        caption + _rank_note(found) + _left_out(findings),
        found.assign(rank_text=_ranks(found)),
        columns,
    )
    pairs = "" if len(found) <= ALL_PAIRS else " with the method of the best mean rank"
    yield build(
        "task_improvements",
        ACROSS,
        f"Probability that a run of one method beats one of another on the same task{pairs}. It is "
        "the mean over tasks, with its 95 % interval by the stratified bootstrap. Ties count as "
        "one half.",
        findings.task_improvements,
        {
            "methods": lambda row: f"{row['variant']} - {row['other']}",
            "P(improvement)": lambda row: probability(row["improvement"]),
            "from": lambda row: probability(row["improvement_low"]),
            "to": lambda row: probability(row["improvement_high"]),
        },
    )


def scale_note(findings: Findings) -> str:
    """What 0 and 100 are on the scale of scores over tasks.

    Args:
        findings: result of `findings.analyse`, with `across_settings`.
    """
    metric = findings.metric
    return {
        FULL_PRECISION: "Scores are on a scale from guessing (0) to the mean of the best network "
        "in full precision of the setting (100).",
        BOUNDS: f"Scores are on a scale from the {metric.lowest} possible {metric.label} (0) to "
        f"the {metric.highest} (100), because some setting has no network in full precision, or no "
        "value of guessing that it exceeds.",
    }[findings.across_settings["scale"].iloc[0]]


def _measure(name: str) -> Format:
    """``94.21 (93.10 to 95.32)``, the number with its interval."""

    def text(row: pd.Series) -> str:
        low, high = (points(row[f"{name}_{end}"]) for end in ("low", "high"))
        return f"{points(row[name])} ({low} to {high})"

    return text


def _tasks(findings: Findings) -> str:
    """The number of tasks, and what they are."""
    tasks = findings.tasks
    compared, every = int(tasks["compared"].sum()), len(tasks)
    which = f"{compared} tasks" if compared == every else f"{compared} of {every} tasks"
    parts = {"set": "sets", "dataset": "datasets", "model": "networks", "regime": "regimes"}
    counts = [
        f"{number} {name}"
        for key, name in parts.items()
        if (number := tasks.loc[tasks["compared"], key].nunique()) > 1
    ]
    further = [axis.removeprefix("axis.") for axis in axis_columns(tasks)]
    return f"{which} ({', '.join([*counts, *further])})" if counts or further else which


def _ranks(found: pd.DataFrame) -> list[str]:
    """Mean ranks; the best is bold if all others are significantly worse."""
    best = found["rank"].min()
    level = found["rank"] - best < found["critical"]
    mark = Mark.BOLD if level.sum() == 1 else Mark.UNDERLINED
    return [
        f"{mark.value}{rank:.2f}{mark.value}" if is_level else f"{rank:.2f}"
        for rank, is_level in zip(found["rank"], level, strict=True)
    ]


def _rank_note(found: pd.DataFrame) -> str:
    first = found.iloc[0]
    if pd.isna(first["critical"]):
        return " There are too few methods or tasks to test differences of ranks."
    note = (
        f" Mean ranks that differ by less than {first['critical']:.2f} do not differ significantly "
        "(Nemenyi). The best one is bold if all others are significantly worse; otherwise, it and "
        "those that do not differ from it are underlined."
    )
    if not pd.isna(first["friedman"]):
        note += f" Friedman's test that all are equal: p {_equal(p_value(first['friedman']))}."
    return note


def _equal(p: str) -> str:
    return p if p.startswith("<") else f"= {p}"


def _left_out(findings: Findings) -> str:
    """A sentence that names the methods that lack some of the tasks; empty without any."""
    names = findings.left_out
    return f" Not compared, as they lack tasks: {', '.join(names)}." if names else ""
