"""Findings -> tables for people: verdicts, sensitivity, variance, comparisons, the paper beside."""

from collections.abc import Callable, Iterator, Sequence

import pandas as pd

from analysis.accuracy_tables import method_tables, sensitivity_tables
from analysis.aggregate import SETTING, WITHOUT, axis_columns
from analysis.findings import Findings
from analysis.intervals import bootstrap_coverage
from analysis.published import PAPERS, STAND_IN, oddities
from analysis.sensitivity import VERDICTS
from analysis.tables import Table, axis_label, p_value, points, rho0_label

VERDICT = "May ρ0 be left untuned?"
SENSITIVITY = "Sensitivity to ρ0"
VARIANCE = "Where the variance comes from"
COMPARISON = "Selection and comparison"
PAPER = "Beside the paper"
CONFIGURATIONS = "Configurations"
"""Sections of a report."""

Format = Callable[[pd.Series], str]


def all_tables(findings: Findings, importance: pd.DataFrame) -> list[Table]:
    """Every table of a report, in its order; those without a row are left out.

    Args:
        findings: what `findings.analyse` gives.
        importance: as `schema.IMPORTANCE` says; to stand beside the variance split.
    """
    tables = [
        _verdicts(findings),
        *method_tables(findings.selected),
        *sensitivity_tables(findings.configurations),
        _sensitivity(findings),
        _regrets(findings),
        *_claims(findings),
        *_beside(findings),
        *_variance(findings, importance),
        _comparisons(findings),
        _optimism(findings),
        configuration_table(findings),
    ]
    return [table for table in tables if len(table.body)]


def _build(
    name: str, section: str, caption: str, frame: pd.DataFrame, columns: dict[str, str | Format]
) -> Table:
    """A table with the given columns: header -> column of the frame, or a function of its row."""
    wanted: dict[str, str | Format] = {}
    after = "set" if "set" in columns else "regime"
    for header, source in columns.items():
        wanted[header] = source
        if header == after:
            wanted |= {axis_label(axis, columns): axis for axis in axis_columns(frame)}
    body = pd.DataFrame(
        [
            {
                header: row[source] if isinstance(source, str) else source(row)
                for header, source in wanted.items()
            }
            for _, row in frame.iterrows()
        ],
        columns=list(wanted),
    )
    for key in ("dataset", "regime"):  # said once, where it is the same in all rows
        if key in body and len(body) > 1 and body[key].nunique() == 1:
            caption += f"; {body[key].iloc[0]}"
            body = body.drop(columns=key)
    return Table(name, section, caption, body.astype(str))


def _of(column: str, form: Callable[[float], str], **options: bool) -> Format:
    return lambda row: form(row[column], **options)


_WHERE: dict[str, str | Format] = {key: key for key in SETTING}
_FAMILY: dict[str, str | Format] = {**_WHERE, "set": "set", "method": "method"}


def _verdicts(findings: Findings) -> Table:
    rules = "; ".join(f"{name}: {rule}" for name, rule in VERDICTS.items())
    return _build(
        "verdicts",
        VERDICT,
        f"One verdict a method, the worst of its sets. The margin is {100 * findings.margin:g} "
        f"points of test accuracy. {rules}",
        findings.verdicts,
        {**_WHERE, "method": "method", "verdict": "verdict", "why": "reason"},
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

    return _build(
        "sensitivity",
        SENSITIVITY,
        "Test accuracy over ρ0, in points. Range: highest less lowest mean, and the upper end of "
        "its 95 % interval (Tukey); drop: range relative to the highest; slope: a decade of ρ0; p: "
        "of no difference (analysis of variance, corrected for the number of rows); P(best): that "
        "the best ρ0 is so, over resampled seeds; chosen: by "
        f"{findings.select} accuracy, and what that costs",
        findings.sensitivity,
        {
            **_FAMILY,
            "verdict": "verdict",
            "ρ0": lambda row: f"{row['choices']:.0f} of {row['grid']:.0f}",
            "ended badly": lambda row: ", ".join(
                f"{row[name]:.0f} {name}"
                for name in ("diverged", "collapsed", "missing")
                if row[name] > 0
            ),
            "best at": _of("best_rho0", rho0_label),
            "P(best)": lambda row: "" if pd.isna(row["p_best"]) else f"{row['p_best']:.2f}",
            "range": _of("range", points),
            "up to": _of("range_upper", points),
            "drop %": _of("relative_drop", points),
            "decades": lambda row: "" if pd.isna(row["decades"]) else f"{row['decades']:.1f}",
            "slope": _of("slope", points, sign=True),
            "p": _of("p_corrected", p_value),
            "chosen": choice,
        },
    )


def _keys(findings: Findings) -> list[str]:
    return [*SETTING, *axis_columns(findings.selected)]


def _regrets(findings: Findings) -> Table:
    return _build(
        "regrets",
        SENSITIVITY,
        "What each choice of ρ0 costs: points below the best mean test accuracy, and the "
        "probability that it is the best after all",
        findings.regrets,
        {
            **_FAMILY,
            "ρ0": _of("rho0", rho0_label),
            "n": "n",
            "accuracy %": _of("test_mean", points),
            "regret": _of("regret", points),
            "P(best)": lambda row: "" if pd.isna(row["p_best"]) else f"{row['p_best']:.2f}",
        },
    )


def _variance(findings: Findings, importance: pd.DataFrame) -> Iterator[Table]:
    whole = findings.variance
    yield _build(
        "variance",
        VARIANCE,
        "Shares of the variance of all test accuracies, in %: what a source explains, and what is "
        "left of it without the seeds' luck (ω²; near 0 where there is nothing)"
        + _beside_note(importance),
        _with_importance(whole.assign(method=""), importance),
        _shares({**_WHERE}),
    )
    yield _build(
        "variance_by_method",
        VARIANCE,
        "The same, each method by itself" + _beside_note(importance),
        _with_importance(findings.variance_by_method, importance),
        _shares({**_WHERE, "method": "method"}),
    )


def _beside_note(importance: pd.DataFrame) -> str:
    return (
        ""
        if importance.empty
        else ". fANOVA: importance by Optuna, main effects only; not for many trials or methods"
    )


def _shares(where: dict[str, str | Format]) -> dict[str, str | Format]:
    return {
        **where,
        "source": "source",
        "degrees": "degrees",
        "explained %": _of("explained", points),
        "share %": _of("share", points),
        "fANOVA %": _of("importance", points),
    }


def _with_importance(split: pd.DataFrame, importance: pd.DataFrame) -> pd.DataFrame:
    known = importance.rename(columns={"factor": "source"})
    keys = [*SETTING, *axis_columns(known), "method", "source"]
    return split.merge(known, how="left", on=keys)


def _comparisons(findings: Findings) -> Table:
    return _build(
        "comparisons",
        COMPARISON,
        "Method against method at their chosen ρ0: difference of test accuracy in points over the "
        "seeds of both, its 95 % interval (paired t), and the probability that a run of the first "
        "beats one of the second. Intervals are not corrected for their number"
        + _on_test(findings),
        findings.comparisons,
        {
            **_WHERE,
            "set": "set",
            "methods": lambda row: f"{row['method']} - {row['other']}",
            "seeds": "seeds",
            "difference": _of("difference", points, sign=True),
            "from": _of("low", points, sign=True),
            "to": _of("high", points, sign=True),
            "P(improvement)": lambda row: f"{row['improvement']:.2f}",
        },
    )


def _on_test(findings: Findings) -> str:
    on_test = (findings.selected["chosen_on"] == "test").any()
    return "; where ρ0 was chosen on test images, they flatter it" if on_test else ""


def _optimism(findings: Findings) -> Table:
    return _build(
        "optimism",
        COMPARISON,
        "What choosing ρ0 on the test images would add to the test accuracy, in points: the best "
        "mean of all ρ0, less the mean of seeds that were left out of the choice",
        findings.optimism.dropna(subset="optimism"),
        {
            **_FAMILY,
            "choices": "choices",
            "seeds": "seeds",
            "best of test %": _of("best_of_test", points),
            "left out %": _of("left_out", points),
            "optimism": _of("optimism", points, sign=True),
        },
    )


def _claims(findings: Findings) -> Iterator[Table]:
    if findings.paper is None or findings.claims.empty:
        return
    yield _build(
        "claims",
        PAPER,
        f"What {PAPERS[findings.paper]} claims, and whether it holds here, in points of test "
        "accuracy. Noise: cells whose seeds could turn the answer (95 %)",
        findings.claims,
        {
            "claim": "claim",
            "source": "source",
            "here": lambda row: row["verdict"] + _ties(row["ties"]),
            "cells": "cells",
            "noise": lambda row: (
                f"{row['within_noise']}"
                + (f" ({row['untested']} untested)" if row["untested"] else "")
            ),
            "exceptions": "exceptions",
        },
    )


def _ties(count: int) -> str:
    return f" ({count} tie{'s' if count > 1 else ''})" if count else ""


def _beside(findings: Findings) -> Iterator[Table]:
    if findings.paper is None:
        return
    paper = PAPERS[findings.paper]
    beside = findings.beside
    foreign = [] if beside.empty else sorted(set(beside.loc[~beside["same_setting"], "model"]))
    note = ""
    stand_in = STAND_IN[findings.paper]
    if foreign:
        note = (
            f". Not in the paper, and beside its {stand_in[1]} on {stand_in[0]}: "
            f"{', '.join(foreign)}; there, only signs and ranks mean anything"
        )
    yield _build(
        "beside",
        PAPER,
        f"Test accuracy in %, ours and theirs ({paper}){note}",
        beside,
        {
            **_FAMILY,
            "cell": lambda row: _cell_label(row),
            "ours": lambda row: (
                _mean(row["ours"], row["ours_std"])
                + (f" [n = {row['n']}]" if row["n"] < row["seeds"] else "")
            ),
            "theirs": lambda row: _mean(row["theirs"], row["theirs_std"]),
            "ours - theirs": _of("difference", points, sign=True),
            "their table": "table",
        },
    )
    yield _build(
        "ranks",
        PAPER,
        "Agreement on which cells are the better ones: Kendall's τ (1: the same order) over the "
        "cells of each of their tables that were run here",
        findings.ranks,
        {
            **_WHERE,
            "their table": "table",
            "cells": "cells",
            "τ": lambda row: "" if pd.isna(row["tau"]) else f"{row['tau']:+.2f}",
            "p": _of("p", p_value),
        },
    )
    yield _build(
        "oddities",
        PAPER,
        "To know of the paper's own tables: entries of its main tables that are not those of the "
        "appendix, and deviations of zero",
        oddities(findings.paper),
        {
            "table": "table",
            **_FAMILY,
            "what": "kind",
            "main %": "main",
            "appendix %": "appendix",
        },
    )


def _cell_label(row: pd.Series) -> str:
    if row["cell"] != "best ρ0":
        return f"ρ0 = {rho0_label(row['rho0'])}"
    return "" if pd.isna(row["rho0"]) else f"best ρ0 (ours: {rho0_label(row['rho0'])})"


def _mean(mean: float, std: float) -> str:
    return points(mean) if pd.isna(std) else f"{points(mean)} ({points(std)})"


def configuration_table(findings: Findings) -> Table:
    """Every configuration with its intervals, and what the bootstrap's are worth."""
    table = findings.configurations
    sizes: Sequence[int] = sorted({int(n) for n in table["n"] if n > 1})
    coverage = ", ".join(f"{100 * bootstrap_coverage(n):.0f} % at n = {n}" for n in sizes[:5])
    return _build(
        "configurations",
        CONFIGURATIONS,
        "Test accuracy in % of each configuration, with 95 % intervals of the mean over seeds by "
        "Student's t and by the bootstrap"
        + (f" (whose real coverage is {coverage}, for normal values)" if coverage else ""),
        table,
        {
            **_FAMILY,
            "ρ0": _of("rho0", rho0_label),
            "n": "n",
            "not finished": lambda row: ", ".join(
                f"{row[name]} {name}" for name in WITHOUT if row[name]
            ),
            "validation %": lambda row: _mean(row["validation_mean"], row["validation_std"]),
            "test %": lambda row: _mean(row["test_mean"], row["test_std"]),
            "t": lambda row: _interval(row["test_t_low"], row["test_t_high"]),
            "bootstrap": lambda row: _interval(
                row["test_bootstrap_low"], row["test_bootstrap_high"]
            ),
        },
    )


def _interval(low: float, high: float) -> str:
    return "" if pd.isna(low) else f"{points(max(low, 0))} to {points(min(high, 1))}"
