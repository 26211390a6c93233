"""Findings -> tables for people: verdicts, sensitivity, variance, comparisons."""

from collections.abc import Iterator, Sequence

import pandas as pd

from analysis.columns import axis_columns
from analysis.findings import Findings
from analysis.protocol import PARTS, unlike
from analysis.rounding import decades, mean_and_std, p_value, points, probability, rho0_label
from analysis.statistics.aggregate import SETTING, WITHOUT
from analysis.statistics.intervals import bootstrap_coverage
from analysis.statistics.verdicts import VERDICTS
from analysis.tables.accuracy import method_tables, sensitivity_tables
from analysis.tables.paper import paper_tables
from analysis.tables.table import FAMILY, WHERE, Columns, Table, build, of

VERDICT = "May ρ0 be left untuned?"
SENSITIVITY = "Sensitivity to ρ0"
VARIANCE = "Where the variance comes from"
COMPARISON = "Selection and comparison"
TRAINING = "How they were trained"
CONFIGURATIONS = "Configurations"
"""Sections of a report."""


def all_tables(findings: Findings, importance: pd.DataFrame) -> list[Table]:
    """Every table of a report, in its order; those without a row are left out.

    Args:
        findings: what `findings.analyse` gives.
        importance: as `columns.IMPORTANCE` says; to stand beside the variance split.
    """
    tables = [
        _verdicts(findings),
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
    rules = "; ".join(f"{name}: {rule}" for name, rule in VERDICTS.items())
    return build(
        "verdicts",
        VERDICT,
        f"One verdict a method, the worst of its sets. The margin is {100 * findings.margin:g} "
        f"points of test accuracy; it holds for the ρ0 that were tried. {rules}",
        findings.verdicts,
        {**WHERE, "method": "method", "verdict": "verdict", "why": "reason"},
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
        "Test accuracy over ρ0, in points. Range: highest less lowest mean, and the upper end of "
        "its 95 % interval (Tukey); drop: range relative to the highest; decades: of the ρ0 tried; "
        "alike: range over any as many of them as the narrowest grid of the setting has; slope: a "
        "decade of ρ0; p: "
        "of no difference (analysis of variance, corrected for the number of rows); P(best): that "
        "the best ρ0 is so, over resampled seeds; chosen: by "
        f"{findings.select} accuracy, and what that costs",
        findings.sensitivity,
        {
            **FAMILY,
            "verdict": "verdict",
            "ρ0": lambda row: f"{row['choices']:.0f} of {row['grid']:.0f}",
            "ended badly": lambda row: ", ".join(
                f"{row[name]:.0f} {name}"
                for name in ("diverged", "collapsed", "missing")
                if row[name] > 0
            ),
            "best at": of("best_rho0", rho0_label),
            "P(best)": of("p_best", probability),
            "range": of("range", points),
            "up to": of("range_upper", points),
            "drop %": of("relative_drop", points),
            "decades": of("decades", decades),
            "alike": lambda row: (
                ""
                if pd.isna(row["alike_range"])
                else f"{points(row['alike_range'])} over {decades(row['alike_decades'])}"
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
        "What each choice of ρ0 costs: points below the best mean test accuracy, and the "
        "probability that it is the best after all",
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
        "Shares of the variance of all test accuracies, in %: what a source explains, and what is "
        "left of it without the seeds' luck (ω²; near 0 where there is nothing)"
        + _beside_note(importance),
        _with_importance(whole.assign(method=""), importance),
        _shares({**WHERE}),
    )
    yield build(
        "variance_by_method",
        VARIANCE,
        "The same, each method by itself" + _beside_note(importance),
        _with_importance(findings.variance_by_method, importance),
        _shares({**WHERE, "method": "method"}),
    )


def _beside_note(importance: pd.DataFrame) -> str:
    return (
        ""
        if importance.empty
        else ". fANOVA: importance by Optuna, main effects only; not for many trials or methods"
    )


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
        "Method against method at their chosen ρ0: difference of test accuracy in points over the "
        "seeds of both, its 95 % interval (paired t), and the probability that a run of the first "
        "beats one of the second. Intervals are not corrected for their number"
        + _on_test(findings)
        + _not_alike(findings),
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
    return "; where ρ0 was chosen on test images, they flatter it" if on_test else ""


def _not_alike(findings: Findings) -> str:
    trained = findings.training
    parts = dict.fromkeys(
        part
        for dataset, regime in dict.fromkeys(
            trained[["dataset", "regime"]].itertuples(index=False, name=None)
        )
        for part in unlike(trained, dataset, regime)
    )
    return f"; methods were not trained alike: {', '.join(parts)}" if parts else ""


def _optimism(findings: Findings) -> Table:
    return build(
        "optimism",
        COMPARISON,
        "What choosing ρ0 on the test images would add to the test accuracy, in points: the best "
        "mean of all ρ0, less the mean of seeds that were left out of the choice",
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
        "How each method was trained: epochs before and after hard quantization, images, images a "
        "batch, and the optimizer. What differs between methods is part of what is compared; "
        "trials of one method that were trained differently are never put together",
        findings.training,
        {**WHERE, "method": "method", **{part: part for part in PARTS}},
    )


def configuration_table(findings: Findings) -> Table:
    """Every configuration with its intervals, and what the bootstrap's are worth."""
    table = findings.configurations
    sizes: Sequence[int] = sorted({int(n) for n in table["n"] if n > 1})
    coverage = ", ".join(f"{points(bootstrap_coverage(n), 0)} % for n = {n}" for n in sizes[:5])
    return build(
        "configurations",
        CONFIGURATIONS,
        "Test accuracy in % of each configuration, with 95 % intervals of the mean over seeds by "
        "Student's t and by the bootstrap"
        + (f" (whose real coverage is {coverage}, for normal values)" if coverage else ""),
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
