"""Tables of the findings: sensitivity, variance, comparisons and configurations."""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from analysis.columns import axis_columns
from analysis.findings import Findings
from analysis.metric import Metric
from analysis.protocol import PARTS, differing_parts
from analysis.rounding import decades, p_value, points, probability
from analysis.statistics.aggregate import SETTING, WITHOUT
from analysis.statistics.intervals import bootstrap_coverage
from analysis.tables.accuracy import choice_note, method_tables, sensitivity_tables
from analysis.tables.across_settings import across_tables
from analysis.tables.deciding import deciding_tables
from analysis.tables.knobs import knob_tables
from analysis.tables.paper import paper_tables
from analysis.tables.sizes import sizes_table
from analysis.tables.table import FAMILY, WHERE, Columns, Table, build, failures, of, rho0_of
from analysis.tables.tuning_cost import tuning_table
from analysis.tables.verdicts import rules_table, verdict_table

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
        verdict_table(findings),
        rules_table(findings),
        *deciding_tables(findings),
        *knob_tables(findings),
        *method_tables(findings.selected, findings.metric),
        sizes_table(findings),
        *sensitivity_tables(findings.configurations, findings.metric),
        _sensitivity(findings),
        _regrets(findings),
        *paper_tables(findings),
        *_variance(findings, importance),
        _comparisons(findings),
        tuning_table(findings),
        *across_tables(findings),
        _optimism(findings),
        _training(findings),
        configuration_table(findings),
    ]
    return [table for table in tables if len(table.body)]


def _sensitivity(findings: Findings) -> Table:
    metric = findings.metric
    keys = [*_keys(findings), "set", "method"]
    chosen = findings.selected.set_index(keys)["rho0"].to_dict()
    regrets = findings.regrets.set_index([*keys, "rho0"])["regret"].to_dict()

    with_rho0 = findings.selected[findings.selected["rho0"].notna()]
    label = rho0_of(findings.configurations)

    def choice(row: Mapping[Hashable, Any]) -> str:
        key = tuple(row[name] for name in keys)
        if not row["choices"]:
            return ""
        rho0 = chosen[key]
        return f"{label({'rho0': rho0})} ({metric.text(regrets[*key, rho0])})"

    return build(
        "sensitivity",
        SENSITIVITY,
        f"Sensitivity of the test {metric.label} to ρ0{metric.in_unit}. The range is the highest "
        f"minus the lowest mean over ρ0, with its 95 % upper limit{_limit_by(findings)}; the "
        f"{metric.drop} is relative to the {metric.highest} mean. The equal-span range is taken "
        f"over as many decades as the setting's narrowest grid has.{_tests(findings)} The chosen "
        f"ρ0 has its regret in parentheses.{choice_note(with_rho0)}",
        findings.sensitivity,
        {
            **FAMILY,
            "verdict": "verdict",
            "ρ0": lambda row: f"{row['choices']:.0f} of {row['grid']:.0f}",
            "failures": failures,
            "best at": rho0_of(findings.configurations, "best_rho0"),
            "P(best)": of("p_best", probability),
            "range": of("range", metric.text),
            "upper limit": of("range_upper", metric.text),
            f"{metric.drop} %": of("relative_drop", points),
            "decades": of("decades", decades),
            "equal-span range": lambda row: (
                ""
                if pd.isna(row["equal_span_range"])
                else f"{metric.text(row['equal_span_range'])} over "
                + decades(row["equal_span_decades"])
            ),
            "slope": of("slope", metric.text, sign=True),
            "p": of("p_corrected", p_value),
            "chosen": choice,
        },
    )


def _limit_by(findings: Findings) -> str:
    """By which method the upper limit of the range is computed."""
    if findings.decisions.empty:
        return " (Tukey)"
    return " of all looks together, as in the table of questions"


def _tests(findings: Findings) -> str:
    """A sentence on p values; of a sweep that ran until decided, rows without a look have some."""
    corrected = " p values (analysis of variance) are corrected for the number of rows."
    if findings.decisions.empty:
        return corrected
    if findings.sensitivity["p_corrected"].isna().all():
        return " There are no p values, which hold for a single look only."
    return f" Rows without a look have Tukey's limit and p values.{corrected}"


def _keys(findings: Findings) -> list[str]:
    return [*SETTING, *axis_columns(findings.selected)]


def _regrets(findings: Findings) -> Table:
    metric = findings.metric
    return build(
        "regrets",
        SENSITIVITY,
        f"Regret of each ρ0, in {metric.in_points}. The regret is the distance from the "
        f"{metric.highest} mean over ρ0. P(best) is the probability over resampled seeds that this "
        "ρ0 is the best.",
        findings.regrets,
        {
            **FAMILY,
            "ρ0": rho0_of(findings.regrets),
            "n": "n",
            metric.labelled: of("test_mean", metric.text),
            "regret": of("regret", metric.text),
            "P(best)": of("p_best", probability),
        },
    )


def _variance(findings: Findings, importance: pd.DataFrame) -> Iterator[Table]:
    whole = findings.variance
    yield build(
        "variance",
        VARIANCE,
        f"Sources of the variance of the test {findings.metric.values} in each setting, in %. The "
        "share is ω², the explained variance corrected for the noise over seeds; without an effect "
        "it is near 0." + _beside_note(importance),
        _with_importance(whole.assign(method=""), importance),
        _shares({**WHERE}),
    )
    yield build(
        "variance_by_method",
        VARIANCE,
        f"Sources of the variance of the test {findings.metric.values} of each method, in %."
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
    metric = findings.metric
    pairs = findings.comparisons
    some = _with_the_best(pairs)
    left_out = (
        f" Of more than {_MOST_METHODS} methods on a set, only the pairs with the best are shown; "
        "tables/comparisons.csv has all."
        if len(some) < len(pairs)
        else ""
    )
    return build(
        "comparisons",
        COMPARISON,
        f"Pairwise differences of test {metric.label} between methods at their chosen ρ0"
        f"{metric.in_unit}. The 95 % intervals are those of a paired t test over common seeds, and "
        "are not corrected for the number of pairs. P(improvement) is the probability that a "
        "run of the first method "
        "beats one of the second." + left_out + _on_test(findings) + _training_note(findings),
        some,
        {
            **WHERE,
            "set": "set",
            "methods": lambda row: f"{row['method']} - {row['other']}",
            "seeds": "seeds",
            "difference": of("difference", metric.text, sign=True),
            "from": of("low", metric.text, sign=True),
            "to": of("high", metric.text, sign=True),
            "P(improvement)": of("improvement", probability),
        },
    )


_MOST_METHODS = 12
"""Methods on a set of which all pairs are shown; the number of pairs grows with its square."""


def _with_the_best(pairs: pd.DataFrame) -> pd.DataFrame:
    """The pairs to show: all, or those with the best method of a set that has many methods."""
    keys = [*SETTING, *axis_columns(pairs), "set"]
    groups = pairs.groupby(keys, sort=False)["method"]
    is_small = groups.transform("size") <= _MOST_METHODS * (_MOST_METHODS - 1) / 2
    return pairs[is_small | (pairs["method"] == groups.transform("first"))]


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
    metric = findings.metric
    left_out = f"the mean {metric.label} of seeds that were left out of the choice"
    terms = "the best mean over ρ0", left_out
    difference = " minus ".join(terms if metric.higher_is_better else reversed(terms))
    return build(
        "optimism",
        COMPARISON,
        f"Optimism of choosing ρ0 on the test images, in {metric.in_points}. It is {difference}.",
        findings.optimism.dropna(subset="optimism"),
        {
            **FAMILY,
            "choices": "choices",
            "seeds": "seeds",
            f"best of test {metric.head}": of("best_of_test", metric.text),
            f"left out {metric.unit}".rstrip(): of("left_out", metric.text),
            "optimism": of("optimism", metric.text, sign=True),
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
    table, metric = findings.configurations, findings.metric
    sizes: Sequence[int] = sorted({int(n) for n in table["n"] if n > 1})
    coverage = ", ".join(f"{points(bootstrap_coverage(n), 0)} % for n = {n}" for n in sizes[:5])
    return build(
        "configurations",
        CONFIGURATIONS,
        f"Test {metric.with_unit} of each configuration. The 95 % intervals of the mean over seeds "
        "are by Student's t and by the percentile bootstrap."
        + (
            f" For normally distributed {metric.values}, the real coverage of the bootstrap is "
            f"{coverage}."
            if coverage
            else ""
        ),
        table,
        {
            **FAMILY,
            "ρ0": rho0_of(table),
            "n": "n",
            "not finished": lambda row: ", ".join(
                f"{row[name]} {name}" for name in WITHOUT if row[name]
            ),
            f"validation {metric.head}": lambda row: metric.mean_and_std(
                row["validation_mean"], row["validation_std"]
            ),
            f"test {metric.head}": lambda row: metric.mean_and_std(
                row["test_mean"], row["test_std"]
            ),
            "t": lambda row: _interval(row["test_t_low"], row["test_t_high"], metric),
            "bootstrap": lambda row: _interval(
                row["test_bootstrap_low"], row["test_bootstrap_high"], metric
            ),
        },
    )


def _interval(low: float, high: float, metric: Metric) -> str:
    return "" if pd.isna(low) else " to ".join(map(metric.text, metric.clipped(low, high)))
