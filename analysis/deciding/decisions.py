"""Decisions: the answers to a sweep's questions so far, and what the open ones need."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from analysis.deciding.answers import OPEN, Floats, on_differences, on_ranges
from analysis.deciding.forecast import of_difference, of_range
from analysis.deciding.looks import FEWEST_SEEDS, Look, looks
from analysis.deciding.questions import RANGE, Question, questions
from analysis.metric import ACCURACY, Metric
from analysis.statistics.verdicts import FAILS, MARGIN

UNFINISHED = "unfinished"
"""The answer before the first look."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Decision:
    """What is known about a question after all looks for which its trials have ended."""

    question: Question
    answer: str
    """A key of `verdicts.VERDICTS`; of a comparison one of `answers.DIFFERS`, `TIE` and `OPEN`, or
    `UNFINISHED`."""
    is_decided: bool
    seeds: int
    """Number of seeds of the last look, of each configuration; 0 before the first look."""
    estimate: float
    """Range over rho0, or difference of the methods, as scores; NaN before the first look."""
    low: float
    high: float
    """Ends of its interval at the last look, which all looks together hold with the probability
    1 - `looks.ERROR_RATE`."""
    next_seeds: int | None
    """Seeds of the next look; None if the question is decided."""
    expected_seeds: int | None
    """Seeds after which it is expected to be decided; None if that is unknown, or more than the
    largest number."""

    @property
    def distance(self) -> float:
        """Trials until it is expected to be decided; infinite if that is not expected."""
        if self.expected_seeds is None:
            return math.inf
        return (self.expected_seeds - self.seeds) * len(self.question.configurations)

    @property
    def about(self) -> str:
        """What the question is about, such as ``ρ0 of PC on ternary``."""
        where = self.question.where
        axes = [str(value) for name, value in where.items() if name.startswith("axis.") and value]
        of = " and ".join(self.question.methods)
        first = f"ρ0 of {of}" if self.question.kind == RANGE else of
        return f"{first} on {', '.join([str(where['set']), *axes])}"


def decisions(
    trials: pd.DataFrame,
    metric: Metric = ACCURACY,
    *,
    margin: float = MARGIN,
    most: int | None = None,
) -> list[Decision]:
    """Answer the questions of a sweep, each by the trials of its own whole looks only.

    So the answers do not depend on the order in which trials end, on how often a command was
    stopped, or on what other questions have asked for.

    Args:
        trials: columns of `columns.trials_columns`, and `columns.ADDED`.
        metric: what the trials are compared by.
        margin: range over rho0 up to which a method is stable; see `metric.Metric.margin`.
        most: largest number of seeds that a question may get, for the forecast; None for no
            forecast.
    """
    return [_decide(one, metric, margin, most) for one in questions(trials, metric)]


def _decide(question: Question, metric: Metric, margin: float, most: int | None) -> Decision:
    found, last = _NOT_LOOKED_AT, None
    for look in looks(len(question.first)):
        is_whole = look.seeds <= len(question.seeds) and question.has_ended[:, : look.seeds].all()
        if found.is_decided or not is_whole:
            break
        found, last = _look(question, look, metric, margin), look
    expected = None
    if last is None:
        expected = look.seeds if most is not None and look.seeds <= most else None
    elif most is not None and not found.is_decided and not math.isnan(found.estimate):
        expected = _expected(question, last.seeds, metric, margin, most)
    return Decision(
        question=question,
        answer=found.answer,
        is_decided=found.is_decided,
        seeds=0 if last is None else last.seeds,
        estimate=found.estimate,
        low=max(found.low, -metric.span),
        high=min(found.high, metric.span),
        next_seeds=None if found.is_decided else look.seeds,
        expected_seeds=expected,
    )


class _Found(NamedTuple):
    """What a look has found."""

    answer: str
    is_decided: bool = False
    estimate: float = math.nan
    low: float = math.nan
    high: float = math.nan


_NOT_LOOKED_AT = _Found(UNFINISHED)


def _look(question: Question, look: Look, metric: Metric, margin: float) -> _Found:
    scores = _scores(question, look.seeds)
    diverged = question.has_diverged[:, : look.seeds]
    if question.kind == RANGE and diverged.any():
        return _Found(FAILS if diverged.all() else "sensitive", is_decided=True)
    if scores.shape[1] < FEWEST_SEEDS:  # of a comparison, the others have diverged
        return _Found(OPEN)
    own = metric.margin(margin, scores.mean(axis=1).max())
    if question.kind == RANGE:
        answers = on_ranges(scores[None], own, look.error_rate, question.chance)
    else:
        answers = on_differences(scores[None], own, look.error_rate)
    answer, estimate, low, high, is_decided = (values[0] for values in answers)
    return _Found(str(answer), bool(is_decided), float(estimate), float(low), float(high))


def _scores(question: Question, seeds: int) -> Floats:
    """Scores of the seeds of a look; of a comparison, those for which neither has diverged."""
    scores = question.scores[:, :seeds]
    return scores if question.kind == RANGE else scores[:, ~np.isnan(scores).any(axis=0)]


def _expected(
    question: Question, seeds: int, metric: Metric, margin: float, most: int
) -> int | None:
    own = metric.margin(margin, _scores(question, seeds).mean(axis=1).max())
    forecast = of_range if question.kind == RANGE else of_difference
    return forecast(question.scores[:, :seeds], own, len(question.first), most)
