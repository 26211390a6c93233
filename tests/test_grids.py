"""Every sweep that ships expands, with the number of trials written here."""

from dataclasses import replace
from pathlib import Path

import pytest

from analysis.published import published
from analysis.statistics.aggregate import configurations
from analysis.statistics.selection import select
from analysis.tables.accuracy import method_tables, sensitivity_tables
from analysis.text import folded
from quantlab.initial_weights import TrialWeights
from quantlab.schedules import Linear
from sweeps.coordinates import regime
from sweeps.loading import load_sweep, named_sweeps
from sweeps.planning.plan import plan_of
from sweeps.reporting.frames import trials_frame
from sweeps.spec import SweepSpec
from sweeps.storage import Storage
from tests.sweeps.trial_files import ended


def paper_blocks(model: str, *regimes: str, sets: int = 3) -> dict[str, int]:
    """Of the ProxConnect paper's CIFAR-10 experiments on one network."""
    methods = {"BC": 3 * sets, "PQ": 9 * sets, "rPC": 9 * sets, "PC": 9 * sets}
    pretraining = {f"{model} pretraining": 1} if "fine-tuning" in regimes else {}
    return pretraining | {
        f"{model} {regime} {method}": count
        for regime in regimes
        for method, count in methods.items()
    }


RESNET20 = paper_blocks("ResNet20", "fine-tuning", "end-to-end")
RESNET56 = paper_blocks("ResNet56", "fine-tuning", "end-to-end")
IMAGENET = {
    f"resnet18 {regime} {method}": count
    for regime in ("fine-tuning", "end-to-end")
    for method, count in (("BC", 3), ("PC", 6))
}

TABLE_1 = ("BC", "PQ", "PQ*", "PMF*", "GD-tanh", "MD-softmax", "MD-tanh", "MD-softmax-s")
"""Rows of the mirror-descent paper's Table 1, without those of Table 2 and full precision."""
COLUMNS = (
    "CIFAR-10 VGG-16",
    "CIFAR-10 ResNet-18",
    "CIFAR-100 VGG-16",
    "CIFAR-100 ResNet-18",
    "TinyImageNet ResNet-18",
)
"""Columns of its Tables 1 and 5."""
ABLATION = (
    ("float", "float", "no", "pretrained"),
    ("float", "float", "no", "scratch"),
    ("binary", "float", "no", "pretrained"),
    ("binary", "float", "no", "scratch"),
    ("binary", "binary", "no", "pretrained"),
    ("binary", "binary", "no", "scratch"),
    ("binary", "float", "yes", "pretrained"),
    ("binary", "binary", "yes", "pretrained"),
)
"""Rows of its Table 4: first and last layer, bias, scales, and initial weights."""


def cells_of(columns: tuple[str, ...], rows: tuple[str, ...]) -> dict[str, int]:
    """One block per cell of a table, with three seeds."""
    return {f"{column} {row}": 3 for column in columns for row in rows}


MIRROR_DESCENT_SMOKE = {f"{network} FP": 3 for network in ("VGG-16", "ResNet-18")} | {
    f"{network} {name} {method}": 3
    for network in ("VGG-16", "ResNet-18")
    for name in ("binary", "ternary")
    for method in (*TABLE_1, "MD-tanh-s", "BC masked", "PMF")
}
WITH_A_NUMBER = (
    *("PQ", "rPC", "PC", "normal map", "CAGE"),
    *("MD-tanh", "MD-tanh-s", "MD-softmax", "MD-softmax-s", "GD-tanh", "PMF", "PMF*"),
)
METHODS = {
    f"{method} {optimizer}": count
    for optimizer in ("SGD", "Adam")
    for method, count in {
        "FP": 3,
        **dict.fromkeys(("PTQ", "BC", "BNN"), 2 * 3),
        **dict.fromkeys(WITH_A_NUMBER, 3 * 2 * 3),
        **dict.fromkeys(("BNN+", "BNN++", "ReSTE"), 3 * 3),
        "Bi-Real": 3,
    }.items()
}
"""Three values of a method's number, two sets (some methods are binary), three seeds."""

QUANTIZED_NETS = (
    *(f"CIFAR-10 {network}" for network in ("VGG-9", "VGG-BC", "ResNet-56", "WRN-56-2")),
    "CIFAR-100 ResNet-56",
    "ImageNet ResNet-18",
)
"""Panels of Figure 6 of "Training Quantized Nets"."""
ROUNDING = ("BC-ADAM", "BC-SGD", "Big-batch SR-ADAM", "SR-ADAM", "SR-SGD", "R-ADAM")
DECAYED = ("BC-ADAM", "SR-ADAM")
"""Methods that are trained with and without weight decay, as in its Figure 7."""

DECAYED_CELLS = [("VGG-9", method) for method in DECAYED]
SHARES = (0, 0.49, 0.55, 0.75, 0.8, 0.99)
"""Shares of the training."""
ON_BOTH_SETS = (
    *("PTQ", "BC", "PQ", "rPC", "PC", "BNN", "normal map", "CAGE", "BinaryRelax"),
    *("MD-tanh", "MD-tanh-s", "MD-softmax", "MD-softmax-s", "GD-tanh", "PMF", "PMF*"),
    *("SR", "R", "LSBQ", "LSBQ with PC", "PARQ", "ParetoQ"),
)
ON_ONE_SET = (
    *("BNN+", "BNN++", "Bi-Real", "ReSTE", "BWN", "Bop"),
    *("TWN", "TTQ", "PQ-Ternary", "BitNet b1.58"),
)
TAXONOMY = {"FP": 3} | dict.fromkeys(ON_BOTH_SETS, 2 * 3) | dict.fromkeys(ON_ONE_SET, 3)

TERNARY = {"FP": 3} | {
    f"{regime} {method}": count
    for regime in ("end-to-end", "fine-tuning")
    for method, count in {"BC": 3, "PC": 9, "PQ": 9, "MD-tanh-s": 9, "BitNet b1.58": 3}.items()
}
TRANSFORMERS = ("bytes_gpt", "bytes_gpt_smoke", "vit_cifar10")

TRIALS = {
    **dict.fromkeys(TRANSFORMERS, TERNARY),
    "digits": {"FP": 3, "BC": 9, "PQ": 27, "rPC": 27, "PC": 45},
    "cifar10_jpeg_fine_tuning": {"BC": 2, "PQ": 2, "PC": 2},
    "cifar10_jpeg_smoke": {"PQ": 2, "PC": 2},
    "proxconnect": RESNET20 | RESNET56 | IMAGENET,
    "proxconnect_all_images": RESNET20 | RESNET56 | IMAGENET,
    "proxconnect_all_images_resnet20": RESNET20,
    "proxconnect_cifar10": RESNET20 | RESNET56,
    "proxconnect_imagenet": IMAGENET,
    "proxconnect_resnet20": RESNET20,
    "proxconnect_resnet20_end_to_end": paper_blocks("ResNet20", "end-to-end"),
    "proxconnect_resnet20_end_to_end_ternary": paper_blocks("ResNet20", "end-to-end", sets=1),
    "proxconnect_smoke": paper_blocks("ResNet8-w8", "fine-tuning", "end-to-end"),
    "methods": METHODS,
    "methods_smoke": METHODS,
    "mirror_descent_binary": cells_of(COLUMNS, ("FP", *TABLE_1, "MD-tanh-s")),
    "mirror_descent_imagenet": {"FP scratch": 1}
    | {
        f"MD-tanh-s [conv1+fc {ends}, bias {bias}, bn float, layerwise scale {scale}] {start}": 1
        for ends, bias, scale, start in ABLATION
    },
    "mirror_descent_mobilenet": cells_of(
        ("CIFAR-10 MobileNetV2", "CIFAR-100 MobileNetV2"),
        ("FP", "BC", "MD-softmax-s", "MD-tanh-s"),
    ),
    "mirror_descent_hyperparameters": {"CIFAR-10 ResNet-18 MD-tanh-s": 4 * 4 * 5 * 5},
    "mirror_descent_smoke": MIRROR_DESCENT_SMOKE,
    "mirror_descent_ternary": cells_of(
        COLUMNS, ("FP", "PQ", "PQ*", "GD-tanh", "MD-softmax-s", "MD-tanh-s")
    ),
    "quantized_nets": {
        f"{panel} {method}": 1 if "ImageNet" in panel else 3
        for panel in QUANTIZED_NETS
        for method in ("FP", *ROUNDING)
    },
    "quantized_nets_smoke": {
        f"{network} {method}": 6 if network == "VGG-9" and method in DECAYED else 3
        for network in ("VGG-9", "WRN-56-2")
        for method in ("FP", *ROUNDING)
    },
    "quantized_nets_weight_decay": {f"VGG-BC {method}": 6 for method in DECAYED},
    "pull_smoke": dict.fromkeys(
        (f"gradient at {point}{data}" for point in ("w", "w*") for data in ("", ", MNIST-1D")),
        3 * 6 * 7 * 3,
    ),
    "taxonomy": TAXONOMY,
    "taxonomy_smoke": TAXONOMY,
}


def test_every_grid_is_counted_here() -> None:
    assert named_sweeps() == sorted(TRIALS)


@pytest.mark.parametrize("name", TRIALS)
def test_counts_by_block(name: str) -> None:
    sweep = load_sweep(name)
    assert sweep.name == name
    counts = {
        block.label: sum(cell.block == block.label for cell in sweep.cells)
        for block in sweep.blocks
    }
    assert counts == TRIALS[name]
    assert len({cell.fingerprint for cell in sweep.cells}) == sum(TRIALS[name].values())
    assert len({cell.name for cell in sweep.cells}) == sum(TRIALS[name].values())


def test_the_whole_paper_in_numbers(tmp_path: Path) -> None:
    """Trials and GPU-hours of its Tables 5 and 12."""
    plan = plan_of(load_sweep("proxconnect"), Storage(tmp_path))
    costs = {cost["what"]: (cost["trials"], cost["hours"]) for cost in plan["costs"]}
    assert costs == {
        "ResNet20 on CIFAR-10": (181, 271.5),
        "ResNet56 on CIFAR-10": (181, 543),
        "ResNet18 on ImageNet, fine-tuning": (9, 108),
        "ResNet18 on ImageNet, end-to-end": (9, 243),
    }
    assert (plan["trials"], plan["to_run"], plan["waiting"]) == (380, 380, 180)
    assert not list(tmp_path.iterdir())


def test_grids_of_the_mirror_descent_paper_name_its_methods_as_its_tables_do() -> None:
    """Or `--compare mirror-descent-view` would find none of them."""
    printed = published("mirror-descent-view")
    quoted = {"PMF", "BWN", "BR", "ELQ", "ADMM", "QN"}  # numbers of other papers
    for table, name in (
        ("1", "mirror_descent_binary"),
        ("2", "mirror_descent_mobilenet"),
        ("4", "mirror_descent_imagenet"),
        ("5", "mirror_descent_ternary"),
    ):
        cells = load_sweep(name).cells
        rows = printed[printed["table"] == table]
        assert {cell.method for cell in cells} - {"FP"} == set(rows["method"]) - quoted - {"FP"}
        models = {folded(cell.recipe.model.name) for cell in cells}
        assert models == {folded(model) for model in rows["model"]}


def fingerprints(sweep: SweepSpec) -> set[str]:
    return {cell.fingerprint for cell in sweep.cells}


def test_smaller_siblings_are_parts_of_the_whole() -> None:
    for name in TRIALS:
        if name.startswith("proxconnect") and name != "proxconnect_smoke":
            whole = "proxconnect_all_images" if "all_images" in name else "proxconnect"
            sweep = load_sweep(name)
            assert fingerprints(sweep) <= fingerprints(load_sweep(whole))
            assert sweep.experiment == whole


def test_the_study_of_weight_decay_shares_the_trials_without_it() -> None:
    study, whole = load_sweep("quantized_nets_weight_decay"), load_sweep("quantized_nets")
    assert study.experiment == whole.experiment
    shared = [cell for cell in study.cells if cell.coordinates["weight_decay"] == "0"]
    assert len(shared) == 6
    assert {cell.fingerprint for cell in shared} == fingerprints(study) & fingerprints(whole)


def test_the_small_quantized_nets_keep_the_papers_proportions() -> None:
    small = {cell.name: cell.recipe for cell in load_sweep("quantized_nets_smoke").cells}
    for network in ("VGG-9", "WRN-56-2"):
        for method in ("FP", *ROUNDING):
            decay = "weight_decay=0 " if (network, method) in DECAYED_CELLS else ""
            found = small[f"{network} {method} {decay}seed=0"]
            (full,) = (
                cell.recipe
                for cell in load_sweep("quantized_nets").cells
                if cell.name == f"CIFAR-10 {network} {method} seed=0"
            )
            assert found.quantization == full.quantization
            assert found.initial_weights == full.initial_weights
            big = {"VGG-9": 256, "WRN-56-2": 128}[network]
            assert found.batch_size == (big if method == "Big-batch SR-ADAM" else 32)
            assert found.batch_size == full.batch_size / 4
            rates = [
                [each.optimizer.learning_rate.at(int(share * each.epochs), 1) for share in SHARES]
                for each in (found, full)
            ]
            assert rates[0] == rates[1]


def test_the_papers_own_protocol_is_the_same_grid_on_all_images() -> None:
    ours, own = load_sweep("proxconnect"), load_sweep("proxconnect_all_images")
    assert [cell.name for cell in own.cells] == [cell.name for cell in ours.cells]
    for cell, other in zip(own.cells, ours.cells, strict=True):
        assert cell.recipe.dataset == replace(other.recipe.dataset, validation_images=0)
        pretrained = cell.recipe.initial_weights
        assert replace(cell.recipe, dataset=other.recipe.dataset, initial_weights=None) == replace(
            other.recipe, initial_weights=None
        )
        if isinstance(pretrained, TrialWeights):
            assert pretrained.fingerprint in fingerprints(own)


@pytest.mark.parametrize("name", ["proxconnect", "proxconnect_smoke"])
def test_fine_tuning_starts_from_its_own_networks_pretraining(name: str) -> None:
    cells = {cell.fingerprint: cell for cell in load_sweep(name).cells}
    for cell in cells.values():
        if "fine-tuning" in cell.block and "resnet18" not in cell.block:
            assert cell.starts_from is not None
            assert cells[cell.starts_from].method == "FP"
            assert cells[cell.starts_from].recipe.model == cell.recipe.model
        else:
            assert not cell.parents


def test_the_smoke_grid_goes_through_the_papers_rho() -> None:
    """ProxConnect's largest rho, and the sum of ProxQuant's shifts."""
    small = {cell.name: cell.recipe for cell in load_sweep("proxconnect_smoke").cells}
    steps_per_epoch, paper_steps = 34, 391
    for start, pq in (("fine-tuning", "1e-06"), ("end-to-end", "1e-05")):
        for method, rho0 in (("PC", "0.01"), ("PQ", pq)):
            short = f"{100 * float(rho0):g}" if method == "PQ" else rho0
            ours = small[f"ResNet8-w8 {start} {method} binary rho0={short} seed=0"].quantization
            assert ours is not None
            paper = Linear(float(rho0))
            if method == "PC":
                end = ours.sharpness.at(24 * steps_per_epoch, steps_per_epoch)
                assert end == pytest.approx(paper.at(200 * paper_steps, paper_steps), rel=0.03)
            else:
                total = ours.sharpness.cumulative(24 * steps_per_epoch, steps_per_epoch)
                full = paper.cumulative(200 * paper_steps, paper_steps)
                assert total == pytest.approx(full, rel=0.1)


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_grids_of_transformers_have_the_same_annealing(name: str) -> None:
    """ProxConnect's last rho in half-gaps, the sum of ProxQuant's shifts, and the last beta."""
    cells = load_sweep(name).cells
    per_epoch = cells[0].recipe.steps_per_epoch or -(-45_000 // 128)
    for start, method, values in (
        ("end-to-end", "PC", (1, 2, 4)),
        ("fine-tuning", "PQ", (0.8, 8, 80)),
        ("end-to-end", "MD-tanh-s", (33, 1100, 2e7)),
    ):
        found = []
        for cell in cells:
            if cell.block == f"{start} {method}" and cell.recipe.seed == 0:
                assert cell.recipe.quantization is not None
                sharpness = cell.recipe.quantization.sharpness
                steps = cell.recipe.epochs * per_epoch
                last = sharpness.at(steps, per_epoch)
                total = sharpness.cumulative(steps, per_epoch)
                found.append({"PC": last / 0.5, "PQ": total, "MD-tanh-s": last}[method])
        assert found == pytest.approx(values, rel=0.5 if method == "MD-tanh-s" else 0.16)


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_fine_tuning_starts_from_the_network_of_its_own_seed(name: str) -> None:
    cells = {cell.fingerprint: cell for cell in load_sweep(name).cells}
    for cell in cells.values():
        recipe = cell.recipe
        if cell.method != "FP":
            full = cells[cell.starts_from or next(iter(cells))].recipe
            assert recipe.epochs + recipe.batchnorm_epochs == full.epochs
            assert (cell.starts_from is None) == (regime(cell) == "end-to-end")
            assert cell.starts_from is None or full.seed == recipe.seed


def test_two_epochs_of_fine_tuning_go_through_the_papers_range_of_rho() -> None:
    cells = load_sweep("cifar10_jpeg_fine_tuning").cells
    assert {regime(cell) for cell in cells} == {"fine-tuning"}
    per_epoch = -(-49_000 // 128)
    steps = 2 * per_epoch
    annealed = {
        cell.method: cell.recipe.quantization.sharpness
        for cell in cells
        if cell.recipe.quantization and cell.recipe.quantization.quantizer.annealed
    }
    for half_gap, share in ((0.5, 1 / 4), (1.0, 1 / 2)):
        reached = next(t for t in range(steps) if annealed["PC"].at(t, per_epoch) >= half_gap)
        assert reached / steps == pytest.approx(share, abs=0.02)
    assert annealed["PQ"].cumulative(steps, per_epoch) == pytest.approx(7.4, abs=0.05)


def test_fine_tuning_and_end_to_end_are_told_apart() -> None:
    assert {regime(cell) for cell in load_sweep("digits").cells} == {"end-to-end"}


def test_the_smoke_grids_report_has_the_papers_tables(tmp_path: Path) -> None:
    """Tables 2 and 3, and 6 to 11, from results that are made up."""
    sweep, storage = load_sweep("proxconnect_smoke"), Storage(tmp_path)
    for number, cell in enumerate(sweep.cells):
        folder = storage.trial(cell.fingerprint)
        folder.path.mkdir(parents=True)
        score = 0.5 + number / 1000
        folder.result.write(ended(validation_accuracy=score, test_accuracy=score))
    table = configurations(trials_frame(sweep, storage))
    sensitivity, methods = sensitivity_tables(table), method_tables(select(table))
    sets = ["binary", "ternary", "quaternary"]
    assert [item.caption.split(": ")[1].split(", Digits")[0] for item in sensitivity] == [
        f"{method}, {start}"
        for start in ("fine-tuning", "end-to-end")
        for method in ("PQ", "rPC", "PC")
    ]
    for item in sensitivity:
        assert list(item.body["set"]) == sets
        assert item.body.shape == (3, 2 + 3)
    regimes = [item.caption.split(": ")[1].split(", ")[0] for item in methods]
    assert regimes == ["end-to-end", "fine-tuning"]
    for item in methods:
        assert list(item.body.columns) == ["model", "set", "BC", "PQ", "rPC", "PC"]
        assert list(item.body["set"]) == sets
    assert "n full precision: ResNet8-w8 50.00" in methods[0].caption
