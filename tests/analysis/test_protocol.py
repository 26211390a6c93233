"""Differences of training separate the trials of a method, and are reported between methods."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from analysis.findings import Findings, analyse
from analysis.protocol import differences, differing_parts, stated_parts
from analysis.published import NOT_STATED
from analysis.reading import read_trials
from analysis.schema import Measurements
from analysis.tables.findings import all_tables
from tests.analysis.frames import EXAMPLE, trials

RECIPE: dict[str, Any] = {
    "epochs": 200,
    "batchnorm_epochs": 100,
    "batch_size": 128,
    "dataset.validation_images": 0,
    "dataset.train_images": None,
    "optimizer.algorithm": "torch.optim.SGD",
    "optimizer.learning_rate": "StepDecay",
    "optimizer.learning_rate.value": 0.1,
    "optimizer.learning_rate.milestones": "100, 150",
    "optimizer.learning_rate.factor": 0.1,
    "optimizer.options.momentum": 0.9,
    "optimizer.options.weight_decay": 1e-4,
}
"""ProxConnect paper, B.1.5."""


def made(start: int = 2, stop: int = 8, **changes: Any) -> pd.DataFrame:
    """BC and PC of `EXAMPLE`, trained as in the paper but for the changes."""
    recipe = {f"recipe.{path}": value for path, value in (RECIPE | changes).items()}
    return trials(EXAMPLE[start:stop], dataset="CIFAR10", model="ResNet20", **recipe)


def joined(*frames: pd.DataFrame) -> pd.DataFrame:
    named = [
        frame.assign(trial_id=frame["trial_id"] + str(number))
        for number, frame in enumerate(frames)
    ]
    table = pd.concat(named, ignore_index=True)
    ids = table["configuration_id"] + table["recipe.epochs"].astype(str)
    return table.assign(
        configuration_id=ids + table["recipe.optimizer.learning_rate.value"].astype(str)
    )


def analysed(frame: pd.DataFrame) -> Findings:
    return analyse(Measurements(frame), paper="proxconnect")


def test_trials_of_one_method_and_other_epochs_are_not_aggregated(tmp_path: Path) -> None:
    frame = joined(made(stop=6), made(start=6, epochs=2.0))  # the two rho0 of PC, of two tables
    found = analysed(frame)
    assert set(found.configurations["axis.epochs"]) == {"200", "2"}
    assert len(found.selected) == 3
    assert found.sensitivity.empty
    frame.to_csv(tmp_path / "t.csv", index=False)
    again = analysed(read_trials(tmp_path / "t.csv"))
    pd.testing.assert_frame_equal(again.configurations, found.configurations)


def test_trials_of_other_optimizers_are_separated_and_the_axis_says_how() -> None:
    changes = {"optimizer.learning_rate.value": 0.01, "optimizer.options.momentum": 0.0}
    found = analysed(joined(made(stop=6), made(start=6, **changes)))
    assert set(found.configurations["axis.optimizer"]) == {
        "value=0.1, momentum=0.9",
        "value=0.01, momentum=0",
    }


def test_each_set_may_have_its_own_optimizer() -> None:
    """As in the mirror-descent paper, whose hyper-parameters were chosen for each set."""
    frame = joined(made(stop=6), made(stop=6, **{"optimizer.learning_rate.value": 0.01}))
    half = len(frame) // 2
    found = analysed(frame.assign(set=["binary"] * half + ["ternary"] * half))
    assert "axis.optimizer" not in found.configurations
    assert set(found.configurations["set"]) == {"binary", "ternary"}


def test_the_selected_epoch_and_groups_of_parameters_are_parts_of_the_training() -> None:
    groups = {
        "optimizer.groups.0.parameters": "BatchNorm2d, *.bias",
        "optimizer.groups.0.options.weight_decay": 0.0,
        "optimizer.groups.0.learning_rate_factor": 1.0,
        "optimizer.groups.1.parameters": "fc.weight",
        "optimizer.groups.1.learning_rate_factor": 0.1,
    }
    found = analysed(joined(made(stop=6), made(start=6, select="best")))
    assert set(found.configurations["axis.select"]) == {"last", "best"}
    best = made(start=6, select="best", **groups)
    assert "axis.optimizer" in analysed(joined(made(stop=6), best)).configurations
    told = analysed(best).training.iloc[0]
    assert told["epochs"] == "200 + 100, the best"
    assert told["optimizer"].endswith(
        "weight_decay 0.0001, weight_decay 0 for BatchNorm2d, *.bias, "
        "learning rate times 0.1 for fc.weight"
    )
    # A table of an earlier release does not say that the last epoch was selected.
    same = analysed(joined(made(stop=6), made(start=6, select="last")))
    assert "axis.select" not in same.configurations
    steps = analysed(joined(made(stop=6), made(start=6, steps_per_epoch=50)))
    assert set(steps.configurations["axis.steps_per_epoch"]) == {"", "50"}


def test_differences_that_an_axis_or_the_method_explains_add_no_axis() -> None:
    frame = joined(made(stop=6), made(start=6, epochs=2))
    frame["axis.length"] = frame["recipe.epochs"].map({200: "long", 2: "short"})
    assert "axis.epochs" not in analysed(frame).configurations
    found = analysed(joined(made(stop=4), made(start=4, epochs=2)))  # BC long, PC short
    assert "axis.epochs" not in found.configurations
    assert differing_parts(found.training, "CIFAR10", "end-to-end") == ["epochs"]
    tables = {table.name: table for table in all_tables(found, Measurements(made()).importance)}
    assert "trained differently in: epochs." in tables["comparisons"].caption
    assert tables["training"].body["epochs"].tolist() == ["200 + 100", "2 + 100"]


def test_settings_may_be_lists() -> None:
    frame = made(stop=4)
    frame["recipe.full_precision_layers"] = [["conv1", "fc"]] * len(frame)
    assert len(analysed(frame).configurations) == len(analysed(made(stop=4)).configurations)


def test_the_papers_own_training_is_the_same_setting() -> None:
    found = analysed(made().assign(validation_accuracy=float("nan")))
    assert found.beside["same_setting"].all()
    assert found.training_beside.empty
    assert "paper's setting" not in _claims(found)


def test_whatever_differs_from_the_papers_training_is_said() -> None:
    found = analysed(made(epochs=2, **{"dataset.validation_images": 5000}))
    beside = found.beside.set_index(["method", "cell"])
    assert not beside["same_setting"].any()
    assert beside.loc[("PC", "1e-2"), "differs"] == "epochs, training images"
    assert beside.loc[("PC", "best ρ0"), "differs"].endswith("ρ0 chosen on")
    said_of = found.training_beside.set_index("what")[["methods", "ours", "theirs"]]
    assert said_of.loc["epochs"].tolist() == ["BC, PC", "2 + 100", "200 + 100"]
    assert said_of.loc["training images"].tolist() == ["BC, PC", "all but 5000", "all"]
    assert said_of.loc["ρ0 chosen on"].tolist() == ["PC", "validation images", "test images"]
    assert "differs from the paper's setting" in _claims(found)


def _claims(found: Findings) -> str:
    tables = all_tables(found, Measurements(made()).importance)
    return next(table.caption for table in tables if table.name == "claims")


def test_a_table_without_recipes_claims_nothing_of_its_training() -> None:
    found = analysed(trials(EXAMPLE, dataset="CIFAR10", model="ResNet20"))
    assert found.training.empty
    tables = all_tables(found, Measurements(made()).importance)
    assert "training" not in {table.name for table in tables}


def test_any_set_stands_beside_one_that_is_not_stated() -> None:
    frame = trials([("BC", "ternary", None, 0, 0.6)], dataset="ImageNet", model="resnet18")
    (row,) = analysed(frame).beside.to_dict("records")
    assert row["theirs"] == pytest.approx(0.6379)
    assert (row["differs"], row["set"]) == ("set", "ternary")
    assert NOT_STATED == "not stated"


def test_what_is_said_of_a_recipe() -> None:
    recipe = {path: str(value) for path, value in RECIPE.items() if value is not None}
    assert stated_parts(recipe) == {
        "epochs": "200 + 100",
        "training images": "all",
        "batch size": "128",
        "optimizer": "SGD, StepDecay (factor 0.1, milestones 100, 150, value 0.1), momentum 0.9, "
        "weight_decay 0.0001",
    }
    steps = stated_parts(recipe | {"steps_per_epoch": "500", "select": "best"})
    assert steps["epochs"] == "200 + 100 of 500 steps, the best"
    more = {"optimizer.clip_norm": "1", "moving_average.decay": "0.999"}
    assert stated_parts(recipe | more)["optimizer"].endswith(
        "weight_decay 0.0001, gradients clipped to the norm 1, moving average with the decay 0.999"
    )
    held_out = recipe | {"dataset.validation_images": "5000"}
    assert stated_parts(held_out, 45_000)["training images"] == "45,000 (5000 held out)"
    assert differences(recipe, recipe) == {}
    assert differences({}, recipe) == {}
    assert set(differences(recipe | {"optimizer.options.nesterov": "True"}, recipe)) == {
        "optimizer"
    }
