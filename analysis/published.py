"""The papers' own numbers, and a sweep's beside them.

`published_accuracy.csv` holds the printed test accuracies in percent, with their table.
"""

import re
from collections.abc import Hashable, Mapping
from functools import cache
from importlib.resources import files

import numpy as np
import pandas as pd
from scipy import stats

from analysis.protocol import TRAINED, Recipe, differences
from analysis.statistics.aggregate import SETTING, WITHOUT, axis_columns, highest
from analysis.statistics.intervals import t_interval

PAPERS: Mapping[str, str] = {
    "proxconnect": "Dockhorn et al., Demystifying and Generalizing BinaryConnect, NeurIPS 2021",
    "mirror-descent-view": "Ajanthan et al., Mirror Descent View for Neural Network Quantization, "
    "AISTATS 2021",
}
"""What `--compare` knows."""
SEEDS = {"proxconnect": 3, "mirror-descent-view": 1}
"""Runs behind each number: ProxConnect paper, checklist 3c, but for its full-precision networks, of
which there is one each (B.1.3). The other paper's text does not say; its code runs each once."""
NOT_STATED = "not stated"
"""The set of Table 4 of the ProxConnect paper, which appears nowhere in its text."""
STAND_IN = {
    "proxconnect": ("CIFAR-10", "ResNet20"),
    "mirror-descent-view": ("CIFAR-10", "ResNet-18"),
}
"""Dataset and model of a paper that others are held against; only signs and ranks then count."""
_CELL = ["dataset", "model", "regime", "method", "set"]


class UnknownPaperError(ValueError):
    """No numbers of such a paper are at hand."""


@cache
def published(paper: str) -> pd.DataFrame:
    """One row a printed top-1 accuracy, as fractions.

    Columns: table (its number, or the section), dataset, model, regime, method, set (empty in full
    precision, `NOT_STATED` where the paper does not say which), rho0
    (missing where there is none, or it is not said), at_best (it is the best of several rho0), n,
    mean, std (missing where none is printed).

    Raises:
        UnknownPaperError: naming those that are known.
    """
    if paper not in PAPERS:
        raise UnknownPaperError(f"paper {paper!r}: unknown; papers: {', '.join(PAPERS)}")
    with files("analysis").joinpath("published_accuracy.csv").open(encoding="utf-8") as file:
        printed = pd.read_csv(file, dtype={"rho0": "string", "table": "string"})
    printed = printed[(printed["paper"] == paper) & (printed["metric"] == "top1")]
    sets = printed["quantization"].str.lower()
    return pd.DataFrame(
        {
            "table": printed["table"].astype(object),
            "dataset": printed["dataset"],
            "model": printed["model"],
            "regime": printed["regime"].fillna("").replace({"finetune": "fine-tuning"}),
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
    """The paper's results as `aggregate.configurations` would give them, as far as printed.

    One row a configuration: every rho0 of the appendix, and methods that have none. There are no
    validation accuracies, no seeds one by one, and hence no bootstrap intervals. Deviations are
    taken as they are printed, although some seem to be of ddof = 0 (see `oddities`), which makes
    their intervals too narrow by a factor of up to sqrt(3/2).
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
    """Where a paper's tables do not agree with one another; found, not listed by hand.

    A main table's entry is the best of the appendix' entries of several rho0, by mean. Its standard
    deviation may be the appendix' or sqrt(3/2) of it: with three seeds, ddof = 1 instead of 0. One
    row an entry that fits neither way, or whose mean is not the best, or whose deviation is 0.

    Columns: table, dataset, model, regime, method, set, kind, main (percent, as printed), appendix.
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
            kind = "not the best mean"
        if not any(_same_deviation(main["std"], std) for std in same["std"]):
            kind = "standard deviations differ"
        if kind:
            shown = best if kind == "not the best mean" or same.empty else same.iloc[0]
            rows.append({**main, "kind": kind, "main": _cell(main), "appendix": _cell(shown)})
    for _, entry in printed[printed["std"] == 0].iterrows():
        rows.append({**entry, "kind": "deviation of zero", "main": _cell(entry), "appendix": ""})
    return pd.DataFrame(rows, columns=["table", *_CELL, "kind", "main", "appendix"])


def _same_deviation(main: float, appendix: float) -> bool:
    rounding = 0.5e-4 * 1.0001
    if abs(main - appendix) <= 1e-9:
        return True
    return bool(abs(main - appendix * 1.5**0.5) <= rounding * (1 + 1.5**0.5))


def _cell(row: pd.Series) -> str:
    return f"{100 * row['mean']:.2f} ({100 * row['std']:.2f})"


def side_by_side(
    selected: pd.DataFrame,
    table: pd.DataFrame,
    paper: str,
    recipes: Mapping[Hashable, Recipe] | None = None,
) -> pd.DataFrame:
    """One row a cell that was run and that the paper has as well: ours, theirs, the difference.

    Cells of the same dataset and model are compared at their best rho0 and at every rho0 that both
    have. Those of a dataset and model that the paper does not have stand beside its `STAND_IN`, at
    the best rho0 only: then only signs and ranks mean anything. Where the paper does not say which
    set it used, any of ours stands beside.

    Columns: dataset, model, regime, method, set, further axes, cell ("best ρ0", or the rho0),
    rho0 (ours), ours, ours_std, n, theirs, theirs_std, table (theirs), stand_in (dataset and model
    are others), differs (in what else ours are known to differ: `protocol.PARTS`, set, ρ0 chosen
    on), same_setting (neither), difference (ours - theirs).

    Args:
        selected: what `selection.select` gives.
        table: what `aggregate.configurations` gives.
        paper: a key of `PAPERS`.
        recipes: configuration -> recipe, as `protocol.recipe_of` gives it.

    Raises:
        UnknownPaperError: it is not.
    """
    printed = published(paper)
    theirs = {
        (*_plain(row["dataset"], row["model"]), *row[["regime", "method", "set"]], cell): row
        for _, row in printed.iloc[::-1].iterrows()  # of entries printed twice, the first
        for cell in [_BEST if row["at_best"] or pd.isna(row["rho0"]) else row["rho0"]]
    }
    settings = {key[:2] for key in theirs}
    rows = []
    finished = table[(table["n"] > 0) & table["rho0"].notna()]
    candidates = [(_BEST, row) for _, row in selected.iterrows()]
    candidates += [(row["rho0"], row) for _, row in finished.iterrows()]
    for cell, row in candidates:
        setting = _plain(row["dataset"], row["model"])
        same = setting in settings
        if not same and cell != _BEST:
            continue
        key = (
            *(setting if same else _plain(*STAND_IN[paper])),
            *row[["regime", "method", "set"]],
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
                **row[[*_CELL, *axis_columns(table), "rho0", "n", "seeds"]],
                "cell": cell if cell == _BEST else f"{cell:g}",
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
    columns = [*_CELL, *axis_columns(table), "cell", "rho0", "ours", "ours_std", "n", "theirs"]
    columns += ["theirs_std", "table", "stand_in", "differs", "same_setting", "difference", "seeds"]
    return pd.DataFrame(rows, columns=columns)


_BEST = "best ρ0"
CHOICE = "ρ0 chosen on"
"""Of `side_by_side`'s `differs`: theirs on test images."""


def _training_differences(
    row: pd.Series, recipe: Recipe, paper: str
) -> Mapping[str, tuple[str, str]]:
    for trained in TRAINED.get(paper, ()):
        if (_plain(trained.dataset), trained.regime) == (_plain(row["dataset"]), row["regime"]):
            return differences(recipe, trained.of(row["method"]))
    return {}


def training_beside(
    beside: pd.DataFrame, selected: pd.DataFrame, paper: str, recipes: Mapping[Hashable, Recipe]
) -> pd.DataFrame:
    """One row a setting and part in which our training differs from a paper's of the same names.

    Columns: dataset, model, regime, what, methods, ours, theirs.

    Args:
        beside: what `side_by_side` gives.
        selected: what `selection.select` gives.
        paper: a key of `PAPERS`.
        recipes: as of `side_by_side`.
    """
    rows: dict[tuple[str, ...], list[str]] = {}
    compared = set(beside.loc[~beside["stand_in"], [*_CELL]].itertuples(index=False, name=None))
    for _, row in selected.iterrows():
        if tuple(row[_CELL]) not in compared:
            continue
        where = tuple(row[[*SETTING]])
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


def _plain(*names: str) -> tuple[str, ...]:
    """Names without case and punctuation: CIFAR-10 is CIFAR10, ResNet18 is resnet18."""
    return tuple(re.sub(r"[^a-z0-9]", "", name.lower()) for name in names)


def rank_agreement(beside: pd.DataFrame) -> pd.DataFrame:
    """One row a setting of ours and a table of theirs: whether the same cells are the better ones.

    Kendall's tau-b over the cells that both have, 1 for the same order and -1 for the reverse one;
    p is that of no agreement. Columns: dataset, model, regime, further axes, table, cells, tau, p.

    Args:
        beside: what `side_by_side` gives.
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
