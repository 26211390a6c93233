"""Exported networks: the same network comes back, and nothing else does."""

import importlib
import json
import pickle
import pkgutil
import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from importlib.util import find_spec
from inspect import isabstract
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

import quantlab.scales
from quantlab import ConfigurationError, Quantization, Recipe, TrainingRun, canonical_json
from quantlab.datasets.cifar import CIFAR10
from quantlab.export import load, save
from quantlab.export.model_spec import model_spec_of
from quantlab.export.network import network_file
from quantlab.export.network_file import NetworkFile
from quantlab.identity.release import RELEASE
from quantlab.models import ModelSpec
from quantlab.models.convnet import ConvNet
from quantlab.models.external.timm_model import TimmModel
from quantlab.models.learned_scales import LearnedScales
from quantlab.models.mlp import MLP
from quantlab.models.resnet import ResNet
from quantlab.quantization_sets import BINARY, TERNARY
from quantlab.quantizers.nearest import Nearest
from quantlab.quantizers.unbounded.grid import NearestOnGrid
from quantlab.scales import Scale
from quantlab.scales.trained_ternary import TrainedTernary
from quantlab.schedules import Linear
from quantlab.update_rules import PROX_CONNECT
from tests.quantlab.quantizers.test_contract import CLASSES, every_quantizer
from tests.quantlab.recipes import small_recipe

BC = Quantization(rule=PROX_CONNECT, quantizer=Nearest(BINARY))


@dataclass(frozen=True)
class Own(ModelSpec):
    """A user's network, whose layers share a weight."""

    def build(self, *, num_classes: int, num_channels: int) -> nn.Module:
        model = nn.Sequential(
            nn.Flatten(), nn.Linear(64, 64), nn.Linear(64, 64), nn.Linear(64, num_classes)
        )
        model.get_submodule("2").weight = model.get_submodule("1").weight
        return model


def trained(recipe: Recipe) -> TrainingRun:
    run = TrainingRun(recipe)
    list(run)
    return run


def hard(recipe: Recipe, num_classes: int = 10) -> dict[str, Tensor]:
    """The weights of a network that is quantized without training, with some statistics."""
    torch.manual_seed(1)
    model = recipe.model.build(num_classes=num_classes, num_channels=recipe.dataset.num_channels)
    assert recipe.quantization is not None
    for name, group in recipe.quantization.group_of_weights(model).items():
        quantizer = (group or recipe.quantization).quantizer
        weight = model.get_parameter(name)
        weight.data = quantizer.hard(quantizer.lift(weight.data.flatten())).view_as(weight)
    for name, buffer in model.named_buffers():
        if name.endswith(("mean", "var")):
            buffer.uniform_(0.5, 1.5)
    return model.state_dict()


def same(one: nn.Module, weights: dict[str, Tensor]) -> bool:
    state = one.state_dict()
    return state.keys() == weights.keys() and all(
        torch.equal(state[name], value) and state[name].dtype is value.dtype
        for name, value in weights.items()
    )


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small binary network."""
    path = tmp_path_factory.mktemp("exported") / "network.safetensors"
    recipe = small_recipe(quantization=BC)
    save(path, recipe, hard(recipe), num_classes=10)
    return path


@every_quantizer
def test_a_trained_network_comes_back_bit_for_bit(cls: type, tmp_path: Path) -> None:
    quantization = replace(BC, quantizer=cls(), sharpness=Linear(1), reestimate_batchnorm=True)
    recipe = small_recipe(quantization=quantization, epochs=1)
    run = trained(recipe)
    weights = run.final_weights()
    file = save(tmp_path / "network", recipe, weights, num_classes=10)
    assert len(file.coded) == 4, "every layer is stored as codes"
    network = load(tmp_path / "network")
    assert type(network) is type(run.model)
    assert not network.training
    assert same(network, weights)
    run.model.load_state_dict(weights)
    images, _ = next(iter(recipe.dataset.batches(run.splits.test, batch_size=60)))
    with torch.no_grad():
        assert torch.equal(network(images), run.model.eval()(images))


@pytest.mark.parametrize(("resolution", "coded"), [(0.05, 4), (1e-6, 0)])
def test_weights_on_an_unbounded_grid_come_back_as_codes_of_the_levels_that_they_have(
    resolution: float, coded: int, tmp_path: Path
) -> None:
    """Or as they are, if they have so many levels that codes would not be smaller."""
    recipe = small_recipe(
        quantization=replace(BC, quantizer=NearestOnGrid(resolution)), model=ConvNet(width=8)
    )
    weights = hard(recipe)
    file = save(tmp_path / "network", recipe, weights, num_classes=10)
    assert len(file.coded) == coded
    assert same(load(tmp_path / "network"), weights)


def scales() -> list[Scale]:
    """Every rule of the package, for all parts of a tensor that it allows."""
    found: list[Scale] = []
    for module in pkgutil.iter_modules(quantlab.scales.__path__, "quantlab.scales."):
        for member in vars(importlib.import_module(module.name)).values():
            if isinstance(member, type) and issubclass(member, Scale) and member is not Scale:
                for per in ("tensor", "channel", 8):
                    with suppress(ConfigurationError):
                        found += [member(per=per)] if member.__module__ == module.name else []
    return found


@pytest.mark.parametrize("scale", scales(), ids=lambda scale: f"{type(scale).__name__}-{scale.per}")
def test_levels_of_rows_come_back_bit_for_bit(scale: Scale, tmp_path: Path) -> None:
    quantization = replace(BC, quantizer=Nearest(TERNARY), scale=scale)
    recipe = small_recipe(model=ConvNet(width=8), quantization=quantization, epochs=1)
    run = trained(recipe)
    weights = run.final_weights()
    file = save(tmp_path / "network", recipe, weights, num_classes=10)
    assert same(load(tmp_path / "network"), weights)
    assert set(file.coded) == {name for name in weights if weights[name].dim() > 1}
    assert all(of.num_levels <= 3 for of in file.coded.values())
    for of in file.coded.values():  # the two sides of TTQ are not multiples of a scale
        assert (of.scales is None) == isinstance(scale, TrainedTernary)
    tables = run.optimizer.levels()
    for name, of in file.coded.items():
        rows = of.decoded().view(len(tables[name]), -1)
        for own, levels in zip(rows.tolist(), tables[name].tolist(), strict=True):
            assert set(own) <= set(levels)


def test_the_package_has_quantizers_to_export() -> None:
    assert len(CLASSES) > 8
    assert len(scales()) > 12


@pytest.mark.parametrize(
    "recipe",
    [
        small_recipe(model=LearnedScales(base=MLP(hidden=(8,)), exclude=("1",)), quantization=BC),
        small_recipe(model=Own(), quantization=replace(BC, include=("*.bias",))),
        small_recipe(quantization=replace(BC, exclude=("conv1",))),
        small_recipe(),
    ],
    ids=["learned scales", "shared weights", "excluded layers", "full precision"],
)
def test_other_networks_come_back(recipe: Recipe, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = recipe.model.build(num_classes=10, num_channels=1)
    weights = model.state_dict() if recipe.quantization is None else hard(recipe)
    file = save(tmp_path / "network", recipe, weights, num_classes=10)
    into = None if recipe.model != Own() else Own().build(num_classes=10, num_channels=1)
    before = torch.get_rng_state()
    network = load(tmp_path / "network", into=into)
    assert torch.equal(torch.get_rng_state(), before)
    assert into is None or network is into
    assert same(network, weights)
    if isinstance(recipe.model, Own):
        assert "2.weight" not in {*file.coded, *file.plain}, "a shared weight is stored once"


def sized(model: ModelSpec, levels: tuple[float, ...]) -> tuple[int, int]:
    """Bytes of the file of a network, and of its tensors."""
    quantization = replace(BC, quantizer=Nearest(levels))
    recipe = small_recipe(model=model, dataset=CIFAR10(), quantization=quantization)
    weights = hard(recipe)
    size = len(network_file(recipe, weights, num_classes=10).to_bytes())
    return size, sum(value.numel() * value.element_size() for value in weights.values())


@pytest.mark.parametrize(("levels", "bits"), [(BINARY, 1), (TERNARY, 1.6)])
def test_the_bytes_of_resnet20(levels: tuple[float, ...], bits: float) -> None:
    size, full = sized(ResNet(), levels)
    weights = 268_336
    statistics = 4 * 2_762 + 8 * 19
    assert full == 4 * weights + statistics
    rest = size - weights * bits / 8 - statistics
    assert 0 < rest < 3_000, "header, recipe and layout"


def test_a_users_class_needs_a_network(tmp_path: Path) -> None:
    recipe = small_recipe(model=Own(), quantization=BC)
    save(tmp_path / "own", recipe, hard(recipe), num_classes=10)
    with pytest.raises(ConfigurationError, match=r"'Own', which is not part of quantlab; .* into="):
        load(tmp_path / "own")
    with pytest.raises(ConfigurationError, match="does not fit Linear"):
        load(tmp_path / "own", into=nn.Linear(2, 2))


@pytest.mark.parametrize(
    "data",
    [
        {"type": "torch:nn.Linear"},
        {"type": "subprocess:Popen", "args": ["true"]},
        {"type": "Nearest", "levels": [-1, 1]},
        {"type": "load_weights"},
        {"type": ["ResNet"]},
        {"type": "LearnedScales", "base": {"type": "os.system"}},
        {"type": "AnyModule", "maker": "os:system", "options": {"command": "ls"}},
        "ResNet",
        None,
    ],
    ids=str,
)
def test_only_networks_of_the_release_are_named(data: object) -> None:
    with pytest.raises(ConfigurationError, match="which is not part of quantlab"):
        model_spec_of(json.dumps({"recipe": {"model": data}}), "file")


def test_every_network_of_the_release_is_found_again() -> None:
    specs: list[ModelSpec] = []
    for module, names in RELEASE.items():
        for name in names.split() if module.startswith("quantlab.models.") else ():
            kind = getattr(importlib.import_module(module), name)
            if kind is TimmModel and find_spec("timm") is None:
                continue
            if isinstance(kind, type) and issubclass(kind, ModelSpec) and not isabstract(kind):
                if not kind.is_named:
                    continue
                takes_base = "base" in {field.name for field in fields(kind)}
                specs.append(kind(base=MLP(hidden=(3, 2))) if takes_base else kind())
    assert len(specs) > 8
    for spec in specs:
        text = canonical_json(small_recipe(model=spec))
        assert model_spec_of(text, "file") == spec


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ({"type": "ResNet", "depth": 9}, "ResNet.depth = 9: must be 6n"),
        ({"type": "ResNet", "width": [1]}, r"ResNet.width = \(1,\)"),
        ({"type": "ResNet", "colour": 1}, "ResNet has no field 'colour' in this release"),
    ],
)
def test_wrong_fields_are_named(data: object, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        model_spec_of(json.dumps({"recipe": {"model": data}}), "file")


def test_a_network_larger_than_its_file_is_not_built(tmp_path: Path) -> None:
    recipe = small_recipe(quantization=BC)
    file = network_file(recipe, hard(recipe), num_classes=10)
    for model in ({"type": "ConvNet", "width": 20_000}, {"type": "MLP", "hidden": [1] * 100_000}):
        whole = json.loads(file.recipe)
        whole["recipe"]["model"] = model
        (tmp_path / "huge").write_bytes(replace(file, recipe=json.dumps(whole)).to_bytes())
        with pytest.raises(ConfigurationError, match=r"more than the .* numbers of the file"):
            load(tmp_path / "huge")


def refused(path: Path) -> str:
    with pytest.raises(ConfigurationError) as refusal:
        load(path)
    message = str(refusal.value)
    assert len(message.splitlines()) == 1
    assert str(path) in message
    return message


def test_a_file_cut_at_any_length_is_refused(exported: Path, tmp_path: Path) -> None:
    data, path = exported.read_bytes(), tmp_path / "cut"
    for length in [*range(0, 300, 7), *range(300, len(data), 97), len(data) - 1]:
        path.write_bytes(data[:length])
        assert "truncated" in refused(path)
    path.write_bytes(data + b"\0")
    assert "was changed" in refused(path)


def test_a_changed_byte_anywhere_is_refused(exported: Path, tmp_path: Path) -> None:
    data, path = bytearray(exported.read_bytes()), tmp_path / "changed"
    generator = torch.Generator().manual_seed(0)
    for place in torch.randperm(len(data), generator=generator)[:300].tolist():
        for flipped in (1, 0x2A):
            data[place] ^= flipped
            path.write_bytes(data)
            assert "changed" in (message := refused(path)) or "damaged" in message
            data[place] ^= flipped


def test_files_of_others_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "foreign"
    path.write_bytes(b"")
    assert "must be a network that" in refused(path)
    path.write_bytes(pickle.dumps({"weight": [1.0]}))
    assert "must be a network that" in refused(path)
    torch.save({"weight": torch.ones(3)}, path)
    assert "must be a network that" in refused(path)
    save_file({"weight": torch.ones(3)}, path, {"format": "pt"})
    assert "must be a network that" in refused(path)
    path.write_bytes(struct.pack("<Q", 2**63) + b"{}")
    assert "must be a network that" in refused(path)
    assert "does not exist" in refused(tmp_path / "missing")
    assert "is a folder" in refused(tmp_path)


Change = Callable[[NetworkFile], NetworkFile]


def without_a_tensor(file: NetworkFile) -> NetworkFile:
    return replace(file, plain={n: v for n, v in file.plain.items() if n != "bn1.bias"})


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (without_a_tensor, "1 key is missing, 'bn1.bias' first"),
        (lambda file: replace(file, num_classes=11), "'linear.weight' has shape"),
        (lambda file: replace(file, num_classes=-1), "ConvNet: RuntimeError"),
        (lambda file: replace(file, recipe="{}"), "has no recipe with a model"),
        (lambda file: replace(file, recipe="[" * 9_999), "has no recipe with a model"),
        (
            lambda file: replace(
                file, coded={n: replace(of, num_rows=7) for n, of in file.coded.items()}
            ),
            "as this release writes it",
        ),
        (
            lambda file: replace(
                file, coded={n: replace(of, shape=(9**9,)) for n, of in file.coded.items()}
            ),
            "as this release writes it",
        ),
        (
            lambda file: replace(
                file, coded={n: replace(of, shape=(-1,)) for n, of in file.coded.items()}
            ),
            "as this release writes it",
        ),
    ],
)
def test_wrong_files_with_a_right_checksum_are_refused(
    change: Change, says: str, exported: Path, tmp_path: Path
) -> None:
    file = NetworkFile.from_bytes(exported.read_bytes(), "file")
    path = tmp_path / "made"
    path.write_bytes(change(file).to_bytes())
    assert says in refused(path)


def test_a_layout_that_inflates_without_end_is_refused(
    exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("quantlab.export.network_file._MOST_LAYOUT_BYTES", 100)
    assert "the layout is too long" in refused(exported)


def test_the_same_network_gives_the_same_file_which_safetensors_reads(exported: Path) -> None:
    data = exported.read_bytes()
    assert NetworkFile.from_bytes(data, "file").to_bytes() == data
    with safe_open(exported, "pt") as file:
        assert json.loads(file.metadata()["recipe"])["recipe"]["model"]["type"] == "ConvNet"
        assert set(file.keys()) == {"layout", "codes", "levels", "plain.float32", "plain.int64"}


def test_a_later_version_is_refused(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = NetworkFile.from_bytes(exported.read_bytes(), "file")
    monkeypatch.setattr("quantlab.export.network_file.VERSION", 2)
    (tmp_path / "later").write_bytes(file.to_bytes())
    monkeypatch.undo()
    assert "has version '2' of the format, but this release reads version 1" in refused(
        tmp_path / "later"
    )


def test_weights_of_another_network_are_not_exported(tmp_path: Path) -> None:
    recipe = small_recipe(quantization=BC)
    with pytest.raises(ConfigurationError, match="weights of ConvNet: does not fit"):
        save(tmp_path / "x", recipe, hard(replace(recipe, model=ConvNet(8))), num_classes=10)
    assert not (tmp_path / "x").exists()
