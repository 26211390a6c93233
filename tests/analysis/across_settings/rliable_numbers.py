"""Write rliable.json: numbers of rliable 1.2.0, with which the tests compare ours.

rliable needs an arch below 8, which needs a pandas below 3, so that it has an environment of its
own::

    python -m venv rliable && rliable/bin/pip install rliable==1.2.0 "pandas<3"
    rliable/bin/python tests/analysis/across_settings/rliable_numbers.py
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

FILE = Path(__file__).parent / "rliable.json"
SHAPES = [(1, 2), (3, 3), (5, 7), (10, 26)]
"""Numbers of runs and tasks."""
SEED, RESAMPLES = 7, 200
THRESHOLDS = [0.0, 0.3, 0.5, 0.7, 0.8, 0.9, 1.0, 1.4]


def main() -> None:
    from rliable import library, metrics

    measures = {
        "interquartile_mean": metrics.aggregate_iqm,
        "mean": metrics.aggregate_mean,
        "median": metrics.aggregate_median,
        "optimality_gap": metrics.aggregate_optimality_gap,
        "improvement": metrics.probability_of_improvement,
    }
    cases: list[dict[str, Any]] = []
    for runs, tasks in SHAPES:
        rng = np.random.default_rng(runs)
        # Two decimals give ties, and some scores are above the target.
        own = rng.normal(0.8, 0.3, (runs, tasks)).round(2)
        others = rng.normal(0.8, 0.3, (runs + 1, tasks)).round(2)
        case: dict[str, Any] = {"own": own.tolist(), "others": others.tolist()}
        for name, measure in measures.items():
            scores = [own, others] if name == "improvement" else own
            np.random.seed(SEED)
            value, interval = library.get_interval_estimates(
                {"": scores}, lambda *of, by=measure: np.array([by(*of)]), reps=RESAMPLES
            )
            case[name] = [float(value[""][0]), *interval[""][:, 0].tolist()]
        np.random.seed(SEED)
        value, interval = library.create_performance_profile(
            {"": own}, np.array(THRESHOLDS), reps=RESAMPLES
        )
        case["performance_profile"] = [value[""].tolist(), *interval[""].tolist()]
        cases.append(case)
    FILE.write_text("[" + ",\n".join(map(json.dumps, cases)) + "]\n", encoding="utf-8")


if __name__ == "__main__":
    main()
