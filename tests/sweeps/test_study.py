"""Studies as values: bad ones are refused before anything is trained."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.samplers import BaseSampler, GridSampler, RandomSampler
from optuna.trial import BaseTrial, FixedTrial

from quantlab import ConfigurationError, Recipe, override
from quantlab.datasets.digits import Digits
from quantlab.datasets.in_memory import Images
from quantlab.tasks.dimensions import Dimensions
from quantlab.tasks.language_modelling import LanguageModelling, SymbolAccuracy
from sweeps.searching.promotion import require_free
from sweeps.study import (
    BITS,
    FILE_BYTES,
    VALIDATION_ACCURACY,
    Neighbourhood,
    Objective,
    SpaceError,
    validation_objective,
    worst,
)
from tests.quantlab.recipes import quantized
from tests.sweeps.made_studies import space, spec


def test_a_cautious_objective_takes_students_bound() -> None:
    """Of one in ten samples, the mean is on the other side."""
    rng = np.random.default_rng(0)
    cautious = replace(VALIDATION_ACCURACY, cautious=0.9)
    samples = rng.normal(0.7, 0.05, size=(4000, 3))
    wrong = np.mean([cautious.over_seeds(sample) > 0.7 for sample in samples])
    assert 0.08 < wrong < 0.12
    assert cautious.over_seeds([0.5]) == 0.5
    assert cautious.over_seeds([0.5, 0.5, 0.5]) == pytest.approx(0.5)
    # Of what shall be small, the bound is above.
    assert replace(BITS, cautious=0.9).over_seeds([1.0, 2.0]) > 1.5
    assert VALIDATION_ACCURACY.over_seeds([0.2, 0.4]) == pytest.approx(0.3)
    with pytest.raises(ConfigurationError, match=r"Objective.cautious = 1.5: must be 0, or betw"):
        replace(BITS, cautious=1.5)


def no_sampler(seed: int) -> BaseSampler:
    raise OSError("no numbers today")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"configurations": 0}, "StudySpec.configurations = 0: must be a whole number >= 1"),
        ({"configurations": True}, "StudySpec.configurations = True: must be a whole number"),
        ({"seed": -1}, "StudySpec.seed = -1: must be a whole number >= 0"),
        ({"seeds": (1, 1)}, r"StudySpec.seeds = \(1, 1\): must be one or more different seeds"),
        ({"seeds": (0.5,)}, "StudySpec.seeds: 0.5: must be an integer"),
        ({"seeds": 3}, "StudySpec.seeds = 3: must be a tuple"),
        ({"name": "a b"}, "StudySpec.name = 'a b'"),
        ({"name": 3}, "StudySpec.name = 3"),
        ({"space": 3}, "StudySpec.space = 3: must be a function of an Optuna trial"),
        ({"objectives": ()}, "must be at least one Objective"),
        ({"objectives": BITS}, "a tuple with one item needs a comma"),
        ({"objectives": (BITS, BITS)}, "each with a name of its own"),
        ({"objectives": (3,)}, r"objectives: 3: must be Objective\("),
        (
            {"sampler": RandomSampler()},
            "StudySpec.sampler = .*: must return one of Optuna's samplers",
        ),
        ({"sampler": lambda seed: seed}, "StudySpec.sampler = .*: .*returned 0"),
        (
            {"sampler": no_sampler},
            r"OSError: no numbers .*study.py, line \d+, in no",
        ),
        (
            {"sampler": lambda seed: GridSampler({"rho0": [0.1]})},
            "GridSampler.*use another sampler",
        ),
        ({"pruner": 3}, "StudySpec.pruner = 3: must be one of Optuna's pruners"),
        ({"known": {"a": 3}}, r"StudySpec.known\['a'\] = 3: must be a mapping"),
        ({"known": [3]}, r"StudySpec.known = \[3\]: must be a mapping"),
        ({"known": {"": {}}}, "StudySpec.known: label = ''"),
        ({"known": {"winner": {"rho0": 1}}}, "StudySpec.known .*'winner'.* reserved"),
        ({"confirmation_seeds": (2, 3)}, "must be none of the seeds"),
        ({"description": 3}, "description = 3: must be text"),
        ({"experiment": 3}, "experiment = 3: must be text"),
    ],
)
def test_bad_studies_are_named(changes: Mapping[str, object], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        spec(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"direction": "max"}, "Objective.direction = 'max': must be 'maximize' or 'minimize'"),
        ({"curve": "val_acc"}, "Objective.curve = 'val_acc': must be None or one of epoch, "),
        ({"curve": "trial_id"}, "Objective.curve = 'trial_id': must be None or one of"),
        ({"curve": ["a"]}, r"Objective.curve = \['a'\]: must be None or one of"),
        ({"of": 3}, "Objective.of = 3: must be a function"),
        ({"of_diverged": math.nan}, "Objective.of_diverged = nan: must be a finite number"),
        ({"of_diverged": None}, "Objective.of_diverged = None: must be a finite number"),
        ({"cautious": "0.9"}, "Objective.cautious = '0.9': must be a finite number"),
        ({"name": 3}, "Objective.name = 3: must be text"),
    ],
)
def test_bad_objectives_are_named(changes: Mapping[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        replace(BITS, **changes)


def test_points_without_a_recipe_are_named() -> None:
    for known, message in (
        ({"far": {"rho0": 5}}, "known point 'far'"),
        ({"typo": {"rho0": 0.5, "rho1": 0.5}}, "known point 'typo'.* no parameter rho1"),
        ({"a": {"rho0": 0.5}, "b": {"rho0": 0.5}}, "known points 'a' and 'b' .*same recipe"),
    ):
        with pytest.raises(ConfigurationError, match=message):
            spec(known=known).require_valid()

    def excludes(trial: BaseTrial) -> Recipe:
        recipe = space(trial)
        if trial.params["rho0"] == 0.5:
            raise optuna.TrialPruned("not that one")
        return recipe

    with pytest.raises(ConfigurationError, match="known point 'b': not that one"):
        spec(space=excludes, known={"b": {"rho0": 0.5}}).require_valid()
    with pytest.raises(SpaceError, match=r"study made, \{\}: .*low.*high"):
        spec(space=lambda trial: trial.suggest_float("rho0", 1, 0.1)).require_valid()
    with pytest.raises(SpaceError, match="returned None: must be a Recipe"):
        spec(space=lambda trial: None).require_valid()
    with pytest.raises(SpaceError, match="validation_images = 0: must be at least 1"):
        spec(
            space=lambda trial: override(space(trial), "dataset.validation_images", 0)
        ).require_valid()
    on_test_images = replace(
        space(optuna.trial.FixedTrial({"rho0": 0.5})).dataset,
        validation_images=0,
        validation_split="test",
    )
    spec(space=lambda trial: replace(space(trial), dataset=on_test_images)).require_valid()
    spec(known={"a": {"rho0": np.float64(0.5)}}).require_valid()


def test_a_space_that_prunes_most_points_is_tried_again() -> None:
    def picky(trial: BaseTrial) -> Recipe:
        if trial.number < 3:
            raise optuna.TrialPruned
        return space(trial)

    assert len(spec(space=picky).require_valid()) == 1


def wrong(recipe: Recipe, result: Mapping[str, Any]) -> float:
    return float(result["val_accuracy"])


@pytest.mark.parametrize(
    ("of", "message"),
    [
        (
            wrong,
            r"KeyError: 'val_accuracy' .*study.py, line \d+, in wrong\).* keys .*test_accuracy",
        ),
        (
            lambda recipe, result: math.nan,
            r"value nan \(.*study.py, line \d+, in <lamb",
        ),
        (lambda recipe, result: None, "value None"),
        (lambda recipe, result: "0.5", "value '0.5'"),
        (lambda recipe, result: True, "value True"),
        (lambda recipe, result: 1j, "value 1j"),
        (lambda recipe, result: np.array([1.0, 2.0]), r"value \(1.0, 2.0\)"),
        (lambda recipe, result: 10**400, "value 1000"),
        (lambda recipe, result: result.no_such_thing, "AttributeError: .*no_such_thing"),
        (lambda recipe: 1.0, "TypeError: .*takes 1 positional argument"),
    ],
)
def test_objectives_are_tried_before_anything_is_trained(of: Any, message: str) -> None:
    objective = Objective("mine", "maximize", of=of, of_diverged=0.0)
    expected = rf"study made: objective 'mine': .*{message}.*made-up result"
    with pytest.raises(ConfigurationError, match=expected):
        spec(objectives=(VALIDATION_ACCURACY, objective)).require_valid()


@dataclass(frozen=True)
class ThreeDigits(Digits):
    """The first three digits, of which no top-5 accuracy is measured."""

    def read(self, data_dir: Path) -> tuple[Images, Images, int]:
        train, test, _ = super().read(data_dir)
        train, test = (one.take((one.labels < 3).nonzero()[:, 0]) for one in (train, test))
        return train, test, 3


@dataclass(frozen=True)
class KnownThreeDigits(ThreeDigits):
    """Whose number of classes is known without reading them."""

    @property
    def dimensions(self) -> Dimensions:
        return Dimensions(3, (1, 8, 8))


def test_an_objective_on_a_metric_that_few_classes_do_not_have(tmp_path: Path) -> None:
    def top5(recipe: Recipe, result: Mapping[str, Any]) -> float:
        return float(result["validation_accuracy_top5"])

    objective = Objective("top 5", "maximize", of=top5, of_diverged=0.0)
    sizes = {"train_images": 100, "validation_images": 50, "test_images": 50}
    objective.require_value(quantized())
    missing = "objective 'top 5': KeyError: 'validation_accuracy_top5' .*before anything was tr"
    with pytest.raises(ConfigurationError, match=missing):
        objective.require_value(quantized(dataset=KnownThreeDigits(**sizes)))
    few = quantized(dataset=ThreeDigits(**sizes))
    objective.require_value(few)
    with pytest.raises(ConfigurationError, match=missing):
        objective.require_value(few, tmp_path)
    VALIDATION_ACCURACY.require_value(few, tmp_path / "which is not read")


def test_objectives_of_any_metric_and_size() -> None:
    assert VALIDATION_ACCURACY.shown.shown(0.98765) == "98.77 %"
    bits = validation_objective(LanguageModelling().metrics[0])
    assert bits.curve == "validation_bits_per_byte_hard"
    assert bits.shown.shown(2.3094) == "2.309 bits a byte"
    gain = validation_objective(SymbolAccuracy())
    assert (gain.direction, gain.of_diverged) == ("maximize", 0.0)
    text = replace(quantized(), task=LanguageModelling())
    bits.require_value(text)
    FILE_BYTES.require_value(text)
    assert FILE_BYTES.value(text, {"file_bytes": 999}) == 999
    assert bits.over_seeds([2.0, math.inf]) == math.inf
    assert replace(bits, cautious=0.9).over_seeds([2.0, math.inf]) == math.inf
    with pytest.raises(
        ConfigurationError,
        match=r"curve = 'validation_bits_per_byte_hard': the task Classification has "
        r"validation_accuracy_latent, .*; use validation_objective\(METRIC\)",
    ):
        bits.require_value(quantized())
    with pytest.raises(ConfigurationError, match="curve = 'validation_accuracy_hard': the task La"):
        spec(space=lambda trial: replace(space(trial), task=LanguageModelling())).require_valid()
    for lowest in (-math.inf, math.nan):
        with pytest.raises(ConfigurationError, match=r"of_diverged = .*: must be a finite number"):
            replace(bits, of_diverged=lowest)


def test_an_objective_may_return_a_number_of_numpy() -> None:
    def gain(recipe: Recipe, result: Mapping[str, Any]) -> Any:
        return np.float32(result["test_accuracy"]) - np.array(0.5, dtype=np.float32)

    objective = Objective("gain", "maximize", of=gain, of_diverged=0.0)
    objective.require_value(quantized())
    assert objective.value(quantized(), {"test_accuracy": 0.75}) == 0.25


def test_the_promoted_file_is_checked_before_the_search(tmp_path: Path) -> None:
    (tmp_path / "folder.py").mkdir()
    (tmp_path / "other.py").write_text("x = 1\n")
    (tmp_path / "bytes.py").write_bytes(b"\xff\x00")
    for name, message in (
        ("folder.py", "not written by --promote; choose another path"),
        ("other.py", "not written by --promote; choose another path"),
        ("bytes.py", "not written by --promote; choose another path"),
        ("x.txt", "must end in .py"),
        ("no/x.py", "does not exist"),
        (f"{'x' * 250}.py", "cannot be written"),
    ):
        with pytest.raises(ConfigurationError, match=message):
            require_free(tmp_path / name)
    require_free(tmp_path / "new.py")
    assert not list(tmp_path.glob("*new*"))


def test_points_that_cannot_be_trained_are_passed_over() -> None:
    """As in a search, unless no point can be trained; what the space itself does wrong is told."""

    def strict(trial: BaseTrial) -> Recipe:
        recipe = space(trial)
        if trial.number < 2:
            return override(recipe, "epochs", -1 - trial.number)
        return replace(recipe, quantization=None) if trial.number < 4 else recipe

    rho0 = {"quantization.sharpness.rho0": 0.5}
    for settings in (
        {"settings": {"a": rho0}},
        {"confirmation_settings": {"a": rho0}},
        {"neighbourhoods": (Neighbourhood(name="rho0", paths=tuple(rho0), factors=(1, 2)),)},
    ):
        spec(space=strict, objectives=(worst(VALIDATION_ACCURACY),), **settings).require_valid()

    def never(trial: BaseTrial) -> Recipe:
        return override(space(trial), "epochs", -1 - trial.number)

    with pytest.raises(ConfigurationError, match="epochs = -1"):
        spec(space=never).require_valid()

    def failing(trial: BaseTrial) -> Recipe:
        return strict(trial) if trial.number < 2 else space(FixedTrial({}))

    with pytest.raises(SpaceError, match="the space failed"):
        spec(space=failing).require_valid()
