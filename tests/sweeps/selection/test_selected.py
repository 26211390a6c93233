"""Parts of sweeps, further seeds, and trials with other settings."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from quantlab import ConfigurationError, Distillation, configuration_id, fingerprint, override
from quantlab.initial_weights import TrialWeights
from quantlab.models.convnet import ConvNet
from sweeps.loading import load_sweep
from sweeps.planning.plan import plan_of
from sweeps.reporting.frames import axes_of_table
from sweeps.selection.names import name_with
from sweeps.selection.part_of_sweep import report_name
from sweeps.selection.selected import selected
from sweeps.spec import Axis, Block, SweepSpec
from sweeps.storage import Storage
from tests.quantlab.recipes import quantized, small_recipe

SIZES = Axis("size", "batch_size", (16, 32))
FULL = small_recipe()
FIRST = replace(FULL, seed=0)


def family() -> SweepSpec:
    """A sweep in which trials start from a certain trial, and from those of their own seed."""
    quick = quantized(seed=0)
    fixed = replace(quick, batch_size=50, initial_weights=TrialWeights(fingerprint(FIRST)))
    return SweepSpec(
        name="family",
        base=FULL,
        experiment="shared",
        blocks=(
            Block("FP"),
            Block("PC", base=quick, starts_from=FULL, axes=(SIZES,)),
            Block("one", base=fixed),
            Block(
                "student",
                base=replace(
                    quick,
                    distillation=Distillation(teacher=TrialWeights("0" * 16), model=FULL.model),
                ),
                taught_by=FULL,
            ),
        ),
        seeds=(0, 1),
    )


def test_a_part_of_a_sweep_has_the_same_trials_and_a_report_of_its_own() -> None:
    sweep = family()
    part, notes = selected(sweep, only=["block=PC,size=16"])
    assert [cell.name for cell in part.cells] == ["PC size=16 seed=0", "PC size=16 seed=1"]
    assert all(cell in sweep.cells for cell in part.cells)
    assert (part.name, part.experiment) == ("family", "shared")
    assert report_name(part) == "family-only-block-PC_size-16"
    assert [block.label for block in part.blocks] == ["PC"]
    assert notes == []


def test_without_options_the_sweep_is_the_same() -> None:
    sweep = family()
    same, notes = selected(sweep, with_parents=True)
    assert same is sweep
    assert notes == []
    assert report_name(same) == "family"


def test_the_trials_that_chosen_ones_start_from_are_included_to_train() -> None:
    part, notes = selected(family(), only=["block=PC,seed=1"], with_parents=True)
    assert [cell.name for cell in part.cells] == [
        "FP seed=1",
        "PC size=16 seed=1",
        "PC size=32 seed=1",
    ]
    assert notes == ["'FP seed=1': included, because chosen trials need their networks"]


def test_seeds_are_those_of_all_blocks_and_finished_trials_stay() -> None:
    sweep = family()
    more, _ = selected(sweep, seeds="0-3")
    assert len(more.cells) == 2 * len(sweep.cells)
    assert {cell.fingerprint for cell in sweep.cells} < {cell.fingerprint for cell in more.cells}
    assert (more.name, report_name(more)) == ("family", "family-seeds-0-3")
    other, notes = selected(sweep, seeds="7", only=["block=one"], with_parents=True)
    assert [cell.name for cell in other.cells] == ["FP seed=0", "one seed=7"]
    assert len(notes) == 1


def test_other_settings_make_other_trials_of_another_sweep() -> None:
    sweep = family()
    other, notes = selected(sweep, settings=["epochs=1", "optimizer.options.momentum=0.5"])
    assert [cell.name for cell in other.cells] == [cell.name for cell in sweep.cells]
    before = {cell.fingerprint for cell in sweep.cells}
    assert not before & {cell.fingerprint for cell in other.cells}
    assert {cell.recipe.epochs for cell in other.cells} == {1}
    assert {cell.recipe.optimizer.options["momentum"] for cell in other.cells} == {0.5}
    assert all(cell.fingerprint == fingerprint(cell.recipe) for cell in other.cells)
    assert other.name == report_name(other) == "family-epochs-1_optimizer_options_momentum-0_5"
    assert other.experiment == ""
    assert {cell.sweep for cell in other.cells} == {other.name}
    assert len(notes) == 1
    assert other.name in notes[0]


def test_changed_trials_start_from_and_learn_from_changed_ones() -> None:
    sweep = family()
    other, _ = selected(sweep, settings=["model.width=6"])
    names = {cell.fingerprint: cell.name for cell in other.cells}
    needed = {cell.name: [names[one] for one in cell.parents] for cell in other.cells}
    assert needed == {
        "FP seed=0": [],
        "FP seed=1": [],
        "PC size=16 seed=0": ["FP seed=0"],
        "PC size=16 seed=1": ["FP seed=1"],
        "PC size=32 seed=0": ["FP seed=0"],
        "PC size=32 seed=1": ["FP seed=1"],
        "one seed=0": ["FP seed=0"],
        "one seed=1": ["FP seed=0"],
        "student seed=0": ["FP seed=0"],
        "student seed=1": ["FP seed=1"],
    }
    students = [cell.recipe.distillation for cell in other.cells if cell.block == "student"]
    assert [student and student.model for student in students] == [ConvNet(width=6)] * 2


def test_changed_trials_are_those_of_a_sweep_with_this_recipe() -> None:
    """The identities do not depend on whether a sweep is changed on the command line or edited."""
    sweep = family()
    changed, _ = selected(sweep, settings=["epochs=1"])
    first = override(FIRST, "epochs", 1)
    edited = {
        "FP": {"base": None},
        "PC": {"starts_from": override(FULL, "epochs", 1)},
        "one": {},
        "student": {"taught_by": override(FULL, "epochs", 1)},
    }
    blocks = []
    for block in sweep.blocks:
        base = None if block.base is None else override(block.base, "epochs", 1)
        if block.label == "one":
            assert base is not None
            base = replace(base, initial_weights=TrialWeights(fingerprint(first)))
        blocks.append(replace(block, **{"base": base, **edited[block.label]}))
    same = replace(sweep, base=override(FULL, "epochs", 1), blocks=tuple(blocks))
    assert [cell.fingerprint for cell in changed.cells] == [cell.fingerprint for cell in same.cells]
    assert [cell.configuration_id for cell in changed.cells] == [
        cell.configuration_id for cell in same.cells
    ]


def test_a_configuration_has_one_identity_whatever_seeds_are_chosen() -> None:
    few, _ = selected(family(), settings=["epochs=1"], seeds="5", only=["block=PC"])
    many, _ = selected(family(), settings=["epochs=1"])
    identities = {cell.configuration_id for cell in many.cells if cell.block == "PC"}
    assert {cell.configuration_id for cell in few.cells} == identities
    assert len(identities) == 2
    assert not identities & {configuration_id(cell.recipe) for cell in few.cells}


def test_needed_trials_without_the_field_stay_as_they_are() -> None:
    path = "quantization.latent_bound"
    part, _ = selected(
        family(), settings=[f"{path}=2"], only=["block=PC,size=16,seed=0"], with_parents=True
    )
    parent, child = part.cells
    assert parent.fingerprint == fingerprint(FIRST)
    assert child.starts_from == parent.fingerprint
    assert child.recipe.quantization is not None
    assert child.recipe.quantization.latent_bound == 2


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("epochs", "must be the path of a field of the recipe and its value, such as epochs=5"),
        ("epochs=", "must be the path of a field"),
        ("=5", "must be the path of a field"),
        ("a b=5", "must be the path of a field"),
        ("seed=3", "must not set the seed; use --seeds 3"),
        ("epochs=-1", "'FP seed=0': Recipe.epochs = -1: must be a whole number >= 1"),
        ("epochs=many", "'FP seed=0': Recipe.epochs = 'many': must be"),
        (
            "epoch=5",
            "'FP seed=0': path 'epoch': Recipe has no field 'epoch' (did you mean 'epochs'?",
        ),
        (
            "optimizer.learning_rat=3",
            "'FP seed=0': path 'optimizer.learning_rat': OptimizerSpec has no field 'learning_rat' "
            "(did you mean 'learning_rate'?); its fields are algorithm",
        ),
        ("quantization.latent_bound=2", "'FP seed=0': path 'quantization.latent_bound': None has"),
        ("batch_size=8", "the axis 'size' of block 'PC' sets batch_size; choose its values with"),
        ("epochs={1}", "'FP seed=0': "),
        ("model=no_module:NAME", "--set model = 'no_module:NAME': there is no module no_module"),
        ("model=torch:Nothing", "--set model = 'torch:Nothing': torch has no Nothing"),
    ],
)
def test_settings_that_trials_do_not_take_are_refused_in_one_line(setting: str, says: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        selected(family(), settings=[setting])
    assert str(error.value).startswith(says if "--set" in says else f"--set {setting}: {says}")
    assert len(str(error.value).splitlines()) == 1


def test_a_setting_must_not_make_two_trials_the_same() -> None:
    blocks = (Block("4", overrides={"epochs": 4}), Block("8", overrides={"epochs": 8}))
    sweep = SweepSpec(name="sizes", base=FULL, blocks=blocks, seeds=(0,))
    with pytest.raises(ConfigurationError, match="'4 seed=0' and '8 seed=0' would be the same tri"):
        selected(sweep, settings=["epochs=6"])
    part, _ = selected(sweep, settings=["epochs=6"], only=["block=8"])
    assert [cell.recipe.epochs for cell in part.cells] == [6]


def test_a_setting_within_the_values_of_an_axis_is_one_that_they_have_in_common() -> None:
    """Otherwise a trial would have another value than its name says."""
    widths = Axis("width", "model", {"4": ConvNet(width=4), "8": ConvNet(width=8)})
    decay = {"weight_decay": 0.1}
    options = {"slow": {"momentum": 0.5, **decay}, "fast": {"momentum": 0.9, **decay}}
    blocks = (Block("FP", axes=(widths, Axis("options", "optimizer.options", options))),)
    sweep = SweepSpec(name="sizes", base=FULL, blocks=blocks, seeds=(0,))
    for setting, says in {
        "model.width=6": "the axis 'width' of block 'FP' set model with different width; choose ",
        "optimizer.options.momentum=0": "the axis 'options' of block 'FP' set optimizer.options ",
    }.items():
        for only in ([], ["width=8,options=fast"]):
            with pytest.raises(ConfigurationError, match=f"--set {setting}: the values of {says}"):
                selected(sweep, settings=[setting], only=only)
    in_common = ["optimizer.options.weight_decay=0.2", "optimizer.options.nesterov=True"]
    part, _ = selected(sweep, settings=in_common)
    found = [cell.recipe.optimizer.options for cell in part.cells]
    assert [(one["weight_decay"], one["nesterov"]) for one in found] == [(0.2, True)] * 4


def test_every_number_of_a_column_can_be_chosen() -> None:
    """Also numbers that six digits do not tell apart, as those of an axis with labels."""
    numbers = (0.1234567, 0.1234568)
    axis = Axis("x", "quantization.sharpness.rho0", dict(zip("ab", numbers, strict=True)))
    blocks = (Block("PC", base=quantized(), axes=(axis,)),)
    sweep = SweepSpec(name="close", base=FULL, blocks=blocks, seeds=(0,))
    for name, number in zip("ab", numbers, strict=True):
        part, _ = selected(sweep, only=[f"rho0={number}"])
        assert [cell.coordinates["x"] for cell in part.cells] == [name]
    part, _ = selected(sweep, only=["rho0>0.1234567"])
    assert [cell.coordinates["x"] for cell in part.cells] == ["b"]
    table = pd.DataFrame({"method": "PC", "rho0": numbers, "seed": 0})
    assert [one["rho0"] for one in axes_of_table(table)] == ["0.1234567", "0.1234568"]


def test_values_are_those_of_python_or_text() -> None:
    rates = "optimizer.learning_rate.milestones=(3, 4)"
    part, _ = selected(load_sweep("digits"), settings=["epochs=5", rates, "select=best"])
    recipe = part.cells[0].recipe
    assert getattr(recipe.optimizer.learning_rate, "milestones", None) == (3, 4)


def test_a_value_may_be_a_name_in_a_module() -> None:
    part, _ = selected(
        family(), settings=["optimizer.algorithm=torch.optim:SGD"], only=["block=FP"]
    )
    assert {cell.recipe.optimizer.algorithm for cell in part.cells} == {torch.optim.SGD}
    assert part.name == "family-optimizer_algorithm-torch_optim-SGD"


def test_a_plan_of_a_part_counts_its_trials_only(tmp_path: Path) -> None:
    part, _ = selected(family(), only=["block=PC"], settings=["epochs=1"], with_parents=True)
    plan = plan_of(part, Storage(tmp_path))
    assert (plan["trials"], plan["waiting"]) == (6, 4)
    assert [block["label"] for block in plan["blocks"]] == ["FP", "PC"]


@given(st.lists(st.text(min_size=1), min_size=1, max_size=3))
def test_names_are_names_and_short(differences: list[str]) -> None:
    name = name_with("digits", *differences)
    assert SweepSpec(name=name, base=FULL, blocks=(Block("FP"),), seeds=(0,)).name == name
    assert name == name_with("digits", *differences)


def test_differences_that_look_alike_have_different_names() -> None:
    texts = ["only-a=1|2", "only-a=1,2", "only-a>=1", "only-a<=1", "only-a>1", "x" * 80, "x" * 81]
    assert len({name_with("digits", text) for text in texts}) == len(texts)
    assert name_with("digits", "only-method!=PC|PQ") == "digits-only-method-not-PC-or-PQ"
    assert name_with("digits", "only-rho0>=0.1") == "digits-only-rho0-from-0_1"
