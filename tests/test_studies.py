"""Every study that ships: points are recipes with proximal maps, and the known ones are right."""

import optuna
import pytest
import torch

from quantlab import Recipe
from quantlab.quantization_sets import TERNARY
from quantlab.quantizers import Quantizer
from quantlab.quantizers.nearest import Nearest
from quantlab.quantizers.piecewise_linear import PiecewiseLinear
from quantlab.update_rules import PROX_CONNECT
from sweeps.loading import load_study, named_studies
from sweeps.promotion import snippet
from sweeps.quantizer_space import suggest_levels, suggest_quantizer

LINE = torch.linspace(-1.3, 1.3, 521, dtype=torch.float64)


def quantizer_of(recipe: Recipe) -> Quantizer:
    assert recipe.quantization is not None
    return recipe.quantization.quantizer


def random_trials(count: int) -> list[optuna.Trial]:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    return [study.ask() for _ in range(count)]


def test_these_ship() -> None:
    assert named_studies() == ["cifar10_resnet20_quantizers", "digits_quantizers"]


@pytest.mark.parametrize("name", named_studies())
def test_points_are_recipes_with_proximal_maps(name: str) -> None:
    spec = load_study(name)
    assert spec.name == name
    spec.require_valid()
    for trial in random_trials(40):
        quantizer = quantizer_of(spec.recipe(trial))
        for sharpness in (1.0, 5.0, 40.0):
            image = quantizer.prox(LINE, sharpness)
            assert (image.diff() >= -1e-12).all()
            fixed = torch.tensor(quantizer.levels, dtype=torch.float64)
            torch.testing.assert_close(quantizer.prox(fixed, sharpness), fixed)


@pytest.mark.parametrize(
    ("name", "rho0"), [("digits_quantizers", 0.06), ("cifar10_resnet20_quantizers", 0.01)]
)
def test_the_first_known_point_is_the_papers_pc(name: str, rho0: float) -> None:
    spec = load_study(name)
    recipe = spec.recipe(optuna.trial.FixedTrial(dict(spec.known["PC"])))
    assert recipe.quantization is not None
    assert recipe.quantization.rule == PROX_CONNECT
    for step in (0, 17, 340):
        sharpness = recipe.quantization.sharpness.at(step, 17)
        own = quantizer_of(recipe).prox(LINE, sharpness)
        paper = PiecewiseLinear(TERNARY).prox(LINE, (1 + step / 17) * rho0)
        torch.testing.assert_close(own, paper)


def test_the_second_one_is_binary_connect() -> None:
    spec = load_study("digits_quantizers")
    recipe = spec.recipe(optuna.trial.FixedTrial(dict(spec.known["BC"])))
    own = quantizer_of(recipe).prox(LINE, 1.0)
    torch.testing.assert_close(own, Nearest(TERNARY).prox(LINE, 1.0))


def test_levels_are_symmetric_sets_of_any_size_asked_for() -> None:
    sizes = set()
    for trial in random_trials(60):
        levels = suggest_levels(trial)
        assert levels == tuple(sorted(levels))
        assert levels == pytest.approx([-level for level in reversed(levels)])
        assert (levels[0], levels[-1]) == pytest.approx((-1, 1))
        quantizer = suggest_quantizer(trial, levels, symmetric=trial.number % 2 == 0)
        assert (quantizer.prox(LINE, 3.0).diff() >= -1e-12).all()
        sizes.add(len(levels))
    assert sizes == set(range(2, 9))


def test_a_winner_is_printed_as_python_that_makes_it() -> None:
    spec = load_study("digits_quantizers")
    for trial in random_trials(6):
        recipe = spec.recipe(trial)
        scope: dict[str, object] = {}
        exec(snippet(spec, trial.params), scope)
        assert scope["QUANTIZER"] == quantizer_of(recipe)
