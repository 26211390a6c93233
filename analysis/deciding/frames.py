"""The decisions, and the trials that were added for them, as tables of a report."""

from collections.abc import Sequence

import pandas as pd

from analysis.columns import ADDED, axis_columns
from analysis.deciding.decisions import Decision
from analysis.deciding.questions import RANGE
from analysis.metric import Metric
from analysis.statistics.aggregate import KEYS, SETTING


def decisions_frame(
    found: Sequence[Decision], trials: pd.DataFrame, metric: Metric
) -> pd.DataFrame:
    """One row for each question.

    Args:
        found: result of `decisions.decisions`.
        trials: the trials behind it.
        metric: what they are compared by.

    Returns:
        The columns dataset, model, regime, set, further axes, and
            question: ``range`` or ``comparison``.
            method: the method, or the first of two.
            other: the second method; empty for a range.
            answer: see `decisions.Decision`.
            decided: whether the question needs no further seeds.
            first_seeds: number of the sweep's own seeds.
            seeds: number of seeds of the last look; 0 before the first.
            added: number of trials that were added to the sweep for this question or another,
                and that this one uses.
            estimate, low, high: values of the range, or of the difference of both methods, with the
                interval that all looks together hold with 95 %.
    """
    rows = []
    for one in found:
        question = one.question
        ends = one.estimate, one.low, one.high
        if question.kind != RANGE and not metric.higher_is_better:
            ends = 0.0 - one.estimate, 0.0 - one.high, 0.0 - one.low
        rows.append(
            {
                **question.where,
                "question": question.kind,
                "method": question.methods[0],
                "other": "" if question.kind == RANGE else question.methods[1],
                "answer": one.answer,
                "decided": one.is_decided,
                "first_seeds": len(question.first),
                "seeds": one.seeds,
                "added": max(one.seeds - len(question.first), 0) * len(question.configurations),
                **dict(zip(("estimate", "low", "high"), ends, strict=True)),
            }
        )
    names = ("question", "method", "other", "answer", "decided", "first_seeds", "seeds", "added")
    keys = [*SETTING, "set", *axis_columns(trials)]
    return pd.DataFrame(rows, columns=[*keys, *names, "estimate", "low", "high"])


def added_frame(trials: pd.DataFrame) -> pd.DataFrame:
    """The trials that were added to a sweep, by configuration and reason.

    Args:
        trials: columns of `columns.trials_columns`, and `columns.ADDED`.

    Returns:
        The keys of a configuration, further axes, reason (the questions for which its trials were
        added), seeds (such as ``3-7``), trials (their number) and finished (of them).
    """
    keys = [*KEYS, *axis_columns(trials), ADDED]
    rows = []
    for key, part in trials[trials[ADDED] != ""].groupby(keys, sort=False, dropna=False):
        own = dict(zip(keys, key, strict=True))
        own["reason"] = own.pop(ADDED)
        ended = part["state"].isin(("COMPLETE", "DIVERGED"))
        counts = {"trials": len(part), "finished": int(ended.sum())}
        rows.append({**own, "seeds": _spans(part["seed"].astype(int)), **counts})
    return pd.DataFrame(rows, columns=[*keys[:-1], "reason", "seeds", "trials", "finished"])


def _spans(seeds: pd.Series) -> str:
    """Seeds in the form that `--seeds` takes, such as ``3-7,9``."""
    spans: list[list[int]] = []
    for seed in sorted(seeds):
        if spans and spans[-1][1] == seed - 1:
            spans[-1][1] = seed
        else:
            spans.append([seed, seed])
    return ",".join(f"{low}" if low == high else f"{low}-{high}" for low, high in spans)
