"""Published accuracies, and a sweep's accuracies beside them.

`published_accuracy.csv` has the test accuracies as printed, in percent, with the table of each.
"""

from collections.abc import Hashable, Mapping
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from analysis.columns import axis_columns
from analysis.protocol import TRAINED, Recipe, differences
from analysis.rounding import mean_and_std, rho0_label
from analysis.statistics.aggregate import SETTING, WITHOUT, highest
from analysis.statistics.intervals import t_interval
from analysis.text import folded

PAPERS: Mapping[str, str] = {
    "proxconnect": "Dockhorn et al., Demystifying and Generalizing BinaryConnect, NeurIPS 2021",
    "mirror-descent-view": "Ajanthan et al., Mirror Descent View for Neural Network Quantization, "
    "AISTATS 2021",
}
"""Key, as `--compare` takes it -> reference."""
SEEDS = {"proxconnect": 3, "mirror-descent-view": 1}
"""Number of runs behind a published number. The ProxConnect paper states three (checklist 3c), and
one for its full-precision networks (B.1.3). The other paper does not state it; its code runs
once."""
NOT_STATED = "not stated"
"""Name of the set in Table 4 of the ProxConnect paper, which does not state the set."""
STAND_IN = {
    "proxconnect": ("CIFAR-10", "ResNet20"),
    "mirror-descent-view": ("CIFAR-10", "ResNet-18"),
}
"""Paper -> dataset and model to compare with if a sweep's are not in the paper. In that case, only
signs and ranks of differences are meaningful."""
SCALED = " with He scales"
"""End of the name of a network with layerwise scaling (mirror-descent paper, Table 4), as sweeps
name it."""
_CELL = ["dataset", "model", "regime", "method", "set"]


class UnknownPaperError(ValueError):
    """The paper is not a key of `PAPERS`; the message lists the keys."""


class NotAccuracyError(ValueError):
    """Trials without accuracies cannot be compared with a paper."""


@cache
def published(paper: str) -> pd.DataFrame:
    """The printed top-1 test accuracies of a paper.

    Args:
        paper: a key of `PAPERS`.

    Returns:
        One row per accuracy, with the columns
            table: number of the table, or the section.
            dataset, model, regime, method.
            set: empty in full precision, and `NOT_STATED` if the paper does not state it.
            rho0: missing if the method has none, or the paper does not state it.
            at_best: whether it is the best of several rho0.
            n: number of runs.
            mean, std: fractions; std is missing if none is printed.

    Raises:
        UnknownPaperError: `paper` is not a key of `PAPERS`.
    """
    if paper not in PAPERS:
        raise UnknownPaperError(
            f"paper {paper!r} is unknown; it must be one of {', '.join(PAPERS)}"
        )
    with files("analysis").joinpath("published_accuracy.csv").open(encoding="utf-8") as file:
        printed = pd.read_csv(file, dtype={"rho0": "string", "table": "string"})
    printed = printed[(printed["paper"] == paper) & (printed["metric"] == "top1")]
    sets = printed["quantization"].str.lower()
    # A network in full precision is trained from random weights, also if the paper does not say so.
    regimes = printed["regime"].fillna("").replace({"finetune": "fine-tuning"})
    regimes = regimes.mask((regimes == "") & (sets == "float"), "end-to-end")
    is_scaled = printed["method"].str.endswith("layerwise scale yes]")
    return pd.DataFrame(
        {
            "table": printed["table"].astype(object),
            "dataset": printed["dataset"],
            "model": printed["model"].mask(is_scaled, printed["model"] + SCALED),
            "regime": regimes,
            "method": printed["method"].replace({"REF (float)": "FP"}),
            "set": sets.where(sets != "float", ""),
            "rho0": pd.to_numeric(printed["rho0"].where(printed["rho0"] != "best")).astype(float),
            "at_best": (printed["rho0"] == "best").fillna(False).astype(bool),
            "n": np.where(sets == "float", 1, SEEDS[paper]),
            "mean": printed["mean"] / 100,
            "std": printed["std"] / 100,
        }
    ).reset_index(drop=True)


def published_configurations(paper: str) -> pd.DataFrame:
    """A paper's results in the columns of `aggregate.configurations`.

    There is a row for every rho0 of the appendix, and one for each method without rho0. Papers
    print neither validation accuracies nor single seeds, so that the validation and bootstrap
    columns are missing. Standard deviations are as printed, although some seem to have ddof = 0
    (see `oddities`), which makes their intervals too narrow by a factor of up to sqrt(3/2).

    Args:
        paper: a key of `PAPERS`.

    Raises:
        UnknownPaperError: `paper` is not a key of `PAPERS`.
    """
    printed = published(paper)
    rows = printed[~printed["at_best"]].drop_duplicates([*_CELL, "rho0"])
    low, high = t_interval(rows["mean"], rows["std"], rows["n"])
    return rows.drop(columns=["table", "at_best", "mean", "std"]).assign(
        configuration_id=[" ".join(map(str, key)) for key in rows[[*_CELL, "rho0"]].to_numpy()],
        seeds=rows["n"],
        **dict.fromkeys(WITHOUT, 0),
        validation_n=0,
        validation_mean=np.nan,
        validation_std=np.nan,
        test_mean=rows["mean"],
        test_std=rows["std"],
        test_t_low=low,
        test_t_high=high,
        test_bootstrap_low=np.nan,
        test_bootstrap_high=np.nan,
    )


def oddities(paper: str = "proxconnect") -> pd.DataFrame:
    """Inconsistencies between the tables of a paper, found by computation.

    An entry of a main table should be the entry of the appendix with the best mean over rho0. Its
    standard deviation may be that of the appendix or sqrt(3/2) times it, which is ddof = 1 instead
    of 0 for three seeds. Entries for which neither holds are listed, and those with a standard
    deviation of zero.

    Args:
        paper: a key of `PAPERS`.

    Returns:
        One row per entry, with the columns table, dataset, model, regime, method, set, kind (what
        is inconsistent), main and appendix (mean and standard deviation in percent, as printed).

    Raises:
        UnknownPaperError: `paper` is not a key of `PAPERS`.
    """
    printed = published(paper)
    by_rho0 = printed[printed["rho0"].notna()]
    rows = []
    for _, main in printed[printed["at_best"]].iterrows():
        of_cell = by_rho0[(by_rho0[_CELL] == main[_CELL]).all(axis=1)]
        if of_cell.empty:
            continue
        best = highest(of_cell, "mean")
        same = of_cell[of_cell["mean"] == main["mean"]]
        kind = ""
        if best["mean"] != main["mean"]:
            kind = "the mean is not the best"
        if not any(_same_deviation(main["std"], std) for std in same["std"]):
            kind = "the standard deviations differ"
        if kind:
            shown = best if kind == "the mean is not the best" or same.empty else same.iloc[0]
            rows.append({**main, "kind": kind, "main": _cell(main), "appendix": _cell(shown)})
    for _, entry in printed[printed["std"] == 0].iterrows():
        rows.append(
            {
                **entry,
                "kind": "the standard deviation is zero",
                "main": _cell(entry),
                "appendix": "",
            }
        )
    return pd.DataFrame(rows, columns=["table", *_CELL, "kind", "main", "appendix"])


def _same_deviation(main: float, appendix: float) -> bool:
    rounding = 0.5e-4 * 1.0001
    if abs(main - appendix) <= 1e-9:
        return True
    return bool(abs(main - appendix * 1.5**0.5) <= rounding * (1 + 1.5**0.5))


def _cell(row: pd.Series) -> str:
    return mean_and_std(row["mean"], row["std"])


def side_by_side(
    selected: pd.DataFrame,
    table: pd.DataFrame,
    paper: str,
    recipes: Mapping[Hashable, Recipe] | None = None,
) -> pd.DataFrame:
    """Our accuracies beside those of a paper, for every cell that both have.

    If the paper has the dataset and model, cells are compared at the best rho0 and at every common
    rho0. Otherwise they are compared with the paper's `STAND_IN` at the best rho0, and only signs
    and ranks are meaningful. If the paper does not state its set, each of our sets is compared with
    it.

    Args:
        selected: result of `selection.select`.
        table: result of `aggregate.configurations`.
        paper: a key of `PAPERS`.
        recipes: configuration_id -> its recipe, of `protocol.recipes_of`.

    Returns:
        One row per cell, with the columns
            dataset, model, regime, method, set, further axes.
            cell: "best ρ0", or the common rho0.
            rho0, ours, ours_std, n, seeds: our values; accuracies are fractions.
            theirs, theirs_std, table: the paper's values, and the table that has them.
            stand_in: whether the paper's dataset or model is another.
            differs: known differences of training and selection, separated by commas:
                `protocol.PARTS`, set, and `CHOICE`.
            same_setting: whether there are none, and no stand-in.
            difference: ours - theirs.

    Raises:
        UnknownPaperError: `paper` is not a key of `PAPERS`.
    """
    printed = published(paper)
    theirs = {
        (
            *_folded(row["dataset"], row["model"]),
            row["regime"],
            row["method"],
            row["set"],
            cell,
        ): row
        for row in printed.iloc[::-1].to_dict("records")  # the first of those printed twice
        for cell in [_BEST if row["at_best"] or pd.isna(row["rho0"]) else row["rho0"]]
    }
    settings, axes = {key[:2] for key in theirs}, axis_columns(table)
    rows = []
    finished = table[(table["n"] > 0) & table["rho0"].notna()]
    candidates = [(_BEST, row) for row in selected.to_dict("records")]
    candidates += [(row["rho0"], row) for row in finished.to_dict("records")]
    for cell, row in candidates:
        setting = _folded(row["dataset"], row["model"])
        same = setting in settings
        if not same and cell != _BEST:
            continue
        key = (
            *(setting if same else _folded(*STAND_IN[paper])),
            row["regime"],
            row["method"],
            row["set"],
            cell,
        )
        entry = theirs.get(key)
        if entry is None and row["set"]:
            entry = theirs.get((*key[:-2], NOT_STATED, cell))
        if entry is None:
            continue
        own = (recipes or {}).get(row["configuration_id"], {})
        differs = list(_training_differences(row, own, paper)) if same else []
        if same and entry["set"] != row["set"]:
            differs.append("set")
        if same and entry["at_best"] and row.get("chosen_on") == "validation":
            differs.append(CHOICE)
        rows.append(
            {
                **{name: row[name] for name in (*_CELL, *axes, "rho0", "n", "seeds")},
                "cell": cell if cell == _BEST else rho0_label(row["rho0"]),
                "ours": row["test_mean"],
                "ours_std": row["test_std"],
                "theirs": entry["mean"],
                "theirs_std": entry["std"],
                "table": entry["table"],
                "stand_in": not same,
                "differs": ", ".join(differs),
                "same_setting": same and not differs,
                "difference": row["test_mean"] - entry["mean"],
            }
        )
    columns = [*_CELL, *axes, "cell", "rho0", "ours", "ours_std", "n", "theirs"]
    columns += ["theirs_std", "table", "stand_in", "differs", "same_setting", "difference", "seeds"]
    return pd.DataFrame(rows, columns=columns)


_BEST = "best ρ0"
CHOICE = "ρ0 chosen on"
"""Difference that we chose rho0 on validation images, and the paper on test images."""


def _training_differences(
    row: Mapping[Hashable, Any], recipe: Recipe, paper: str
) -> Mapping[str, tuple[str, str]]:
    for trained in TRAINED.get(paper, ()):
        if (_folded(trained.dataset), trained.regime) == (_folded(row["dataset"]), row["regime"]):
            return differences(recipe, trained.of(row["method"]))
    return {}


def training_beside(
    beside: pd.DataFrame, selected: pd.DataFrame, paper: str, recipes: Mapping[Hashable, Recipe]
) -> pd.DataFrame:
    """Differences between our training and a paper's, for the settings that both have.

    Args:
        beside: result of `side_by_side`.
        selected: result of `selection.select`.
        paper: a key of `PAPERS`.
        recipes: configuration_id -> its recipe, of `protocol.recipes_of`.

    Returns:
        One row per difference, with the columns dataset, model, regime, what (a part of
        `protocol.PARTS`, or `CHOICE`), methods, ours and theirs.
    """
    rows: dict[tuple[str, ...], list[str]] = {}
    compared = set(beside.loc[~beside["stand_in"], [*_CELL]].itertuples(index=False, name=None))
    for row in selected.to_dict("records"):
        if tuple(row[name] for name in _CELL) not in compared:
            continue
        where = tuple(row[name] for name in SETTING)
        found = dict(_training_differences(row, recipes.get(row["configuration_id"], {}), paper))
        if row["chosen_on"] == "validation" and paper == "proxconnect":
            found[CHOICE] = "validation images", "test images"
        for what, (ours, theirs) in found.items():
            methods = rows.setdefault((*where, what, ours, theirs), [])
            methods += [row["method"]] if row["method"] not in methods else []
    keys = [*SETTING, "what", "ours", "theirs"]
    found_rows = [
        dict(zip(keys, key, strict=True)) | {"methods": ", ".join(methods)}
        for key, methods in rows.items()
    ]
    return pd.DataFrame(found_rows, columns=[*SETTING, "what", "methods", "ours", "theirs"])


def _folded(*names: str) -> tuple[str, ...]:
    return tuple(map(folded, names))


def rank_agreement(beside: pd.DataFrame) -> pd.DataFrame:
    """Agreement with a paper on the order of the cells, by Kendall's tau-b.

    Args:
        beside: result of `side_by_side`.

    Returns:
        One row for each of our settings and the paper's tables, with the columns dataset, model,
        regime, further axes, table, cells (number of common cells), tau (1 for the same order, -1
        for the reverse) and p (of the null hypothesis of no association).
    """
    rows = []
    keys = [*SETTING, *axis_columns(beside), "table"]
    for key, part in beside[beside["set"] != ""].groupby(keys, sort=False):
        if len(part) < 2:
            continue
        tau, p = stats.kendalltau(part["ours"], part["theirs"])
        counts = {"cells": len(part), "tau": tau, "p": p}
        rows.append({**dict(zip(keys, key, strict=True)), **counts})
    return pd.DataFrame(rows, columns=[*keys, "cells", "tau", "p"])
