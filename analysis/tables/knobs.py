"""Tables of knobs: which of them can be left untuned, what they do, and which belong together."""

from collections.abc import Iterator

import pandas as pd

from analysis.findings import Findings
from analysis.knob_effects.interactions import INTERACTIONS
from analysis.knobs.knob import RHO0, Knob
from analysis.rounding import decades, p_value, probability, rho0_label
from analysis.statistics.aggregate import SETTING
from analysis.tables.accuracy import choice_note
from analysis.tables.table import FAMILY, Columns, Format, Table, build, failures, of

KNOBS = "Which knobs can be left untuned?"
"""Section of a report."""


def knob_tables(findings: Findings) -> Iterator[Table]:
    """The verdict on each knob, its numbers, and the interactions of knobs.

    Args:
        findings: result of `findings.analyse`.
    """
    yield _verdicts(findings)
    yield _effects(findings)
    yield _interactions(findings)
    yield Table(
        "interaction_rules",
        KNOBS,
        "Verdicts on two knobs. The first that applies decides.",
        pd.DataFrame(
            INTERACTIONS.items() if len(findings.interactions) else [], columns=["verdict", "rule"]
        ),
    )
    yield _regrets(findings)


def _verdicts(findings: Findings) -> Table:
    verdicts = findings.knob_verdicts
    columns: Columns = {
        key: key for key in SETTING if len(verdicts) and verdicts[key].nunique() > 1
    }
    columns |= {
        "method": "method",
        "knob": _shown("knob"),
        "verdict": "verdict",
        "sets": "sets",
        "tried": _tried,
    }
    if _spans_differ(verdicts):
        columns["range over equal spans"] = lambda row: _equal_span(row, findings)
    columns["reason"] = "reason"
    return build(
        "knob_verdicts",
        KNOBS,
        "Whether each knob of each method can be left untuned, if the others have their chosen "
        "values. The rules are those for ρ0, with the values of the knob in its place. The verdict "
        f"is that of the worst set. The margin is {findings.metric.shown_margin(findings.margin)}.",
        verdicts,
        columns,
    )


def _effects(findings: Findings) -> Table:
    metric = findings.metric
    return build(
        "knobs",
        KNOBS,
        f"Sensitivity of the test {metric.label} to each knob{metric.in_unit}. The other knobs of "
        "the method have their chosen values, and values outside the range of a knob are left "
        "out. The range is the highest minus the lowest mean over the values, with its 95 % upper "
        "limit (Tukey). The equal-span range is taken over as much of the scale as the narrowest "
        "grid of this knob in the setting has. "
        "The slope is that per decade or, on a linear scale, per unit. p values (analysis of "
        "variance) are corrected for the number of rows. The chosen value has its regret in "
        "parentheses. The mean regret is that of a value drawn at random from the span. The "
        "retuned range is that over the knob if the others are chosen anew for each of its values. "
        "In both, trials that diverged count as guessing." + choice_note(findings.knobs, "value"),
        findings.knobs,
        {
            **FAMILY,
            "knob": _shown("knob"),
            "verdict": "verdict",
            "values": _values,
            "failures": failures,
            "best at": "best_at",
            "P(best)": of("p_best", probability),
            "range": of("range", metric.text),
            "upper limit": of("range_upper", metric.text),
            "span": _span,
            "equal-span range": lambda row: (
                ""
                if pd.isna(row["equal_span_range"])
                else f"{metric.text(row['equal_span_range'])} over "
                f"{_length(row, row['equal_span'])}"
            ),
            "slope": of("slope", metric.text, sign=True),
            "p": of("p_corrected", p_value),
            "chosen": lambda row: (
                ""
                if pd.isna(row["chosen_regret"])
                else f"{row['chosen']} ({metric.text(row['chosen_regret'])})"
            ),
            "mean regret": of("mean_regret", metric.text),
            "retuned range": of("retuned_range", metric.text),
        },
    )


def _interactions(findings: Findings) -> Table:
    metric = findings.metric
    return build(
        "interactions",
        KNOBS,
        f"Interactions of knobs{metric.in_unit}: how much the effect of one depends on the other. "
        "The size is the largest difference between the effects of the same change of the first "
        "knob at two values of the second, with simultaneous 95 % limits. p values (ANOVA-type "
        "statistic) are corrected for the number of rows.",
        findings.interactions,
        {
            **FAMILY,
            "knobs": lambda row: f"{_name(row['first'])} × {_name(row['second'])}",
            "verdict": "verdict",
            "seeds": "seeds",
            "failures": lambda row: failures({**row, "collapsed": 0}),
            "size": of("size", metric.text),
            "from": of("size_low", metric.text),
            "to": of("size_high", metric.text),
            "p": of("p_corrected", p_value),
            "where": lambda row: _where(row, findings),
        },
    )


def _where(row: pd.Series, findings: Findings) -> str:
    """``ρ0 from 0.1 to 1: +0.20 at theta = 0, -3.10 at theta = 1``."""
    if pd.isna(row["change"]):
        return ""
    text = findings.metric.text
    return (
        f"{_name(row['first'])} from {row['first_from']} to {row['first_to']}: "
        f"{text(row['change'], sign=True)} at {_name(row['second'])} = {row['second_from']}, "
        f"{text(row['other_change'], sign=True)} at {row['second_to']}"
    )


def _regrets(findings: Findings) -> Table:
    metric = findings.metric
    return build(
        "knob_regrets",
        KNOBS,
        f"Regret of each value of a knob, in {metric.in_points}: the distance from the "
        f"{metric.highest} mean over its values, while the other knobs have their chosen values. "
        "P(best) is the probability over resampled seeds that this value is the best.",
        findings.knob_regrets,
        {
            **FAMILY,
            "knob": _shown("knob"),
            "value": "value",
            "n": "n",
            metric.labelled: of("test_mean", metric.text),
            "regret": of("regret", metric.text),
            "P(best)": of("p_best", probability),
        },
    )


def _shown(column: str) -> Format:
    return lambda row: _name(row[column])


def _name(knob: str) -> str:
    return Knob(name=knob).shown


def _tried(row: pd.Series) -> str:
    """``3 of 3 from 0.01 to 1 (2.0 of 3.0 decades)``."""
    if pd.isna(row["lowest"]):
        return str(row["choices"])
    shown = rho0_label if row["knob"] == RHO0.name else "{:g}".format
    ends = f"{shown(row['lowest'])} to {shown(row['highest'])}"
    return f"{row['choices']} from {ends} ({_span(row)})" if _span(row) else str(row["choices"])


def _values(row: pd.Series) -> str:
    """``3 of 3``, or ``3 of 3 (2 outside)`` if the grid has values outside the range."""
    text = f"{row['choices']:.0f} of {row['grid']:.0f}"
    return f"{text} ({row['outside']:.0f} outside)" if row["outside"] else text


def _span(row: pd.Series) -> str:
    """``2.0 decades``, or ``2.0 of 3.0 decades`` if that is not the whole range of the knob."""
    if pd.isna(row["span"]):
        return ""
    if pd.isna(row["covered"]) or row["covered"] > 0.995:
        return _length(row, row["span"])
    whole = row["span"] / row["covered"] if row["covered"] > 0 else float("nan")
    return f"{_length(row, row['span']).split()[0]} of {_length(row, whole)}"


def _length(row: pd.Series, span: float) -> str:
    return f"{decades(span)} decades" if row["scale"] == "log" else f"{span:.3g}"


def _spans_differ(verdicts: pd.DataFrame) -> bool:
    """Whether a knob was tried over more of its scale than in the narrowest grid of its setting."""
    if verdicts.empty:
        return False
    equal, own = (verdicts[name].map(lambda span: f"{span:.3g}") for name in ("equal_span", "span"))
    return bool((equal != own).any())


def _equal_span(row: pd.Series, findings: Findings) -> str:
    """``25.4 points over 0.6 decades``."""
    if pd.isna(row["equal_span_range"]):
        return ""
    change = findings.metric.shown_difference(row["equal_span_range"], fewer=1)
    return f"{change} over {_length(row, row['equal_span'])}"
