"""AnyModule: networks of the user's and of libraries, with their arguments."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from quantlab import ConfigurationError, Recipe, TrainingRun, canonical_json, fingerprint
from quantlab.export import load, save
from quantlab.models.external.any_module import AnyModule
from quantlab.models.he_scales import HeScales
from quantlab.packs import PackedRun
from quantlab.tasks.dimensions import Dimensions
from sweeps.loading import load_sweep
from sweeps.reporting.snippet import snippet
from sweeps.storage.provenance import package_versions
from tests.quantlab.packs.test_packs import alone, assert_alike, packed
from tests.quantlab.recipes import quantized

DIGITS = Dimensions(10, (1, 8, 8))


class Net(nn.Module):
    """A user's network."""

    def __init__(self, width: int, num_classes: int = 1000) -> None:
        super().__init__()
        self.hidden = nn.Linear(64, width, dtype=torch.float64)
        self.head = nn.Linear(width, num_classes, dtype=torch.float64)

    def forward(self, images: Tensor) -> Tensor:
        outputs: Tensor = self.head(self.hidden(images.flatten(1).double()).tanh())
        return outputs


def net(*, dimensions: Dimensions, width: int = 4) -> nn.Module:
    return Net(width, dimensions.num_classes)


def plain_net(width: int, channels: int = 1) -> nn.Module:
    return Net(width * channels, 10)


MODELS = [
    AnyModule(Net, {"width": 4}),
    AnyModule(net),
    AnyModule(plain_net, {"width": 4}),
    AnyModule(f"{__name__}:Net", {"width": 4}),
]


def test_arguments_are_given_and_those_of_the_dataset_filled_in() -> None:
    for model in MODELS:
        assert isinstance(built := model.build_for(DIGITS), Net)
        assert (built.hidden.out_features, built.head.out_features) == (4, 10)
    other = AnyModule(Net, {"width": 4, "num_classes": 3}).build_for(DIGITS)
    assert other.get_submodule("head").out_features == 3


def test_text_that_names_code_of_the_user_is_that_code() -> None:
    assert MODELS[3] == MODELS[0]
    assert [model.name for model in MODELS] == ["Net", "net", "plain_net", "Net"]
    assert len({fingerprint(quantized(model=model)) for model in MODELS}) == 3
    assert MODELS[0].packages == ()


def test_a_library_is_named_and_its_version_recorded() -> None:
    vit = AnyModule("torchvision.models:vgg11", {"num_classes": 7})
    written = json.loads(canonical_json(quantized(model=vit)))["recipe"]["model"]
    assert written["maker"] == "torchvision.models:vgg11"
    assert (vit.name, vit.packages, HeScales(base=vit).packages) == (
        "vgg11",
        ("torchvision",),
        ("torchvision",),
    )
    assert package_versions("sklearn", "no_package")["scikit-learn"]
    assert package_versions("hypothesis").keys() - package_versions().keys() == {"hypothesis"}


SOURCE = """
from quantlab import OptimizerSpec, Recipe
from quantlab.datasets.digits import Digits
from quantlab.models.external.any_module import AnyModule
from quantlab.schedules import Constant
from sweeps.spec import Block, SweepSpec
from torch import nn

{extra}

def narrow():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, WIDTH), nn.Linear(WIDTH, 10))

base = Recipe(
    model=AnyModule({maker}),
    dataset=Digits(),
    optimizer=OptimizerSpec(learning_rate=Constant(0.1)),
    epochs=1,
    batch_size=50,
)
SWEEP = SweepSpec(name="own", base=base, blocks=(Block("one"),), seeds=(0,))
"""


def _loaded(folder: Path, extra: str, maker: str = "narrow") -> str:
    path = folder / "own_sweep.py"
    path.write_text(SOURCE.format(extra=extra, maker=maker))
    return load_sweep(str(path)).cells[0].fingerprint


def test_the_source_of_a_function_is_part_of_the_identity(tmp_path: Path) -> None:
    first = _loaded(tmp_path, "WIDTH = 8")
    assert _loaded(tmp_path, "# a comment\nWIDTH = 8") == first
    assert _loaded(tmp_path, "WIDTH = 9") != first
    # As text, in a module beside the file, with a function that uses another one.
    beside = tmp_path / "own_networks.py"
    code = "from torch import nn\ndef size():\n    return {}\ndef make():\n"
    code += "    return nn.Sequential(nn.Flatten(), nn.Linear(64, size()), nn.Linear(size(), 10))\n"
    found = []
    for width in (8, 8, 9):
        beside.write_text(code.format(width))
        found.append(_loaded(tmp_path, "WIDTH = 8", '"own_networks:make"'))
        del sys.modules["own_networks"]
    assert found[0] == found[1]
    assert len({*found, first}) == 3


def test_a_function_that_a_class_uses_does_not_change_by_being_named() -> None:
    recipe = quantized(model=AnyModule(plain_net, {"width": 4}))
    before = fingerprint(recipe)
    fingerprint(quantized(model=AnyModule(net)))
    assert fingerprint(recipe) == before


def test_recipes_are_written_as_python() -> None:
    text = snippet(quantized(model=AnyModule(net, {"width": 8})))
    assert f"from {__name__} import net" in text
    assert "AnyModule(maker=net, options={'width': 8})" in text


def test_trained_alone_in_packs_and_exported(tmp_path: Path) -> None:
    recipe = quantized(model=MODELS[0], epochs=1)
    recipes = [replace(recipe, seed=seed) for seed in range(2)]
    for found, expected in zip(packed(recipes), map(alone, recipes), strict=True):
        assert_alike(found, expected)
    run = TrainingRun(recipe)
    list(run)
    save(tmp_path / "net", recipe, run.final_weights(), dimensions=run.dimensions)
    with pytest.raises(ConfigurationError, match=r"class 'Net', .* load\(path, into=network\)"):
        load(tmp_path / "net")
    network = load(tmp_path / "net", into=Net(4, 10))
    state, final = network.state_dict(), run.final_weights()
    assert all(torch.equal(state[name], value) for name, value in final.items())


class Single(Net):
    """Its inputs have a type that its weights may not have."""

    def forward(self, images: Tensor) -> Tensor:
        outputs: Tensor = self.head(self.hidden(images.flatten(1).float()).tanh())
        return outputs


def single(num_classes: int) -> nn.Module:
    return Single(4, num_classes).float()


def test_what_a_stack_cannot_try_is_refused_in_a_line() -> None:
    recipe = quantized(model=AnyModule(single), epochs=1, batchnorm_epochs=0)
    with pytest.raises(
        ConfigurationError, match=r"pack: Single cannot be tried .* raised RuntimeError: .* without"
    ) as refusal:
        PackedRun([recipe, replace(recipe, seed=1)])
    assert "\n" not in str(refusal.value)
    assert len(list(TrainingRun(recipe))) == 1


@pytest.mark.parametrize(
    ("maker", "options", "says"),
    [
        (3, {}, r"AnyModule\.maker = 3: must be a class of nn\.Module, a function, or text"),
        (dict, {}, r"AnyModule\.maker = .*dict.*: must be a class of nn\.Module"),
        ("torch.nn.Linear", {}, r"AnyModule\.maker = 'torch\.nn\.Linear': must be a class"),
        ("no_such_library:net", {}, r"there is no module no_such_library; install its package"),
        ("torch.nn:Linearr", {}, r"torch\.nn has no Linearr; correct the name"),
        ("torch.nn:Linear", {}, r"AnyModule\.options = \{\}: .* missing a required argument: 'in_"),
        (Net, {"wide": 4}, r"AnyModule\.options = \{'wide': 4\}: must be the keyword arguments of"),
        (Net, [4], r"AnyModule\.options = \[4\]: must be a mapping, such as \{'width': 16\}"),
    ],
)
def test_bad_input_is_refused_in_a_line(maker: Any, options: Any, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says) as refusal:
        AnyModule(maker, options)
    assert "\n" not in str(refusal.value)


def test_a_network_without_build_says_what_it_needs() -> None:
    recipe: Recipe = quantized(model=AnyModule(net))
    with pytest.raises(ConfigurationError, match=r"net: num_classes is not enough .* dimensions"):
        save("x", recipe, {}, num_classes=10)
    with pytest.raises(ConfigurationError, match="AnyModule: cannot be built from the numbers of"):
        recipe.model.build(num_classes=10, num_channels=1)
