"""The grids of the mirror-descent paper have the names under which its numbers are stored."""

import pytest

from analysis.claims import CLAIMS
from analysis.claims.quantities import LossOfQuantization, LossWithoutPretraining
from analysis.protocol import TRAINED, differences
from analysis.published import published
from analysis.text import folded
from analysis.training_axes import setting_text
from quantlab import flatten
from sweeps.coordinates import level_set, regime
from sweeps.loading import load_sweep

PAPER = "mirror-descent-view"


@pytest.mark.parametrize("grid", ["binary", "ternary", "mobilenet", "imagenet"])
def test_every_configuration_has_a_published_number(grid: str) -> None:
    keys = ["dataset", "model", "regime", "method", "set"]
    printed = {
        (folded(dataset), folded(model), *others)
        for dataset, model, *others in published(PAPER)[keys].itertuples(index=False)
    }
    ours = {
        (
            folded(cell.recipe.dataset.name),
            folded(cell.recipe.model.name),
            regime(cell),
            cell.method,
            level_set(cell),
        )
        for cell in load_sweep(f"mirror_descent_{grid}").cells
    }
    assert ours
    assert not ours - printed


@pytest.mark.parametrize("grid", ["binary", "imagenet"])
def test_recipes_are_trained_as_the_paper_states(grid: str) -> None:
    compared = 0
    for cell in load_sweep(f"mirror_descent_{grid}").cells:
        recipe = {path: setting_text(value) for path, value in flatten(cell.recipe).items()}
        where = folded(cell.recipe.dataset.name), regime(cell)
        for trained in TRAINED[PAPER]:
            if where == (folded(trained.dataset), trained.regime):
                compared += 1
                assert not differences(recipe, trained.of(cell.method))
    assert compared == len(load_sweep(f"mirror_descent_{grid}").cells)


def test_claims_about_imagenet_name_methods_of_the_grid() -> None:
    methods = {cell.method for cell in load_sweep("mirror_descent_imagenet").cells}
    named = {
        claim.quantity.method
        for claim in CLAIMS[PAPER]
        if isinstance(claim.quantity, LossOfQuantization | LossWithoutPretraining)
        and "ImageNet" in claim.text
    }
    assert named
    assert named <= methods
