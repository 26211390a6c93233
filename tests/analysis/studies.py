"""A study's configurations for tests."""

from dataclasses import replace

import pandas as pd

from analysis.metric import ACCURACY, Metric
from analysis.study_schema import StudyMeasurements


def made_study(*, is_multi: bool = False) -> StudyMeasurements:
    """Five configurations: a known one, a better one, a worse one, one pruned, one running."""
    rows = [
        (0, "PC", "COMPLETE", 3, 0.95, 2.0, False, 0.1, "PC"),
        (1, "", "COMPLETE", 3, 0.97, 1.5, True, 0.2, "PQ"),
        (2, "", "COMPLETE", 3, 0.20, 1.0, True, 0.3, None),
        (3, "", "PRUNED", 1, None, None, False, 0.4, "rPC"),
        (4, "", "RUNNING", 0, None, None, False, 0.5, "PC"),
    ]
    names = ["configuration", "label", "state", "seeds"]
    names += ["objective.validation accuracy", "objective.bits a weight", "on_front"]
    names += ["param.rho0", "param.rule"]
    frame = pd.DataFrame(rows, columns=names).assign(epochs=9, seconds=1.5)
    accuracy = replace(ACCURACY, name="validation accuracy", label="validation accuracy")
    objectives = [accuracy, Metric("bits a weight", "bits a weight", higher_is_better=False)]
    if not is_multi:
        objectives.pop()
        frame["on_front"] = frame["configuration"] == 1
    latent = [-1.0, 0.0, 1.0]
    maps = pd.DataFrame({"latent": latent, "proximal": latent}).assign(
        figure="maps", row="", column="configuration 1", curve="end"
    )
    return StudyMeasurements(
        configurations=frame,
        objectives=objectives,
        maps=maps,
        standing=["made: 3 COMPLETE, 1 PRUNED, 1 RUNNING"],
        winner="configuration 1",
        formula="P(w*) = w* <&>",
        snippet="QUANTIZATION = 1",
    )
