"""Every study that ships: points are recipes with proximal maps, and the known ones are right."""

import math

import optuna
import pytest
import torch

from quantlab import Recipe, configuration_id
from quantlab.papers import mirror_descent
from quantlab.quantization_sets import TERNARY
from quantlab.quantizers import Quantizer
from quantlab.quantizers.nearest import Nearest
from quantlab.quantizers.piecewise_linear import PiecewiseLinear
from quantlab.update_rules import PROX_CONNECT
from sweeps.loading import load_study, load_sweep, named_studies, named_sweeps
from sweeps.quantizer_space import SCALES, suggest_levels, suggest_quantizer, suggest_scale
from sweeps.reporting.snippet import formula, snippet

LINE = torch.linspace(-1.3, 1.3, 521, dtype=torch.float64)


def quantizer_of(recipe: Recipe) -> Quantizer:
    assert recipe.quantization is not None
    return recipe.quantization.quantizer


def quantizers_of(recipe: Recipe) -> list[Quantizer]:
    assert recipe.quantization is not None
    return [recipe.quantization.quantizer, *(g.quantizer for g in recipe.quantization.groups)]


def middles(quantizer: Quantizer) -> torch.Tensor:
    levels = torch.tensor(quantizer.levels, dtype=torch.float64)
    return (levels[1:] + levels[:-1]) / 2


def random_trials(count: int) -> list[optuna.Trial]:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    return [study.ask() for _ in range(count)]


@pytest.mark.parametrize("name", named_studies())
def test_points_are_recipes_with_proximal_maps(name: str) -> None:
    spec = load_study(name)
    assert spec.name == name
    spec.require_valid()
    for trial in random_trials(40):
        for quantizer in quantizers_of(spec.recipe(trial)):
            for sharpness in (1.0, 5.0, 40.0):
                image = quantizer.prox(LINE, sharpness)
                assert (image.diff() >= -1e-12).all()
                if quantizer.fixes_levels:
                    fixed = torch.tensor(quantizer.levels, dtype=torch.float64)
                    torch.testing.assert_close(quantizer.prox(fixed, sharpness), fixed)
            # No closer than this to the middle, where the jump is.
            far = (LINE[:, None] - middles(quantizer)).abs().min(dim=1).values > 1e-3
            torch.testing.assert_close(
                quantizer.prox(LINE, math.inf)[far], quantizer.hard(LINE)[far]
            )


@pytest.mark.parametrize(
    ("name", "rho0"),
    [
        ("digits_quantizers", 0.06),
        ("digits_untuned", 0.06),
        ("cifar10_resnet20_quantizers", 0.01),
    ],
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


def test_every_scale_of_the_space_is_suggested_for_tensors_and_channels() -> None:
    found = {scale for scale in map(suggest_scale, random_trials(60)) if scale is not None}
    assert found == {kind(per=per) for kind in SCALES.values() for per in ("tensor", "channel")}
    assert None in map(suggest_scale, random_trials(60))


def test_these_ship() -> None:
    assert named_studies() == [
        "cifar10_resnet20_quantizers",
        "digits_bits",
        "digits_quantizers",
        "digits_untuned",
        "mirror_descent_search",
    ]


def test_no_study_has_the_name_of_a_sweep() -> None:
    """Both would share their reports and records, and commands could reach only one of them."""
    assert not set(named_studies()) & set(named_sweeps())


def test_the_mirror_descent_search_is_its_grid() -> None:
    """Table 7: every point is one of the 400 trials, and the first one is the choice of Table 8."""
    spec = load_study("mirror_descent_search")
    cells = load_sweep("mirror_descent_hyperparameters").cells
    configurations = {cell.configuration_id for cell in cells}
    assert len(configurations) == 400
    for trial in random_trials(20):
        assert configuration_id(spec.recipe(trial)) in configurations
    published = mirror_descent.recipe(mirror_descent.MD_TANH_S)
    first = spec.recipe(optuna.trial.FixedTrial(dict(spec.known["Table 8"])))
    assert configuration_id(first) == configuration_id(published) in configurations


@pytest.mark.parametrize("name", named_studies())
def test_a_winner_is_printed_as_python_that_makes_it(name: str) -> None:
    spec = load_study(name)
    for trial in random_trials(6):
        recipe = spec.recipe(trial)
        scope: dict[str, object] = {}
        text = snippet(recipe)
        exec(text, scope)
        assert (scope["MODEL"], scope["QUANTIZATION"]) == (recipe.model, recipe.quantization)
        assert max(map(len, text.splitlines())) <= 110


def test_a_formula_has_the_numbers() -> None:
    spec = load_study("digits_quantizers")
    recipe = spec.recipe(optuna.trial.FixedTrial(dict(spec.known["PC"])))
    lines = formula(recipe).splitlines()
    assert lines[0] == "ConvNet: gradient at w = P(w*), step from w*"
    assert lines[1] == "s = Linear(rho0=1.0)"
    assert "rho = 0.12 s, varrho = 0.12 s" in lines
    assert "from -1 to -0.5: r = min(1, 1 rho), v = min(1, 1 varrho), b = 0.5" in lines


def test_layers_have_sets_of_their_own_and_perhaps_scales() -> None:
    spec = load_study("digits_bits")
    sizes, names = set(), set()
    for trial in random_trials(30):
        recipe = spec.recipe(trial)
        assert recipe.quantization is not None
        sizes |= {tuple(len(g.quantizer.levels) for g in recipe.quantization.groups)}
        names.add(recipe.model.name)
    assert len(sizes) > 25
    assert names == {"ConvNet", "ConvNet with scales"}
    quaternary = spec.recipe(optuna.trial.FixedTrial(dict(spec.known["PC quaternary"])))
    for quantizer in quantizers_of(quaternary)[1:]:
        assert quantizer.levels == pytest.approx((-1, -0.3, 0.3, 1))
