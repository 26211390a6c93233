"""Tables of the findings: verdicts, sensitivity, variance, comparisons and configurations."""

from collections.abc import Iterator, Sequence

import pandas as pd

from analysis.columns import axis_columns
from analysis.findings import Findings
from analysis.protocol import PARTS, differing_parts
from analysis.rounding import decades, mean_and_std, p_value, points, probability, rho0_label
from analysis.statistics.aggregate import SETTING, WITHOUT
from analysis.statistics.intervals import bootstrap_coverage
from analysis.statistics.verdicts import VERDICTS
from analysis.tables.accuracy import method_tables, sensitivity_tables
from analysis.tables.paper import paper_tables
from analysis.tables.table import FAMILY, WHERE, Columns, Table, build, of

VERDICT = "Can ρ0 be left untuned?"
SENSITIVITY = "Sensitivity to ρ0"
VARIANCE = "Sources of variance"
COMPARISON = "Selection and comparison"
TRAINING = "Training"
CONFIGURATIONS = "Configurations"
"""Sections of a report."""


def all_tables(findings: Findings, importance: pd.DataFrame) -> list[Table]:
    """Every table of a report that has rows, in the report's order.

    Args:
        findings: result of `findings.analyse`.
        importance: columns of `columns.IMPORTANCE`; shown beside the decomposition of variance.
    """
    tables = [
        _verdicts(findings),
        _rules(findings),
        *method_tables(findings.selected),
        *sensitivity_tables(findings.configurations),
        _sensitivity(findings),
        _regrets(findings),
        *paper_tables(findings),
        *_variance(findings, importance),
        _comparisons(findings),
        _optimism(findings),
        _training(findings),
        configuration_table(findings),
    ]
    return [table for table in tables if len(table.body)]


def _verdicts(findings: Findings) -> Table:
    return build(
        "verdicts",
        VERDICT,
        f"Whether the ρ0 of each method can be left untuned. {verdict_note(findings.margin)}",
        findings.verdicts,
        {**WHERE, "method": "method", "verdict": "verdict", "reason": "reason"},
    )


def _rules(findings: Findings) -> Table:
    return Table(
        "verdict_rules",
        VERDICT,
        "Rules of the verdicts, from the worst verdict to the best. The first that applies "
        "decides.",
        pd.DataFrame(
            VERDICTS.items() if len(findings.verdicts) else [], columns=["verdict", "rule"]
        ),
    )


def verdict_note(margin: float) -> str:
    """What a verdict is about.

    Args:
        margin: as a fraction.
    """
    return (
        "The verdict on a method is that of its worst set, and holds for the ρ0 that were tried. "
        f"The margin is {100 * margin:g} points of test accuracy."
    )


def _sensitivity(findings: Findings) -> Table:
    chosen = findings.selected.set_index([*_keys(findings), "set", "method"])["rho0"]
    regrets = findings.regrets.set_index([*_keys(findings), "set", "method", "rho0"])["regret"]

    def choice(row: pd.Series) -> str:
        key = tuple(row[[*_keys(findings), "set", "method"]])
        if not row["choices"]:
            return ""
        rho0 = chosen.loc[key]
        return f"{rho0_label(rho0)} ({points(regrets.loc[(*key, rho0)])})"

    return build(
        "sensitivity",
        SENSITIVITY,
        "Sensitivity of the test accuracy to ρ0, in points. The range is the highest minus the "
        "lowest mean over ρ0, with its 95 % upper limit (Tukey); the drop is relative to the "
        "highest mean. The equal-span range is taken over as many decades as the setting's "
        "narrowest grid has. p values (analysis of variance) are corrected for the number of rows. "
        f"The ρ0 chosen by {findings.select} accuracy has its regret in parentheses.",
        findings.sensitivity,
        {
            **FAMILY,
            "verdict": "verdict",
            "ρ0": lambda row: f"{row['choices']:.0f} of {row['grid']:.0f}",
            "failures": lambda row: ", ".join(
                f"{row[name]:.0f} {name}"
                for name in ("diverged", "collapsed", "missing")
                if row[name] > 0
            ),
            "best at": of("best_rho0", rho0_label),
            "P(best)": of("p_best", probability),
            "range": of("range", points),
            "upper limit": of("range_upper", points),
            "drop %": of("relative_drop", points),
            "decades": of("decades", decades),
            "equal-span range": lambda row: (
                ""
                if pd.isna(row["equal_span_range"])
                else f"{points(row['equal_span_range'])} over {decades(row['equal_span_decades'])}"
            ),
            "slope": of("slope", points, sign=True),
            "p": of("p_corrected", p_value),
            "chosen": choice,
        },
    )


def _keys(findings: Findings) -> list[str]:
    return [*SETTING, *axis_columns(findings.selected)]


def _regrets(findings: Findings) -> Table:
    return build(
        "regrets",
        SENSITIVITY,
        "Regret of each ρ0, in points of test accuracy. The regret is the distance from the "
        "highest mean over ρ0. P(best) is the probability over resampled seeds that this ρ0 is "
        "the best.",
        findings.regrets,
        {
            **FAMILY,
            "ρ0": of("rho0", rho0_label),
            "n": "n",
            "accuracy %": of("test_mean", points),
            "regret": of("regret", points),
            "P(best)": of("p_best", probability),
        },
    )


def _variance(findings: Findings, importance: pd.DataFrame) -> Iterator[Table]:
    whole = findings.variance
    yield build(
        "variance",
        VARIANCE,
        "Sources of the variance of the test accuracies in each setting, in %. The share is ω², "
        "the explained variance corrected for the noise over seeds; without an effect it is near 0."
        + _beside_note(importance),
        _with_importance(whole.assign(method=""), importance),
        _shares({**WHERE}),
    )
    yield build(
        "variance_by_method",
        VARIANCE,
        "Sources of the variance of the test accuracies of each method, in %."
        + _beside_note(importance),
        _with_importance(findings.variance_by_method, importance),
        _shares({**WHERE, "method": "method"}),
    )


def _beside_note(importance: pd.DataFrame) -> str:
    if importance.empty:
        return ""
    return " fANOVA is Optuna's importance of the main effects; it is not computed for large grids."


def _shares(where: Columns) -> Columns:
    return {
        **where,
        "source": "source",
        "degrees": "degrees",
        "explained %": of("explained", points),
        "share %": of("share", points),
        "fANOVA %": of("importance", points),
    }


def _with_importance(split: pd.DataFrame, importance: pd.DataFrame) -> pd.DataFrame:
    known = importance.rename(columns={"factor": "source"})
    keys = [*SETTING, *axis_columns(known), "method", "source"]
    return split.merge(known, how="left", on=keys)


def _comparisons(findings: Findings) -> Table:
    return build(
        "comparisons",
        COMPARISON,
        "Pairwise differences of test accuracy between methods at their chosen ρ0, in points. The "
        "95 % intervals are those of a paired t test over common seeds, and are not corrected for "
        "the number of pairs. P(improvement) is the probability that a run of the first method "
        "beats one of the second." + _on_test(findings) + _training_note(findings),
        findings.comparisons,
        {
            **WHERE,
            "set": "set",
            "methods": lambda row: f"{row['method']} - {row['other']}",
            "seeds": "seeds",
            "difference": of("difference", points, sign=True),
            "from": of("low", points, sign=True),
            "to": of("high", points, sign=True),
            "P(improvement)": of("improvement", probability),
        },
    )


def _on_test(findings: Findings) -> str:
    on_test = (findings.selected["chosen_on"] == "test").any()
    if not on_test:
        return ""
    return " Differences are optimistic for methods whose ρ0 was chosen on test images."


def _training_note(findings: Findings) -> str:
    trained = findings.training
    parts = dict.fromkeys(
        part
        for dataset, regime in dict.fromkeys(
            trained[["dataset", "regime"]].itertuples(index=False, name=None)
        )
        for part in differing_parts(trained, dataset, regime)
    )
    return f" The methods were trained differently in: {', '.join(parts)}." if parts else ""


def _optimism(findings: Findings) -> Table:
    return build(
        "optimism",
        COMPARISON,
        "Optimism of choosing ρ0 on the test images, in points of test accuracy. It is the best "
        "mean over ρ0 minus the mean accuracy of seeds that were left out of the choice.",
        findings.optimism.dropna(subset="optimism"),
        {
            **FAMILY,
            "choices": "choices",
            "seeds": "seeds",
            "best of test %": of("best_of_test", points),
            "left out %": of("left_out", points),
            "optimism": of("optimism", points, sign=True),
        },
    )


def _training(findings: Findings) -> Table:
    return build(
        "training",
        TRAINING,
        "Training of each method. The epochs are those before and after hard quantization. "
        "Differences between methods are part of every comparison between them; trials of one "
        "method that were trained differently are never aggregated.",
        findings.training,
        {**WHERE, "method": "method", **{part: part for part in PARTS}},
    )


def configuration_table(findings: Findings) -> Table:
    """Every configuration with its intervals; the caption has the bootstrap's real coverage.

    Args:
        findings: result of `findings.analyse`.
    """
    table = findings.configurations
    sizes: Sequence[int] = sorted({int(n) for n in table["n"] if n > 1})
    coverage = ", ".join(f"{points(bootstrap_coverage(n), 0)} % for n = {n}" for n in sizes[:5])
    return build(
        "configurations",
        CONFIGURATIONS,
        "Test accuracy (%) of each configuration. The 95 % intervals of the mean over seeds are by "
        "Student's t and by the percentile bootstrap."
        + (
            " For normally distributed accuracies, the real coverage of the bootstrap is "
            f"{coverage}."
            if coverage
            else ""
        ),
        table,
        {
            **FAMILY,
            "ρ0": of("rho0", rho0_label),
            "n": "n",
            "not finished": lambda row: ", ".join(
                f"{row[name]} {name}" for name in WITHOUT if row[name]
            ),
            "validation %": lambda row: mean_and_std(row["validation_mean"], row["validation_std"]),
            "test %": lambda row: mean_and_std(row["test_mean"], row["test_std"]),
            "t": lambda row: _interval(row["test_t_low"], row["test_t_high"]),
            "bootstrap": lambda row: _interval(
                row["test_bootstrap_low"], row["test_bootstrap_high"]
            ),
        },
    )


def _interval(low: float, high: float) -> str:
    return "" if pd.isna(low) else f"{points(max(low, 0))} to {points(min(high, 1))}"
