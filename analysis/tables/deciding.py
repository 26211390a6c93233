"""Tables of a sweep that is run until its questions are decided."""

from collections.abc import Iterator

import pandas as pd

from analysis.deciding.looks import ERROR_RATE, unseen_share
from analysis.findings import Findings
from analysis.rounding import points
from analysis.tables.table import FAMILY, WHERE, Table, build, of, rho0_of

DECIDING = "Seeds until decided"
"""Section of a report."""


def deciding_tables(findings: Findings) -> Iterator[Table]:
    """The questions with their answers, and the trials that were added for them.

    Args:
        findings: result of `findings.analyse`.
    """
    metric = findings.metric
    yield build(
        "decisions",
        DECIDING,
        "Questions of the sweep, and their answers. It asks whether the ρ0 of a method can be left "
        f"untuned (the range over ρ0 and a margin of {metric.shown_margin(findings.margin)}), and "
        "whether two methods at their chosen ρ0 differ. Open questions get further seeds. The "
        f"intervals, in {metric.in_points}, are those of a confidence sequence: for each question, "
        f"the probability is {points(1 - ERROR_RATE, 0)} % that the upper ends at all looks lie "
        "above the truth, and the same for the lower ends below it, if the noise is normal and "
        f"about the same at every ρ0.{_unseen(findings.decisions)} A tie lies within a third of "
        "the margin. The intervals and marks of all other tables are those of a single look, which "
        "promises more than it keeps where seeds were added because of earlier ones.",
        findings.decisions,
        {
            **WHERE,
            "set": "set",
            "question": lambda row: (
                f"{row['method']} - {row['other']}" if row["other"] else f"ρ0 of {row['method']}"
            ),
            "answer": lambda row: (
                row["answer"] if row["decided"] else f"{row['answer']}, needs more seeds"
            ),
            "estimate": of("estimate", metric.text),
            "from": of("low", metric.text),
            "to": of("high", metric.text),
            "seeds": "seeds",
            "added trials": "added",
        },
    )
    yield build(
        "added",
        DECIDING,
        "Trials that were added to those of the sweep, and the questions for which they were.",
        findings.added,
        {
            **FAMILY,
            "ρ0": rho0_of(findings.added),
            "seeds": "seeds",
            "trials": "trials",
            "finished": "finished",
            "for": "reason",
        },
    )


def _unseen(decisions: pd.DataFrame) -> str:
    """A sentence on seeds that collapse too rarely to be seen, if a method is called stable."""
    seeds = decisions.loc[decisions["answer"].isin(("stable", "mild")), "seeds"]
    if seeds.empty:
        return ""
    fewest = int(seeds.min())
    share = points(unseen_share(fewest), 0)
    return (
        f" Seeds that rarely collapse are not in them: {fewest} seeds without a collapse agree "
        f"with one for up to {share} % of all seeds."
    )
