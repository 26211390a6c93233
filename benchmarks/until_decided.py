"""Errors and costs of `sweeps run --until-decided`, by simulation.

Each setting has 2,000 sweeps of nine rows (three methods on three sets) with five rho0 each, or of
nine comparisons of two methods. All start with three seeds and may have up to `MOST`. Of each
setting it is measured how often an answer is wrong, how often it is right, and how many trials the
rows need. The same is measured of a fixed number of seeds with the same rules and one look: the
smallest number that gives at least as many right answers.

Scores are in units of the margin, and `noise` is the standard deviation over seeds.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from measuring import write
from numpy.typing import NDArray

from analysis.deciding.answers import DIFFERS, TIE, TIE_SHARE, Answers, on_differences, on_ranges
from analysis.deciding.looks import ERROR_RATE, looks

Floats = NDArray[np.float64]

SWEEPS, ROWS, CHOICES = 2000, 9, 5
FIRST, MOST = 3, 20
LARGEST = 40
"""Seeds up to which a fixed number is looked for."""
COLLAPSE = 15.0


def normal(rng: np.random.Generator, means: Floats, noise: Floats, seeds: int = LARGEST) -> Floats:
    """Scores (questions, choices, seeds) with normal noise of (questions, 1 or choices)."""
    return means[:, :, None] + noise[:, :, None] * rng.standard_normal((*means.shape, seeds))


def common(rng: np.random.Generator, means: Floats, noise: Floats) -> Floats:
    """The same, of which half of the variance is what a seed adds at all choices."""
    own, shared = normal(rng, means, noise), rng.standard_normal((len(means), 1, LARGEST))
    return means[:, :, None] + (own - means[:, :, None] + noise[:, :, None] * shared) / np.sqrt(2)


def heavy(rng: np.random.Generator, means: Floats, noise: Floats) -> Floats:
    """The same with Student's t distribution of 3 degrees of freedom, scaled to this deviation."""
    draws = rng.standard_t(3, (*means.shape, LARGEST)) / np.sqrt(3)
    return means[:, :, None] + noise[:, :, None] * draws


def collapsing(share: float, rng: np.random.Generator, means: Floats, noise: Floats) -> Floats:
    """The same with normal noise, of which a share of the seeds collapses at the last choice."""
    scores = normal(rng, means, noise)
    scores[:, -1] -= COLLAPSE * (rng.random(scores[:, -1].shape) < share)
    return scores


def two_groups(range_: float, rows: int) -> Floats:
    """Means of which two are the best and three the worst, so that many pairs may err."""
    return np.tile(np.repeat([0.0, -range_], [2, CHOICES - 2]), (rows, 1))


def slope(range_: float, rows: int) -> Floats:
    return np.tile(np.linspace(0.0, -range_, CHOICES), (rows, 1))


def sequential(
    scores: Floats, answers: Callable[..., Answers]
) -> tuple[NDArray[np.str_], NDArray[np.int_]]:
    """The answer to each question, and the seeds after which it was given."""
    rows = len(scores)
    found, seeds = np.full(rows, "", dtype="<U12"), np.zeros(rows, int)
    active = np.arange(rows)
    for look in looks(FIRST, MOST):
        got = answers(scores[active, :, : look.seeds], 1.0, look.error_rate)
        found[active], seeds[active] = got.answer, look.seeds
        active = active[~got.is_decided]
        if not len(active):
            break
    return found, seeds


def fixed(
    scores: Floats, answers: Callable[..., Answers], share: Callable[[NDArray[np.str_]], float]
) -> int | None:
    """The smallest number of seeds with at least the share of right answers; None if too large."""
    for seeds in range(FIRST, scores.shape[2] + 1):
        if share(answers(scores[:, :, :seeds], 1.0, ERROR_RATE).answer) >= 0:
            return seeds
    return None


def row(
    name: str,
    scores: Floats,
    truth: Floats,
    answers: Callable[..., Answers],
    right: Callable[[NDArray[np.str_], Floats], NDArray[np.bool_]],
    wrong: dict[str, Callable[[NDArray[np.str_], Floats], NDArray[np.bool_]]],
) -> dict[str, Any]:
    found, seeds = sequential(scores, answers)
    share = float(right(found, truth).mean())
    equal = fixed(scores, answers, lambda other: float(right(other, truth).mean()) - share)
    saved = None if equal is None else 1 - float(seeds.mean()) / equal
    return {
        "setting": name,
        **{label: float(is_wrong(found, truth).mean()) for label, is_wrong in wrong.items()},
        "right": share,
        "seeds": float(seeds.mean()),
        "fixed": equal,
        "saved": saved,
    }


def right_range(found: NDArray[np.str_], truth: Floats) -> NDArray[np.bool_]:
    within = np.isin(found, ("stable", "mild"))
    return np.where(truth <= 1, within, found == "sensitive")


def right_difference(found: NDArray[np.str_], truth: Floats) -> NDArray[np.bool_]:
    differs, is_tie = (found == DIFFERS) & (truth > 0), (found == TIE) & (truth <= TIE_SHARE)
    return differs | is_tie


RANGE_ERRORS = {
    "false_sensitive": lambda found, truth: (found == "sensitive") & (truth <= 1),
    "false_stable": lambda found, truth: (found == "stable") & (truth > 1),
}
DIFFERENCE_ERRORS = {
    "false_differs": lambda found, truth: (found == DIFFERS) & (truth == 0),
    "false_tie": lambda found, truth: (found == TIE) & (truth > TIE_SHARE),
}


def ranges() -> list[dict[str, Any]]:
    rows = SWEEPS * ROWS
    found = []
    for noise in (0.1, 0.3, 1.0):
        for range_ in (0.0, 0.5, 0.99, 1.01, 1.5, 2.0, 5.0):
            means = two_groups(range_, rows)
            rng = np.random.default_rng(20221)
            scores = normal(rng, means, np.full((rows, 1), noise))
            found.append(of_range(f"range {range_:g}, noise {noise:g}", scores, range_))
    for noise in (4.0, 8.0):
        rng = np.random.default_rng(20227)
        scores = normal(rng, two_groups(0.0, rows), np.full((rows, 1), noise))
        found.append(of_range(f"range 0, noise {noise:g}", scores, 0.0))
    for range_ in (0.99, 1.01):
        rng = np.random.default_rng(20222)
        noise = np.tile([0.1, 0.1, 0.1, 0.1, 0.5], (rows, 1))
        scores = normal(rng, slope(range_, rows), noise)
        found.append(
            of_range(f"range {range_:g}, noise 0.5 at the worst ρ0, else 0.1", scores, range_)
        )
        scores = heavy(rng, two_groups(range_, rows), np.full((rows, 1), 0.3))
        found.append(of_range(f"range {range_:g}, noise 0.3 with heavy tails", scores, range_))
    for range_ in (0.5, 0.99, 1.01, 1.5):
        rng = np.random.default_rng(20226)
        scores = common(rng, two_groups(range_, rows), np.full((rows, 1), 0.3))
        found.append(
            of_range(f"range {range_:g}, noise 0.3, half of it common to all ρ0", scores, range_)
        )
    for share in (0.5, 0.2, 0.05):
        rng = np.random.default_rng(20223)
        scores = collapsing(share, rng, two_groups(0.0, rows), np.full((rows, 1), 0.1))
        found.append(of_range(f"one ρ0 collapses for {share:.0%} of the seeds", scores, COLLAPSE))
    return [*found, mixed()]


def of_range(name: str, scores: Floats, range_: float) -> dict[str, Any]:
    truth = np.full(len(scores), range_)
    return row(name, scores, truth, on_ranges, right_range, RANGE_ERRORS)


def mixed() -> dict[str, Any]:
    """Sweeps of which the rows differ: ranges from 0 to 20 margins, and noises from 0.1 to 0.5."""
    rng = np.random.default_rng(20224)
    rows = SWEEPS * ROWS
    truth = rng.choice([0.0, 0.2, 0.4, 0.8, 1.5, 2.0, 4.0, 8.0, 16.0], rows)
    means = -truth[:, None] * np.linspace(0.0, 1.0, CHOICES)
    noise = 0.1 * 5 ** rng.random((rows, 1))
    scores = normal(rng, means, noise)
    name = "mixed ranges, 0 to 16, and noises, 0.1 to 0.5"
    return row(name, scores, truth, on_ranges, right_range, RANGE_ERRORS)


def comparisons() -> list[dict[str, Any]]:
    rows = SWEEPS * ROWS
    found = []
    for noise in (0.1, 0.3):
        for difference in (0.0, 0.1, 0.34, 0.5, 1.0):
            rng = np.random.default_rng(20225)
            means = np.tile([difference, 0.0], (rows, 1))
            scores = normal(rng, means, np.full((rows, 1), noise))
            found.append(
                row(
                    f"difference {difference:g}, noise {noise:g}",
                    scores,
                    np.full(rows, difference),
                    on_differences,
                    right_difference,
                    DIFFERENCE_ERRORS,
                )
            )
    return found


def main() -> None:
    result = {"ranges": ranges(), "comparisons": comparisons()}
    for one in (*result["ranges"], *result["comparisons"]):
        print({name: round(v, 4) if isinstance(v, float) else v for name, v in one.items()})
    write("until_decided", {"sweeps": SWEEPS, "rate": ERROR_RATE, "most": MOST, **result})


if __name__ == "__main__":
    main()
