"""What would make trials fail is found before any starts, with the numbers of the data itself."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from quantlab import ConfigurationError, OptimizerSpec, Recipe, override
from quantlab.backward_maps import Factor, Jacobian
from quantlab.datasets.image_folder import ImageFolder
from quantlab.initial_weights import WeightsFile
from quantlab.mirror_maps.shifted_tanh import ShiftedTanh
from quantlab.models import ModelSpec
from quantlab.models.convnet import ConvNet
from quantlab.papers import bop
from quantlab.quantization_sets import BINARY, TERNARY
from quantlab.quantizers.piecewise_linear import PiecewiseLinear
from quantlab.schedules import Constant, Linear, Schedule
from sweeps.planning.preflight import check_without_data, preflight
from sweeps.spec import Axis, Block, SweepSpec
from sweeps.storage import Storage
from tests.quantlab.image_trees import CLASSES, write_images
from tests.quantlab.recipes import quantized, small_recipe

BUILT: list[tuple[int, int]] = []


@dataclass(frozen=True)
class Particular(ModelSpec):
    """A head for one number of classes only; its sizes are a list."""

    classes: int
    sizes: list[int]

    def build(self, *, num_classes: int, num_channels: int) -> nn.Module:
        BUILT.append((num_classes, num_channels))
        if num_classes != self.classes:
            raise ValueError(f"this head is for {self.classes} classes")
        return ConvNet(width=self.sizes[0]).build(
            num_classes=num_classes, num_channels=num_channels
        )


def sweep(base: Recipe, *axes: Axis) -> SweepSpec:
    return SweepSpec(name="mine", base=base, blocks=(Block("PC", axes=axes),), seeds=(0, 1))


def both(spec: SweepSpec, tmp_path: Path) -> None:
    check_without_data(spec.cells)
    preflight(list(spec.cells), Storage(tmp_path), tmp_path)


def test_networks_are_built_for_the_classes_of_the_data(tmp_path: Path) -> None:
    BUILT.clear()
    rho0 = Axis("rho0", "quantization.sharpness.rho0", (0.1, 0.2, 0.3))
    both(sweep(quantized(model=Particular(10, [4])), rho0), tmp_path)
    assert BUILT == [(10, 1)] * 2  # once without the data and once with it, whatever is annealed
    with pytest.raises(ConfigurationError, match=r"build raised ValueError: this head is for 9"):
        check_without_data(sweep(quantized(model=Particular(9, [4]))).cells)


def test_what_an_image_folder_holds_is_found_with_the_data(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    write_images(tmp_path / "data" / "pets", {"train": 2, "test": 1})
    for path in (tmp_path / "data" / "pets").glob("*/*/*.jpg"):
        from PIL import Image

        Image.open(path).resize((16, 8)).save(path)
    dataset = ImageFolder(folder="pets", validation_images=1)
    spec = sweep(quantized(model=Particular(len(CLASSES), [2]), dataset=dataset))
    BUILT.clear()
    check_without_data(spec.cells)
    assert BUILT == []
    preflight(list(spec.cells), Storage(tmp_path), tmp_path / "data")
    assert BUILT == [(3, 3)]


def test_weights_of_a_file_must_fit(tmp_path: Path) -> None:
    torch.save(ConvNet(width=3).build(num_classes=10, num_channels=1).state_dict(), tmp_path / "w")
    recipe = quantized(initial_weights=WeightsFile("w"))
    preflight(list(sweep(override(recipe, "model.width", 3)).cells), Storage(tmp_path), tmp_path)
    with pytest.raises(ConfigurationError, match=r"w: does not fit _ConvNet: 'conv1\.weight' has"):
        preflight(list(sweep(recipe).cells), Storage(tmp_path), tmp_path)


@dataclass(frozen=True)
class Falling(Schedule):
    """Below zero from some step on."""

    def at(self, step: int, steps_per_epoch: int) -> float:
        return 0.1 if step < steps_per_epoch else -0.1


@dataclass(frozen=True)
class Late(PiecewiseLinear):
    """Decreasing above some sharpness."""

    def prox(self, latent: Any, sharpness: Any) -> Any:
        return super().prox(latent, sharpness) * (1 if sharpness < 0.5 else -1)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda r: override(r, "optimizer.learning_rate", Falling()), "returned -0.1 at step 7"),
        (lambda r: override(r, "quantization.sharpness", Falling()), "returned -0.1 at step 7"),
        (lambda r: override(r, "quantization.quantizer", Late()), "Late.prox at sharpness 0.6"),
        (lambda r: override(r, "quantization.exclude", ("fc",)), "'fc' matches no layer"),
    ],
)
def test_what_needs_no_data_is_found_without_it(
    change: Callable[[Recipe], Recipe], says: str, tmp_path: Path
) -> None:
    base = override(quantized(), "quantization.sharpness.rho0", 0.1)
    check_without_data(sweep(base).cells)
    with pytest.raises(ConfigurationError, match=says):
        check_without_data(sweep(change(override(base, "quantization.sharpness.rho0", 0.6))).cells)


@dataclass(frozen=True)
class Failing(Factor):
    """A backward map with an error."""

    def factor(self, latent: Any, sharpness: Any) -> Any:
        raise KeyError("missing")


ADADELTA = OptimizerSpec(algorithm=torch.optim.Adadelta, learning_rate=Constant(0.1))


@pytest.mark.parametrize(
    ("base", "changes", "says"),
    [
        ({}, {"backward": Failing()}, r"Failing\.apply .*raised KeyError"),
        ({}, {"backward": Jacobian()}, r"PiecewiseLinear\.pullback: prox cannot be diff"),
        ({"optimizer": ADADELTA}, {"step_scale": 2.0}, "step_scale .*but is Adadelta"),
        ({}, {"quantizer": ShiftedTanh(), "sharpness": Linear(0)}, "sharpness: is 0 at all steps"),
        ({"epochs": 3, "batchnorm_epochs": 0}, {"pull": Linear(0.2501)}, "returned 1.0004"),
        ({"epochs": 1}, {"pull": Linear(0.501)}, "returned 1.002 at step 7"),
        ({"epochs": 1, "steps_per_epoch": 7}, {"pull": Linear(0.53)}, "returned 1.06 at step 7"),
    ],
    ids=["fails", "no derivative", "optimizer", "sharpness", "pull", "one epoch", "of 7 steps"],
)
def test_the_steps_of_a_later_block_are_tried_too(
    base: dict[str, Any], changes: dict[str, Any], says: str
) -> None:
    first = quantized(**base)
    assert first.quantization is not None
    check_without_data(sweep(first).cells)
    cells = sweep(replace(first, quantization=replace(first.quantization, **changes))).cells
    with pytest.raises(ConfigurationError, match=says):
        check_without_data([*sweep(first).cells, *cells])


def test_a_pull_may_exceed_1_after_the_weights_are_frozen() -> None:
    recipe = quantized(epochs=2, batchnorm_epochs=5)
    assert recipe.quantization is not None
    quantization = replace(recipe.quantization, pull=Linear(0.3))
    check_without_data(sweep(replace(recipe, quantization=quantization)).cells)


@dataclass(frozen=True)
class Elsewhere(PiecewiseLinear):
    """Of a device that is not here."""

    def prox(self, latent: Any, sharpness: Any) -> Any:
        raise RuntimeError("no such device")


def test_a_quantizer_for_another_device_is_none_of_this_machines(tmp_path: Path) -> None:
    cells = list(sweep(override(quantized(), "quantization.quantizer", Elsewhere())).cells)
    check_without_data(cells)
    preflight(cells, Storage(tmp_path), tmp_path, runs_here=False)
    with pytest.raises(ConfigurationError, match=r"Elsewhere\.prox .*: no such device"):
        preflight(cells, Storage(tmp_path), tmp_path)


def test_full_precision_is_rehearsed_too(tmp_path: Path) -> None:
    both(sweep(small_recipe()), tmp_path)
    with pytest.raises(ConfigurationError, match="this head is for 3"):
        both(sweep(replace(small_recipe(), model=Particular(3, [2]))), tmp_path)


def test_every_quantizer_must_fit_an_optimizer_without_latents() -> None:
    base = quantized(
        optimizer=bop.optimizer(Constant(0.01)), quantization=bop.quantization(Constant(0.1))
    )
    levels = Axis("set", "quantization.quantizer.levels", (BINARY, TERNARY))
    check_without_data(sweep(base).cells)
    with pytest.raises(ConfigurationError, match=r"algorithm = Bop: the quantizer must be Nearest"):
        check_without_data(sweep(base, levels).cells)


def test_a_setting_without_an_effect_is_refused_in_every_trial(tmp_path: Path) -> None:
    """Also if the rest of its optimizer has been tried with another trial."""
    options = Axis("options", "optimizer.options", {"plain": {}, "lr": {"lr": 0.001}})
    spec = sweep(quantized(), options)  # which can be loaded, because trials may have finished
    preflight([cell for cell in spec.cells if not cell.recipe.optimizer.options], *at(tmp_path))
    for check in (check_without_data, lambda cells: preflight(list(cells), *at(tmp_path))):
        with pytest.raises(ConfigurationError, match=r"OptimizerSpec\.options = \{'lr': 0\.001\}"):
            check(spec.cells)


def at(folder: Path) -> tuple[Storage, Path]:
    return Storage(folder), folder
