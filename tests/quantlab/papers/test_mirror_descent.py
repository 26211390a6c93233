"""The mirror-descent paper's hyper-parameters against a second transcription of its tables."""

import csv
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from quantlab import ConfigurationError, Recipe, fingerprint, flatten
from quantlab.initial_weights import TorchvisionWeights
from quantlab.models.he_scales import HeScales
from quantlab.papers.mirror_descent import (
    BC,
    BC_MASKED,
    BINARY_METHODS,
    COLUMNS,
    EPOCHS,
    GD_TANH,
    MD_SOFTMAX,
    MD_SOFTMAX_S,
    MD_TANH,
    MD_TANH_S,
    MOBILENET_METHODS,
    PMF,
    PMF_AUTHORS,
    PQ,
    PQ_FLOAT,
    SETS,
    TERNARY_METHODS,
    Algorithm,
    Annealing,
    recipe,
)
from quantlab.papers.mirror_descent_imagenet import TABLE_4, imagenet
from quantlab.papers.mirror_descent_settings import (
    BINARY_SETTINGS,
    IMAGENET_SETTINGS,
    MOBILENET_SETTINGS,
    SEARCH_SPACE,
    TERNARY_SETTINGS,
    Setting,
    published_setting,
)
from quantlab.quantization_sets import BINARY, TERNARY

CSV = Path(__file__).with_name("mirror_descent_hyperparameters.csv")
ROWS = list(csv.DictReader(CSV.read_text(encoding="utf-8").splitlines()))
"""Tables 8 to 10 as somebody else has typed them. Empty fields are dashes or, for the weight decay
of TinyImageNet, missing in the paper."""
METHODS = {
    method.name: method for method in (*BINARY_METHODS, *TERNARY_METHODS, *MOBILENET_METHODS)
}
STEPS = {"CIFAR-10": 352, "CIFAR-100": 352, "TinyImageNet": 782}
"""Gradient steps per epoch: 45,000 and 100,000 images in batches of 128."""


def recipe_of(row: dict[str, str]) -> Recipe:
    method = METHODS.get(row["method"])
    assert (method is None) == (row["method"] == "REF (float)")
    return recipe(
        method,
        SETS[row["quantization"].lower()],
        dataset_name=row["dataset"],
        network_name=row["model"],
    )


def name_of(row: dict[str, str]) -> str:
    return " ".join((row["table"], row["dataset"], row["model"], row["method"]))


def test_both_transcriptions_have_78_columns() -> None:
    tables = (BINARY_SETTINGS, TERNARY_SETTINGS, MOBILENET_SETTINGS)
    assert len(ROWS) == 78
    assert sum(len(settings) for table in tables for settings in table.values()) == 78
    assert len({name_of(row) for row in ROWS}) == 78


@pytest.mark.parametrize("row", ROWS, ids=name_of)
def test_every_row_is_the_recipe_that_is_built(row: dict[str, str]) -> None:
    built = recipe_of(row)
    steps = STEPS[row["dataset"]]
    optimizer, quantization = built.optimizer, built.quantization
    rate, rates = float(row["learning_rate"]), optimizer.learning_rate
    scale = float(row["lr_scale"] or 1)
    for step, drops in ((0, 0), (29_999, 0), (30_000, 1), (60_000, 2), (99_999, 3)):
        assert rates.at(step, steps) == pytest.approx(rate * scale**drops, rel=1e-12)
    is_reference = row["optimizer"] == "SGD momentum 0.9"
    assert optimizer.algorithm is (torch.optim.SGD if is_reference else torch.optim.Adam)
    (group,) = optimizer.build([torch.nn.Parameter(torch.zeros(1))]).param_groups
    assert group.get("momentum", 0) == (0.9 if is_reference else 0)
    missing = 1e-4 if row["method"] in ("REF (float)", "PQ*") else 0  # of TinyImageNet
    assert group["weight_decay"] == float(row["weight_decay"] or missing)
    if not row["beta_scale"]:
        assert quantization is None or not quantization.quantizer.annealed
        return
    assert quantization is not None
    growth = float(row["beta_scale"])
    if not row["beta_scale_interval"]:  # ProxQuant
        strengths = quantization.sharpness
        for epoch in (0, 1, 84, EPOCHS[row["dataset"]] - 1):
            step = epoch * steps
            expected = rates.at(step, steps) * growth * epoch
            assert strengths.at(step, steps) == pytest.approx(expected, rel=1e-12)
        return
    beta = quantization.step_scale or quantization.sharpness
    assert (quantization.step_scale is None) == (row["method"] not in ("MD-tanh", "MD-softmax"))
    interval = int(row["beta_scale_interval"])
    for step in (0, 1, interval, interval + 1, 99_999):
        expected = min(growth ** math.ceil(step / interval), 1e35)
        assert beta.at(step, steps) == pytest.approx(expected, rel=1e-9)


def test_the_cap_of_beta_binds_for_one_published_setting() -> None:
    """1.1 to the power of 1000 exceeds 1e35; the next largest beta ends at 1.5e21."""
    last = {
        name_of(row): float(row["beta_scale"])
        ** math.ceil(100_000 / int(row["beta_scale_interval"]))
        for row in ROWS
        if row["beta_scale_interval"]
    }
    assert [name for name, beta in last.items() if beta > 1e22] == [
        "9 CIFAR-100 ResNet-18 MD-softmax-s"
    ]
    quantization = recipe(MD_SOFTMAX_S, TERNARY, dataset_name="CIFAR-100").quantization
    assert quantization is not None
    assert quantization.sharpness.at(99_999, 352) == 1e35


def test_the_numbers_of_a_whole_experiment() -> None:
    """Table 6, B.4, and the public code where the paper is silent."""
    flat = flatten(recipe(MD_TANH_S, dataset_name="CIFAR-100", network_name="VGG-16"))
    expected = {
        "model": "VGG16",
        "model.width": 64,
        "model.affine": False,
        "model.initialization": "xavier",
        "dataset": "CIFAR100",
        "dataset.validation_images": 5000,
        "dataset.validation_split": "last",
        "dataset.std": "0.2023, 0.1994, 0.201",
        "dataset.augmentation.padding": 4,
        "dataset.augmentation.flip": True,
        "epochs": 285,
        "batchnorm_epochs": 0,
        "batch_size": 128,
        "select": "best",
        "initial_weights": None,
        "quantization.quantizer": "ShiftedTanh",
        "quantization.quantizer.levels": "-1, 1",
        "quantization.quantizer.beta": None,
        "quantization.rule.gradient_at": "proximal",
        "quantization.rule.update_from": "latent",
        "quantization.backward": "StraightThrough",
        "quantization.exclude": "",
        "quantization.include": "*.bias",
        "quantization.sharpness.value": 1.0,
        "quantization.sharpness.cap": 1e35,
        "quantization.sharpness.after_first": True,
    }
    assert {path: flat[path] for path in expected} == expected
    assert 100_000 <= 285 * 352 < 100_000 + 352
    assert 100_000 <= EPOCHS["TinyImageNet"] * 782 < 100_000 + 782
    tiny = flatten(recipe(MD_TANH_S, dataset_name="TinyImageNet"))
    assert (tiny["model.stem_stride"], tiny["dataset.validation_split"]) == (2, "test")


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        (MD_TANH, ("ShiftedTanh", 1.0, "StraightThrough", Annealing.STEP)),
        (MD_TANH_S, ("ShiftedTanh", None, "StraightThrough", Annealing.PROJECTION)),
        (GD_TANH, ("ShiftedTanh", None, "Jacobian", Annealing.PROJECTION)),
        (MD_SOFTMAX, ("Softmax", 1.0, "StraightThrough", Annealing.STEP)),
        (MD_SOFTMAX_S, ("Softmax", None, "StraightThrough", Annealing.PROJECTION)),
        (PMF, ("Softmax", None, "Jacobian", Annealing.PROJECTION)),
        (PMF_AUTHORS, ("Softmax", None, "SoftmaxShortcut", Annealing.PROJECTION)),
        (BC, ("Nearest", "no such field", "StraightThrough", Annealing.NOTHING)),
        (BC_MASKED, ("Nearest", "no such field", "ClippedIdentity", Annealing.NOTHING)),
        (PQ, ("PiecewiseLinear", "no such field", "StraightThrough", Annealing.REGULARIZER)),
    ],
    ids=lambda value: value.name if isinstance(value, Algorithm) else "",
)
def test_each_method_is_its_row_of_the_table(method: Algorithm, expected: Any) -> None:
    quantization = recipe(method).quantization
    assert quantization is not None
    assert expected == (
        type(quantization.quantizer).__name__,
        getattr(quantization.quantizer, "beta", "no such field"),
        type(quantization.backward).__name__,
        method.annealing,
    )


@pytest.mark.parametrize(
    ("levels", "network", "in_full_precision"),
    [
        (BINARY, "VGG-16", {"linear1", "linear2", "linear3"}),
        (TERNARY, "VGG-16", {"features.0.0", "linear1", "linear2", "linear3"}),
        (BINARY, "ResNet-18", {"linear", *(f"layer{n}.0.shortcut.0" for n in (2, 3, 4))}),
        (
            TERNARY,
            "ResNet-18",
            {"conv1", "linear", *(f"layer{n}.0.shortcut.0" for n in (2, 3, 4))},
        ),
    ],
)
def test_proxquants_original_setup_leaves_some_layers(
    levels: tuple[float, ...], network: str, in_full_precision: set[str]
) -> None:
    """Captions of Tables 1 and 5. All other methods quantize every parameter."""
    for method in (PQ_FLOAT, PQ):
        built = recipe(method, levels, network_name=network)
        with torch.device("meta"):
            model = built.model.build(num_classes=10, num_channels=3)
        assert built.quantization is not None
        quantized = built.quantization.group_of_weights(model)
        left = {name for name, _ in model.named_parameters()} - set(quantized)
        weights = {name.removesuffix(".weight") for name in left if name.endswith(".weight")}
        assert weights == (in_full_precision if method is PQ_FLOAT else set())
        assert any(name.endswith("bias") for name in left) == (method is PQ_FLOAT)


def test_counts_of_the_tables() -> None:
    """Table 1 without the quoted row has 10 rows, Table 5 has 6, Table 2 has 4."""
    for methods, count in ((BINARY_METHODS, 10), (TERNARY_METHODS, 6), (MOBILENET_METHODS, 4)):
        assert len(methods) + 1 == count
    assert len(COLUMNS) == 5
    built = {
        fingerprint(recipe(method, SETS[name], dataset_name=dataset, network_name=network))
        for name, methods in (("binary", BINARY_METHODS), ("ternary", TERNARY_METHODS))
        for dataset, network in COLUMNS
        for method in methods
    }
    assert len(built) == 5 * 9 + 5 * 5


def test_the_search_space_contains_what_was_chosen() -> None:
    """Table 7. ProxQuant's rates and the rows of REF are not from this space."""
    assert [len(values) for values in SEARCH_SPACE.values()] == [4, 4, 5, 5]
    for row in ROWS:
        if row["beta_scale_interval"]:
            for name, values in SEARCH_SPACE.items():
                assert float(row[name]) in values


def test_imagenet_is_table_11() -> None:
    scratch, pretrained = imagenet(TABLE_4[1]), imagenet(TABLE_4[0])
    reference = imagenet(None)
    assert reference.quantization is None
    for built, rate, batch, epochs, warmup, interval in (
        (reference, 2.048, 2048, 90, 8, None),
        (scratch, 2.048, 2048, 90, 8, 62),
        (pretrained, 0.0768, 256, 55, 0, 275),
    ):
        flat = flatten(built)
        assert flat["optimizer.algorithm"] == "torch.optim.SGD"
        assert flat["optimizer.options.momentum"] == 0.875
        assert flat["optimizer.options.weight_decay"] == 3.0517e-05
        assert (built.batch_size, built.epochs, built.select) == (batch, epochs, "last")
        steps = 1_281_167 // batch + 1
        highest = max(built.optimizer.learning_rate.at(e * steps, steps) for e in range(epochs))
        assert highest == pytest.approx(rate)
        assert built.optimizer.learning_rate.at(warmup * steps, steps) == pytest.approx(rate)
        if interval is not None:
            assert built.quantization is not None
            assert built.quantization.sharpness.at(interval, steps) == pytest.approx(1.02)
            assert built.quantization.sharpness.at(interval + 1, steps) == pytest.approx(1.02**2)
    assert isinstance(pretrained.initial_weights, TorchvisionWeights)
    assert scratch.initial_weights is None
    assert set(IMAGENET_SETTINGS) == {"REF", "scratch", "pretrained"}


def test_batch_normalization_on_imagenet_has_no_weight_decay() -> None:
    built = imagenet(TABLE_4[1])
    with torch.device("meta"):
        model = built.model.build(num_classes=10, num_channels=3)
    (members,) = built.optimizer.members_of_groups(model)
    expected = {name for name, _ in model.named_parameters() if ".bn" in f".{name}"}
    expected |= {name for name, _ in model.named_parameters() if "downsample.1" in name}
    found = {name for name, one in model.named_parameters() if any(one is own for own in members)}
    assert found == expected
    assert len(found) == 40


def test_the_eight_rows_of_the_ablation() -> None:
    """Table 4: pretrained, first and last layer, bias, scales."""
    seen = []
    for row in TABLE_4:
        built = imagenet(row)
        with torch.device("meta"):
            model = built.model.build(num_classes=10, num_channels=3)
        assert built.quantization is not None
        names = set(built.quantization.group_of_weights(model))
        seen.append(
            (
                built.initial_weights is not None,
                "conv1.weight" in names and "fc.weight" in names,
                "fc.bias" in names,
                isinstance(built.model, HeScales),
            )
        )
    assert seen == [
        (True, False, False, False),
        (False, False, False, False),
        (True, True, False, False),
        (False, True, False, False),
        (True, True, True, False),
        (False, True, True, False),
        (True, True, False, True),
        (True, True, True, True),
    ]
    assert len({fingerprint(imagenet(row)) for row in TABLE_4}) == 8


@pytest.mark.parametrize(
    ("dataset", "network", "method", "num_levels"),
    [
        ("CIFAR-10", "ResNet-18", "MD-tanh", 3),
        ("CIFAR-10", "ResNet-18", "BC", 4),
        ("TinyImageNet", "VGG-16", "BC", 2),
        ("CIFAR-10", "MobileNetV2", "PQ", 2),
    ],
)
def test_what_the_paper_did_not_tune_needs_a_setting(
    dataset: str, network: str, method: str, num_levels: int
) -> None:
    with pytest.raises(ConfigurationError, match=f"^method = '{method}': must be one of"):
        published_setting(dataset, network, method, num_levels=num_levels)


@pytest.mark.parametrize(
    ("method", "says"),
    [(MD_TANH_S, "beta_scale_interval = None"), (MD_TANH, "None"), (PQ, "for PQ")],
)
def test_an_annealed_method_needs_its_hyper_parameters(method: Algorithm, says: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"beta_scale = None.*{says}"):
        method.quantization(BINARY, Setting(0.1))


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"^method = "):
        recipe(BC, dataset_name="MNIST")
    setting = published_setting("CIFAR-10", "ResNet-18", "BC", num_levels=2)
    with pytest.raises(ConfigurationError, match=r"^network = "):
        recipe(BC, network_name="LeNet", setting=setting)
    with pytest.raises(ConfigurationError, match=r"^dataset = "):
        recipe(BC, dataset_name="MNIST", setting=setting)
    with pytest.raises(ConfigurationError, match=r"^dataset = 'ImageNet': must be one of"):
        recipe(BC, dataset_name="ImageNet", setting=setting)
