"""Sweeps as values: expansion, identity, and what bad ones are told."""

from pathlib import Path
from typing import Any

import pytest

from quantlab import ConfigurationError, Quantization
from quantlab.quantization_sets import BINARY, TERNARY
from quantlab.quantizers.nearest import Nearest
from quantlab.quantizers.piecewise_linear import PiecewiseLinear
from quantlab.schedules import Linear
from quantlab.update_rules import PROX_CONNECT, PROX_QUANT
from sweeps.loading import load_sweep
from sweeps.spec import Axis, Block, SweepSpec
from tests.quantlab.recipes import quantized, small_recipe
from tests.sweeps.sweep_files import TINY, WITH_CHILD

SETS = Axis("set", "quantization.quantizer.levels", {"binary": BINARY, "ternary": TERNARY})


def block(label: str, *rho0: float, **changes: Any) -> Block:
    quantization = Quantization(
        rule=PROX_CONNECT if label == "PC" else PROX_QUANT,
        quantizer=PiecewiseLinear(),
        sharpness=Linear(0.1),
    )
    axes = (SETS, Axis("rho0", "quantization.sharpness.rho0", rho0))
    return Block(label, overrides={"quantization": quantization}, axes=axes, **changes)


def sweep(*blocks: Block, seeds: tuple[int, ...] = (0, 1)) -> SweepSpec:
    return SweepSpec(name="test", base=small_recipe(), blocks=blocks, seeds=seeds)


def test_each_method_has_its_own_rho0() -> None:
    cells = sweep(block("PC", 0.01, 0.02), block("PQ", 1e-4)).cells
    assert len(cells) == 2 * 2 * 2 + 2 * 1 * 2
    assert [cell.name for cell in cells[:3]] == [
        "PC binary rho0=0.01 seed=0",
        "PC binary rho0=0.01 seed=1",
        "PC binary rho0=0.02 seed=0",
    ]
    last = cells[-1]
    assert last.name == "PQ ternary rho0=0.0001 seed=1"
    assert last.coordinates == {"set": "ternary", "rho0": "0.0001"}
    assert last.recipe.quantization is not None
    assert last.recipe.quantization.rule == PROX_QUANT
    assert last.recipe.quantization.sharpness == Linear(1e-4)
    assert last.recipe.seed == 1
    assert len({cell.configuration_id for cell in cells}) == 6


def test_another_seed_adds_only_its_own_cells() -> None:
    before = {cell.fingerprint for cell in sweep(block("PC", 0.01)).cells}
    after = {cell.fingerprint for cell in sweep(block("PC", 0.01), seeds=(0, 1, 2)).cells}
    assert before < after
    assert len(after - before) == 2


def test_the_base_recipe_is_not_changed() -> None:
    spec = sweep(block("PC", 0.01))
    _ = spec.cells
    assert spec.base == small_recipe()


@pytest.mark.parametrize(
    ("blocks", "message"),
    [
        (
            (Block("PC", axes=(Axis("rho0", "quantisation.sharpness.rho0", (0.1,)),)),),
            r"sweep test, block 'PC', axis 'rho0', value '0\.1': path "
            r"'quantisation\.sharpness\.rho0': Recipe has no field 'quantisation'; fields: model",
        ),
        ((block("PC", 0.1, -0.2),), r"value '-0\.2': Linear\.rho0 = -0\.2: .* >= 0"),
        ((Block("A", overrides={"epoch": 3}),), r"block 'A': path 'epoch'"),
        ((Block("A"), Block("B")), r"'A seed=0' of block 'A' and 'B seed=0' of block 'B' are the"),
        ((Block("A"), Block("A")), r"a block label stands there twice"),
        ((), r"at least one block"),
    ],
)
def test_bad_sweeps_are_named(blocks: tuple[Block, ...], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        _ = sweep(*blocks).cells


def test_bad_sets_name_their_axis() -> None:
    for levels, reason in (((1, -1), "unsorted"), ((0, 0), "duplicated"), ((1,), "at least two")):
        axis = Axis("set", "quantization.quantizer.levels", {"mine": levels})
        bad = Block(
            "BC",
            overrides={"quantization": Quantization(rule=PROX_CONNECT, quantizer=Nearest())},
            axes=(axis,),
        )
        with pytest.raises(ConfigurationError, match=rf"axis 'set', value 'mine': .*{reason}"):
            _ = sweep(bad).cells


def test_bad_axes_and_names() -> None:
    with pytest.raises(ConfigurationError, match="axis 'x': values = "):
        Axis("x", "epochs", ())
    with pytest.raises(ConfigurationError, match=r"SweepSpec\.name = 'a/b'"):
        SweepSpec(name="a/b", base=quantized(), blocks=(Block("A"),), seeds=(0,))
    with pytest.raises(ConfigurationError, match="a seed stands there twice"):
        sweep(Block("A"), seeds=(1, 1))


def test_files_are_loaded(tmp_path: Path) -> None:
    file = tmp_path / "my-sweep.py"
    file.write_text(TINY)
    first, again = load_sweep(str(file)), load_sweep(str(file))
    assert [cell.fingerprint for cell in first.cells] == [cell.fingerprint for cell in again.cells]
    assert len(first.cells) == 6


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("SWEEP = 1", "defines no SWEEP"),
        ("x = 1\ny = undefined\n", r"bad\.py, line 2: NameError"),
        ("x = (\n", r"bad\.py, line 1: SyntaxError"),
        ("import nothing_of_this_name", r"line 1: ModuleNotFoundError"),
        (
            "from quantlab.schedules import Linear\n\nrho = Linear(-1)\n",
            r"bad\.py, line 3: Linear\.rho0 = -1",
        ),
    ],
)
def test_bad_files_are_named(text: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "bad.py"
    file.write_text(text)
    with pytest.raises(ConfigurationError, match=message):
        load_sweep(str(file))


def test_unknown_names_list_the_known_ones() -> None:
    with pytest.raises(ConfigurationError, match=r"sweep 'digit': unknown; sweeps: .*digits"):
        load_sweep("digit")
    with pytest.raises(ConfigurationError, match="no such file"):
        load_sweep("nowhere.py")


class Undecorated(Nearest):
    """A field of its own that no dataclass knows of."""

    strength: float = 1.0


def test_labels_do_not_hide_values() -> None:
    axis = Axis("rho0", "quantization.sharpness.rho0", (0.12345671, 0.12345672, 0.1, 1))
    assert list(axis.labelled) == ["0.12345671", "0.12345672", "0.1", "1"]
    with pytest.raises(ConfigurationError, match="axis 'x': a value stands there twice"):
        Axis("x", "epochs", (1, 1.0))


def test_an_axis_may_be_the_method() -> None:
    methods = Axis("method", "quantization.rule", {"PC": PROX_CONNECT, "PQ": PROX_QUANT})
    start = Quantization(rule=PROX_CONNECT, quantizer=PiecewiseLinear(), sharpness=Linear(0.1))
    spec = sweep(Block("all", overrides={"quantization": start}, axes=(methods, SETS)), seeds=(0,))
    assert [cell.name for cell in spec.cells] == [
        "PC binary seed=0",
        "PC ternary seed=0",
        "PQ binary seed=0",
        "PQ ternary seed=0",
    ]
    assert [cell.method for cell in spec.cells] == ["PC", "PC", "PQ", "PQ"]


def test_what_has_no_identity_is_refused() -> None:
    undecorated = Quantization(rule=PROX_CONNECT, quantizer=Undecorated())
    with pytest.raises(ConfigurationError, match=r"block 'A': .*Undecorated must be decorated"):
        _ = sweep(Block("A", overrides={"quantization": undecorated})).cells


def test_two_trials_of_one_name_are_refused() -> None:
    blocks = [
        Block(label, overrides={"epochs": epochs}, axes=(Axis("method", "batch_size", {"FP": 50}),))
        for label, epochs in (("short", 1), ("long", 2))
    ]
    with pytest.raises(ConfigurationError, match="two different trials are called 'FP seed=0'"):
        _ = sweep(*blocks).cells


def fingerprints(text: str, file: Path) -> list[str]:
    file.write_text(text)
    return [cell.fingerprint for cell in load_sweep(str(file)).cells]


def test_a_users_class_is_known_by_its_source(tmp_path: Path) -> None:
    helped = TINY.replace("return torch.tanh(", "return squash(").replace(
        "@dataclass",
        "GAIN = 1\n\n\ndef squash(x):\n    return torch.tanh(GAIN * x)\n\n\n@dataclass",
    )
    before = fingerprints(helped, tmp_path / "a.py")
    assert fingerprints(helped, tmp_path / "b.py") == before
    comment = helped.replace("    return torch", "    # a remark\n    return  torch")
    assert fingerprints(comment, tmp_path / "a.py") == before
    for old, new in (("(1 + sharpness)", "(2 + sharpness)"), ("GAIN = 1", "GAIN = 2")):
        changed = fingerprints(helped.replace(old, new), tmp_path / "a.py")
        assert changed[:2] == before[:2]  # full precision does not use the class
        assert not set(changed[2:]) & set(before[2:])


def test_blocks_may_share_a_method() -> None:
    cells = sweep(
        Block("short", overrides={"epochs": 1}, method="FP"),
        Block("long", overrides={"epochs": 2}, method="FP", seeds=(5,)),
    ).cells
    assert [cell.name for cell in cells] == ["short seed=0", "short seed=1", "long seed=5"]
    assert {cell.method for cell in cells} == {"FP"}


def test_a_block_may_bring_its_own_recipe() -> None:
    own = SweepSpec(name="own", blocks=(Block("a", base=small_recipe()),), seeds=(0,))
    assert own.cells[0].recipe == small_recipe(seed=0)
    with pytest.raises(ConfigurationError, match="block 'a': base = None"):
        SweepSpec(name="none", blocks=(Block("a"),), seeds=(0,))
    with pytest.raises(ConfigurationError, match=r"seeds = \(1, 1\): must be one or more"):
        sweep(Block("a", seeds=(1, 1)))
    with pytest.raises(ConfigurationError, match=r"seeds = \(\): must be one or more"):
        sweep(Block("a", seeds=()))


def test_a_file_may_name_a_trial_with_a_class_of_its_own(tmp_path: Path) -> None:
    """As one does to fine-tune from it."""
    (tmp_path / "own.py").write_text(WITH_CHILD)
    cells = {cell.name: cell for cell in load_sweep(str(tmp_path / "own.py")).cells}
    assert cells["child seed=0"].parent == cells["MD rho0=0.5 seed=0"].fingerprint
