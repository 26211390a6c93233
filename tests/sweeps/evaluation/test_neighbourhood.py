"""Neighbourhoods of knobs, and the variants of a configuration."""

from dataclasses import dataclass
from typing import Any

import pytest

from quantlab import ConfigurationError, Recipe, override
from quantlab.quantizers.growth import Geometric, Saturating
from quantlab.quantizers.knots import Knots
from quantlab.schedules import Constant
from sweeps.axis import Knob
from sweeps.evaluation.neighbourhood import Neighbourhood
from sweeps.evaluation.variants import variants
from sweeps.study import VALIDATION_ACCURACY
from tests.quantlab.recipes import quantized, small_recipe
from tests.sweeps.made_studies import spec

SHARPNESS = "quantization.sharpness.rho0"
RHO0 = Neighbourhood(name="rho0", paths=(SHARPNESS,), factors=(0.1, 1, 10))
STARTS = ("quantization.quantizer.rho.start", "quantization.quantizer.varrho.start")


def knots() -> Recipe:
    quantizer = Knots(rho=Geometric(0.02), varrho=Saturating(0.5))
    return override(quantized(), "quantization.quantizer", quantizer)


def test_a_knob_takes_multiples_of_a_setting() -> None:
    axis = RHO0.axis(quantized())
    assert axis.path == SHARPNESS
    assert axis.knob == Knob("log", name="rho0")
    assert axis.labelled == pytest.approx({"0.005": 0.005, "0.05": 0.05, "0.5": 0.5})


def test_settings_of_one_part_move_together() -> None:
    knob = Neighbourhood(name="rho0", paths=STARTS, factors=(1, 5), confirmed=(0.5, 1))
    axis = knob.axis(knots())
    assert axis.path == "quantization.quantizer"
    assert axis.labelled == {
        "0.02": knots().quantization.quantizer,  # type: ignore[union-attr]
        "0.1": Knots(rho=Geometric(0.1), varrho=Saturating(2.5)),
    }
    assert list(knob.axis(knots(), confirms=True).values) == ["0.01", "0.02"]


def test_a_step_is_added_and_integers_stay_integers() -> None:
    epochs = Neighbourhood(name="epochs", paths=("epochs",), steps=(-1, 0, 2))
    assert list(epochs.axis(small_recipe()).labelled.values()) == [2, 3, 5]
    assert epochs.axis(small_recipe()).knob == Knob("linear", name="epochs")
    halved = Neighbourhood(name="batch", paths=("batch_size",), factors=(0.5, 1))
    assert halved.axis(small_recipe()).labelled == {"16": 16, "32": 32}
    momentum = Neighbourhood(
        name="momentum", paths=("optimizer.options.momentum",), steps=(0, -0.5)
    )
    assert momentum.axis(small_recipe()).labelled == pytest.approx({"0.9": 0.9, "0.4": 0.4})


def test_values_have_short_names_unless_these_are_alike() -> None:
    start = override(quantized(), SHARPNESS, 0.0112477511)
    knob = Neighbourhood(name="rho0", paths=(SHARPNESS,), factors=(0.1, 1, 1.000001))
    assert list(knob.axis(start).values) == ["0.001125", "0.01125", repr(0.0112477511 * 1.000001)]


def test_variants_are_all_combinations_in_all_settings() -> None:
    settings = {"narrow": {"model.width": 2}, "wide": {"model.width": 8, "epochs": 5}}
    rate = Neighbourhood(name="batch", paths=("batch_size",), factors=(1, 2))
    found = variants(quantized(), settings, (RHO0, rate))
    assert len(found) == 2 * 3 * 2
    assert found[0].coordinates == {"setting": "narrow", "rho0": "0.005", "batch": "32"}
    assert found[-1].coordinates == {"setting": "wide", "rho0": "0.5", "batch": "64"}
    expected = quantized(epochs=5, batch_size=64)
    expected = override(override(expected, "model.width", 8), SHARPNESS, 0.5)
    assert found[-1].recipe == expected
    # A knob that is 0 has no other values, and its only trial is not repeated.
    off = override(knots(), STARTS[1], 0.0)
    knob = Neighbourhood(name="varrho", paths=STARTS[1:], factors=(0.1, 1))
    assert [variant.recipe for variant in variants(off, {}, (knob,))] == [off]


def test_settings_share_neighbours_and_equal_settings_are_one() -> None:
    epochs = Neighbourhood(name="epochs", paths=("epochs",), factors=(0.5, 1, 2))
    settings = {"short": {}, "long": {"epochs": 8}, "as short": {"epochs": 4}}
    found = variants(quantized(epochs=4), settings, (epochs,))
    assert [(variant.coordinates["setting"], variant.recipe.epochs) for variant in found] == [
        *(("short", count) for count in (2, 4, 8)),
        *(("long", count) for count in (4, 8, 16)),
    ]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"paths": SHARPNESS}, "paths = .*: must be a tuple, such as .* not str"),
        ({"paths": ()}, r"paths = \(\): must be one or more names of fields"),
        ({"paths": ("epochs", "epochs")}, "paths = .*: must have each path once"),
        ({"paths": ("epochs", "model.width")}, "must be in one part of the recipe"),
        ({"paths": ("seed",)}, "and not the seed"),
        ({"factors": ()}, r"factors = \(\), steps = \(\): must have either factors"),
        ({"steps": (0, 1)}, "must have either factors, such as .*, or steps"),
        ({"factors": (0.1, 10)}, r"factors = \(0.1, 10\): must have 1, which is the config"),
        ({"factors": (), "steps": (1, 2)}, r"steps = \(1, 2\): must have 0, which is"),
        ({"factors": (1, -2)}, "factors: -2: must be a finite number > 0"),
        ({"factors": (1, "2")}, "factors: '2': must be a finite number > 0"),
        ({"factors": (1, 1.0)}, r"factors = \(1, 1.0\): must have each value once"),
        ({"confirmed": (2, 3)}, r"confirmed = \(2, 3\): must have 1"),
        ({"name": "setting"}, "neighbourhood 'setting': name: must be none of setting, config"),
        ({"name": "a b="}, "Neighbourhood.name 'a b=': the name must start"),
    ],
)
def test_bad_neighbourhoods_are_named(settings: dict[str, Any], message: str) -> None:
    good: dict[str, Any] = {"name": "rho0", "paths": (SHARPNESS,), "factors": (0.1, 1)}
    with pytest.raises(ConfigurationError, match=message):
        Neighbourhood(**(good | settings))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"settings": {"a": 3}}, r"StudySpec.settings\['a'\] = 3: must be a mapping"),
        ({"settings": {"a": {"seed": 3}}}, r"StudySpec.settings\['a'\] sets the seed: must not"),
        (
            {"settings": {"a": {}}, "confirmation_settings": {"a": {}}},
            "StudySpec.confirmation_settings has 'a', which is one of the settings",
        ),
        ({"neighbourhoods": (3,)}, "StudySpec.neighbourhoods: 3: must be Neighbourhood"),
        ({"neighbourhoods": (RHO0, RHO0)}, "'rho0' .* and 'rho0' .*: must have different names"),
        ({"constraints": (3,)}, "StudySpec.constraints: 3: must be Constraint"),
    ],
)
def test_bad_parts_of_a_study_are_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        spec(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"settings": {"a": {"modell": 3}}}, "study made: setting 'a': path 'modell': Recipe has"),
        ({"settings": {"a": {"epochs": -3}}}, "study made: setting 'a': .*epochs = -3"),
        (
            {"settings": {"a": {"dataset.validation_images": 0}}},
            "study made: Digits.validation_images = 0: must be at least 1",
        ),
        ({"confirmation_settings": {"b": {"epoch": 3}}}, "study made: setting 'b': path 'epoch'"),
        (
            {"neighbourhoods": (Neighbourhood(name="x", paths=("model.widt",), factors=(1, 2)),)},
            "study made: path 'model.widt': .*has no setting 'widt'",
        ),
        (
            {"neighbourhoods": (Neighbourhood(name="x", paths=("model",), factors=(1, 2)),)},
            "study made: neighbourhood 'x': model = .*: must be a number",
        ),
        (
            {"neighbourhoods": (Neighbourhood(name="x", paths=("epochs",), steps=(0, -3)),)},
            "study made: .*epochs = 0",
        ),
    ],
)
def test_settings_and_knobs_are_tried_before_anything_is_trained(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        spec(**changes).require_valid()


@dataclass(frozen=True)
class Picky(Constant):
    """A schedule of a user's own, which says in its own way what it does not accept."""

    def __post_init__(self) -> None:
        if self.value > 0.1:
            raise KeyError("above 0.1")


def test_an_error_of_a_users_class_names_the_knob_whose_value_it_does_not_accept() -> None:
    recipe = override(small_recipe(), "optimizer.learning_rate", Picky(0.05))
    knob = Neighbourhood(name="rate", paths=("optimizer.learning_rate.value",), factors=(1, 10))
    message = r"^neighbourhood 'rate': path 'optimizer.learning_rate.value': KeyError: 'above 0.1'"
    with pytest.raises(ConfigurationError, match=message):
        variants(recipe, {}, (knob,))


def test_a_study_is_tried_in_all_variants() -> None:
    settings = {"a": {}, "b": {"model.width": 2}}
    made = spec(settings=settings, neighbourhoods=(RHO0,), known={"k": {"rho0": 0.5}})
    assert len(made.require_valid()) == 2 * 2 * 3
    assert made.objectives == (VALIDATION_ACCURACY,)
