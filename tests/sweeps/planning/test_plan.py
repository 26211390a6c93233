"""What a plan says about trials that are not like the others, before anything is trained."""

from dataclasses import replace
from pathlib import Path

import pytest

from quantlab import ConfigurationError, Distillation, fingerprint, override
from quantlab.initial_weights import TrialWeights
from sweeps.planning.plan import describe, plan_of
from sweeps.planning.preflight import preflight
from sweeps.spec import Block, SweepSpec
from sweeps.storage import Storage
from tests.quantlab.recipes import quantized, small_recipe


def test_a_plan_names_trials_that_cannot_be_packed(tmp_path: Path) -> None:
    sharded = override(quantized(), "batchnorm_shards", 4)
    blocks = (Block("packed", base=small_recipe()), Block("alone", base=sharded))
    plan = plan_of(SweepSpec(name="s", blocks=blocks, seeds=(0, 1)), Storage(tmp_path))
    (row,) = plan["alone"]
    assert row["trials"] == 2
    line = describe(plan).splitlines()[-1]
    assert line.startswith("--pack does not apply to 2 trials: pack: Recipe.batchnorm_shards = 4: ")
    plain = plan_of(SweepSpec(name="s", blocks=blocks[:1], seeds=(0,)), Storage(tmp_path))
    assert "--pack" not in describe(plain)


def test_a_plan_says_how_long_epochs_of_steps_are(tmp_path: Path) -> None:
    """They are not those of a pass, whose trials may have been timed."""
    blocks = (
        Block("passes", base=small_recipe()),
        Block("steps", base=quantized(steps_per_epoch=500)),
        Block("more", base=quantized(steps_per_epoch=1000)),
    )
    plan = plan_of(SweepSpec(name="s", blocks=blocks, seeds=(0,)), Storage(tmp_path))
    whats = [row["what"] for row in plan["costs"]]
    assert [what.rpartition(", ")[2] for what in whats] == [
        "3 epochs",
        "3 + 2 epochs of 500 steps",
        "3 + 2 epochs of 1000 steps",
    ]


def test_a_plan_names_the_teachers_of_trials(tmp_path: Path) -> None:
    teacher, start = small_recipe(seed=7), small_recipe(seed=8)
    student = replace(
        quantized(),
        distillation=Distillation(teacher=TrialWeights(fingerprint(teacher))),
        initial_weights=TrialWeights(fingerprint(start)),
    )
    blocks = Block("FP", base=teacher, seeds=(7, 8)), Block("taught", base=student)
    plan = plan_of(SweepSpec(name="s", blocks=blocks, seeds=(0,)), Storage(tmp_path))
    assert plan["waiting"] == 1
    assert plan["blocks"][1]["depends_on"] == ["FP seed=8", "FP seed=7"]
    assert plan["trial_list"][-1]["starts_from"] == fingerprint(start)
    assert plan["trial_list"][-1]["taught_by"] == fingerprint(teacher)
    assert "FP seed=8, FP seed=7" in describe(plan)


def test_processes_that_cannot_share_batches_are_refused_before_training(tmp_path: Path) -> None:
    base = override(small_recipe(), "batchnorm_shards", 4)
    cells = list(SweepSpec(name="s", blocks=(Block("b", base=base),), seeds=(0,)).cells)
    preflight(cells, Storage(tmp_path), tmp_path, replicas=2)
    with pytest.raises(ConfigurationError, match=r"batchnorm_shards = 4: must be 1 or a multiple"):
        preflight(cells, Storage(tmp_path), tmp_path, replicas=3)
