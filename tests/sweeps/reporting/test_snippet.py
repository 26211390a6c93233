"""Recipes as formulas and as Python."""

from dataclasses import replace
from typing import Any

import quantlab.recipe
from quantlab import Quantization, Recipe
from quantlab.backward_maps import BiReal
from quantlab.mirror_maps.softmax import Softmax
from quantlab.models.mlp import MLP
from quantlab.quantization_sets import BINARY
from quantlab.quantizers.nearest import Nearest
from quantlab.quantizers.unbounded.grid import NearestOnGrid
from quantlab.scales.absolute_mean import AbsoluteMean
from quantlab.schedules import Constant
from quantlab.update_rules import PROX_CONNECT
from sweeps.reporting.snippet import formula, snippet
from tests.quantlab.recipes import quantized


def with_step(**options: Any) -> Recipe:
    fields: dict[str, Any] = {"rule": PROX_CONNECT, "quantizer": Nearest(BINARY), **options}
    return replace(quantized(), model=MLP(hidden=(8,)), quantization=Quantization(**fields))


def test_a_formula_names_the_choices_of_the_step() -> None:
    plain = formula(with_step())
    assert "gradient at w = P(w*), step from w*\n" in plain
    assert "backward" not in plain
    assert "theta" not in plain
    assert "times" not in plain
    full = formula(
        with_step(backward=BiReal(), pull=0.01, step_scale=Constant(2.0)),
    )
    assert "step from (1 - theta) w* + theta P(w*) with theta = Constant(value=0.01)\n" in full
    assert "backward map BiReal()\n" in full
    assert "steps of w* times Constant(value=2.0)\n" in full
    assert "w = sum_k u_k q_k" in formula(with_step(quantizer=Softmax(BINARY)))
    scaled = formula(with_step(scale=AbsoluteMean(per="channel")))
    assert "\nwith levels placed by AbsoluteMean(per='channel'): P(w*) = " in scaled


def test_python_of_a_step_builds_the_same_step() -> None:
    recipe = with_step(backward=BiReal(), pull=0.01, step_scale=2, scale=AbsoluteMean(per=8))
    code = snippet(recipe)
    assert "from quantlab.backward_maps" in code
    names: dict[str, Any] = {}
    exec(code, names)
    assert names["QUANTIZATION"] == recipe.quantization
    assert names["MODEL"] == recipe.model
    assert isinstance(names["QUANTIZATION"], quantlab.recipe.Quantization)
    unbounded = with_step(quantizer=NearestOnGrid(0.1))
    exec(snippet(unbounded), names)
    assert names["QUANTIZATION"] == unbounded.quantization
