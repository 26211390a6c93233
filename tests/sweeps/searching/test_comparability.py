"""What of a study must not change: earlier and later configurations would not be comparable."""

from dataclasses import replace
from pathlib import Path

import pytest
from optuna.pruners import MedianPruner, NopPruner

from quantlab import ConfigurationError
from sweeps.evaluation.constraint import Constraint
from sweeps.searching.study_queue import StudyQueue
from sweeps.storage import Storage
from sweeps.study import (
    BITS,
    FILE_BYTES,
    VALIDATION_ACCURACY,
    WholeSeeds,
    better_half,
    seed_halving,
)
from tests.sweeps.made_studies import run, spec

LATENT = replace(VALIDATION_ACCURACY, curve="validation_accuracy_latent")
LIMIT = Constraint(BITS, 2)
BEGUN = {
    "epochs": {"pruner": better_half()},
    "seeds": {"pruner": WholeSeeds(better_half())},
    "halving": {"pruner": seed_halving()},
    "limited": {"pruner": NopPruner(), "constraints": (LIMIT,)},
    "several": {"objectives": (VALIDATION_ACCURACY, FILE_BYTES)},
}
"""Studies that have begun, by what is particular to them."""


@pytest.mark.parametrize(
    ("begun", "changes", "message"),
    [
        ("epochs", {"pruner": seed_halving()}, "what the pruner compares changed from epochs of"),
        ("seeds", {"pruner": better_half()}, "compares changed from whole seeds to epochs of"),
        ("epochs", {"objectives": (LATENT,)}, "changed from epochs of validation_accuracy_hard to"),
        ("halving", {"pruner": seed_halving(3)}, r"of seed_halving changed from \[1, 2\] to"),
        (
            "limited",
            {"constraints": (Constraint(replace(BITS, direction="maximize", of_diverged=0), 2),)},
            "directions of the limits changed from",
        ),
        (
            "epochs",
            {"objectives": (replace(VALIDATION_ACCURACY, of_diverged=-1.0),)},
            r"values of diverged trials changed from \['0.0'\] to \['-1.0'\]",
        ),
        (
            "several",
            {"objectives": (VALIDATION_ACCURACY, replace(FILE_BYTES, of_diverged=9e9))},
            "va",
        ),
        ("epochs", {"pruner": MedianPruner()}, ""),
        ("seeds", {"pruner": seed_halving()}, ""),
        ("halving", {"pruner": WholeSeeds(NopPruner())}, ""),
        ("several", {"pruner": seed_halving(), "objectives": (LATENT, FILE_BYTES)}, ""),
    ],
)
def test_what_the_results_are_compared_by_is_kept(
    tmp_path: Path, begun: str, changes: dict[str, object], message: str
) -> None:
    storage = Storage(tmp_path)
    StudyQueue(spec(configurations=2, **BEGUN[begun]), storage)
    StudyQueue(spec(configurations=3, **BEGUN[begun]), storage)  # more of the same
    changed = spec(configurations=3, **BEGUN[begun] | changes)
    if not message:
        StudyQueue(changed, storage)
        return
    with pytest.raises(ConfigurationError, match=rf"{message}.*give the study another name"):
        StudyQueue(changed, storage)


@pytest.mark.parametrize("name", ["epochs", "seeds"])
def test_a_study_of_an_earlier_release_goes_on_and_is_recorded(tmp_path: Path, name: str) -> None:
    storage = Storage(tmp_path)
    queue = StudyQueue(spec(configurations=2, **BEGUN[name]), storage)
    run(queue, storage)
    kept = queue.study.user_attrs["judged_by"]
    earlier = {name: kept[name] for name in ("objectives", "seeds")}
    queue.study.set_user_attr("judged_by", earlier)
    other = BEGUN["halving" if name == "epochs" else "epochs"]
    with pytest.raises(ConfigurationError, match="what the pruner compares changed from"):
        StudyQueue(spec(**other), storage)
    assert queue.study.user_attrs["judged_by"] == earlier
    again = StudyQueue(spec(configurations=3, **BEGUN[name]), storage)
    assert again.study.user_attrs["judged_by"] == {
        name: value for name, value in kept.items() if value
    }
    with pytest.raises(ConfigurationError, match="what the pruner compares changed from"):
        StudyQueue(spec(**other), storage)


def test_the_rungs_of_an_earlier_search_are_remembered(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    for pruner in (seed_halving(), WholeSeeds(NopPruner())):
        StudyQueue(spec(pruner=pruner), storage)
    with pytest.raises(ConfigurationError, match=r"seed_halving changed from \[1, 2\] to \[2, 2\]"):
        StudyQueue(spec(pruner=seed_halving(first=2)), storage)
