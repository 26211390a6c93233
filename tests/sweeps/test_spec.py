"""Sweeps as values: expansion, identity, and what bad ones are told."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from analysis.schema import Measurements
from quantlab import ConfigurationError, Distillation, Quantization
from quantlab.initial_weights import TrialWeights
from quantlab.models.convnet import ConvNet
from quantlab.quantization_sets import BINARY, TERNARY
from quantlab.quantizers.nearest import Nearest
from quantlab.quantizers.piecewise_linear import PiecewiseLinear
from quantlab.schedules import Linear
from quantlab.update_rules import PROX_CONNECT, PROX_QUANT
from sweeps.loading import load_study, load_sweep
from sweeps.reporting.frames import trials_frame
from sweeps.spec import Axis, Block, PublishedCost, SweepSpec
from sweeps.storage import Storage
from tests.quantlab.recipes import quantized, small_recipe
from tests.sweeps.sweep_files import TINY, WITH_CHILD

SETS = Axis("set", "quantization.quantizer.levels", {"binary": BINARY, "ternary": TERNARY})

SIZES = (Axis("size", "batch_size", (16, 32)),)


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
            r"'quantisation\.sharpness\.rho0': Recipe has no field 'quantisation' .* model",
        ),
        ((block("PC", 0.1, -0.2),), r"value '-0\.2': Linear\.rho0 = -0\.2: .* >= 0"),
        ((Block("A", overrides={"epoch": 3}),), r"block 'A': path 'epoch'"),
        ((Block("A"), Block("B")), r"'A seed=0' of block 'A' and 'B seed=0' of block 'B' are the"),
        ((Block("A"), Block("A")), r"blocks: two of them have the label 'A'"),
        ((), r"at least one block"),
    ],
)
def test_bad_sweeps_are_named(blocks: tuple[Block, ...], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        _ = sweep(*blocks).cells


def test_bad_sets_name_their_axis() -> None:
    for levels, reason in (((1, -1), "precedes"), ((0, 0), "duplicated"), ((1,), "at least two")):
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
    with pytest.raises(ConfigurationError, match=r"sweep test: seeds = \(1, 1\): .* each once"):
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
        ("SWEEP = 1", "must define SWEEP"),
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
    with pytest.raises(
        ConfigurationError, match=r"sweep 'digit' is unknown \(did you .*\); give one of .*digits"
    ):
        load_sweep("digit")
    with pytest.raises(ConfigurationError, match="the file does not exist"):
        load_sweep("nowhere.py")


def test_names_of_the_other_kind_name_the_other_command() -> None:
    with pytest.raises(ConfigurationError, match=r"^'digits_bits' is a study; use"):
        load_sweep("digits_bits")
    with pytest.raises(ConfigurationError, match=r"^'digits' is a sweep; use"):
        load_study("digits")


class Undecorated(Nearest):
    """A field of its own that no dataclass knows of."""

    strength: float = 1.0


def test_labels_do_not_hide_values() -> None:
    axis = Axis("rho0", "quantization.sharpness.rho0", (0.12345671, 0.12345672, 0.1, 1))
    assert list(axis.labelled) == ["0.12345671", "0.12345672", "0.1", "1"]
    with pytest.raises(ConfigurationError, match=r"axis 'x': values = .*must have each value once"):
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
    with pytest.raises(
        ConfigurationError,
        match=r"block 'A', override 'quantization': .*Undecorated must be a frozen dataclass",
    ):
        _ = sweep(Block("A", overrides={"quantization": undecorated})).cells


def test_two_trials_of_one_name_are_refused() -> None:
    blocks = [
        Block(label, overrides={"epochs": epochs}, axes=(Axis("method", "batch_size", {"FP": 50}),))
        for label, epochs in (("short", 1), ("long", 2))
    ]
    with pytest.raises(ConfigurationError, match="two different trials have the name 'FP seed=0'"):
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


def test_a_block_starts_from_the_trials_of_its_own_seeds() -> None:
    first = small_recipe()
    tuned = Block("tuned", overrides={"epochs": 2}, axes=SIZES, starts_from=first)
    own = sweep(Block("FP"), tuned, Block("short", overrides={"epochs": 2}, axes=SIZES))
    parents = {cell.fingerprint: cell for cell in own.cells if cell.block == "FP"}
    found = [cell for cell in own.cells if cell.block == "tuned"]
    assert len(found) == 4
    for cell in found:
        assert cell.starts_from is not None
        assert parents[cell.starts_from].recipe.seed == cell.recipe.seed
    by_size = {cell.coordinates["size"]: cell.configuration_id for cell in found}
    assert {cell.configuration_id for cell in found} == set(by_size.values())
    assert len(by_size) == 2
    other = {cell.configuration_id for cell in own.cells if cell.block != "tuned"}
    assert not other & set(by_size.values())
    longer = sweep(Block("tuned", starts_from=small_recipe(epochs=9)))
    assert longer.cells[0].configuration_id not in by_size.values()
    with pytest.raises(ConfigurationError, match=r"block 'b'.*initial_weights = .*: must be None"):
        _ = sweep(Block("b", base=found[0].recipe, starts_from=first)).cells


def test_a_block_is_taught_by_the_trials_of_its_own_seeds(tmp_path: Path) -> None:
    first = small_recipe(model=ConvNet(width=6))
    settings = Distillation(teacher=TrialWeights("0" * 16), temperature=2)
    taught = Block(
        "taught",
        overrides={"distillation": settings},
        axes=(Axis("share", "distillation.weight", (0.5, 1)),),
        taught_by=first,
        starts_from=small_recipe(),
    )
    own = sweep(Block("FP"), Block("teachers", base=first), taught)
    cells = {cell.fingerprint: cell for cell in own.cells}
    found = [cell for cell in own.cells if cell.block == "taught"]
    for cell in found:
        assert [cells[one].block for one in cell.parents] == ["FP", "teachers"]
        assert {cells[one].recipe.seed for one in cell.parents} == {cell.recipe.seed}
        distillation = cell.recipe.distillation
        assert distillation is not None
        assert (distillation.model, distillation.temperature) == (first.model, 2)
    assert len({cell.configuration_id for cell in found}) == 2
    frame = Measurements(trials_frame(own, Storage(tmp_path))).trials
    assert "axis.distillation" not in frame  # their share is an axis already
    with pytest.raises(ConfigurationError, match=r"block 'b'.*distillation = None: must be a Dist"):
        _ = sweep(Block("b", taught_by=first)).cells


def test_a_file_may_name_a_trial_with_a_class_of_its_own(tmp_path: Path) -> None:
    """As one does to fine-tune from it."""
    (tmp_path / "own.py").write_text(WITH_CHILD)
    cells = {cell.name: cell for cell in load_sweep(str(tmp_path / "own.py")).cells}
    assert cells["child seed=0"].parents == (cells["MD rho0=0.5 seed=0"].fingerprint,)


RHO0 = "quantization.sharpness.rho0"


def cells_of(path: str, values: Any, **changes: Any) -> list[tuple[str, str]]:
    """Names and fingerprints of a sweep over one axis."""
    spec = SweepSpec(
        name="test",
        base=quantized(),
        blocks=(Block("PC", axes=(Axis("x", path, values),)),),
        **({"seeds": (0,)} | changes),
    )
    return [(cell.name, cell.fingerprint) for cell in spec.cells]


@pytest.mark.parametrize(
    ("path", "values", "same"),
    [
        (RHO0, np.array([0.1, 1.0]), (0.1, 1.0)),
        (RHO0, np.array([0.1, 1.0], dtype=np.float32), (0.1, 1.0)),
        (RHO0, torch.tensor([0.1, 1.0]), (0.1, 1.0)),
        (RHO0, torch.tensor([0.1, 1.0], dtype=torch.float64, requires_grad=True), (0.1, 1.0)),
        (RHO0, torch.tensor([0.5, 1.0], dtype=torch.bfloat16), (0.5, 1.0)),
        (RHO0, (np.float16(0.1), np.longdouble(0.5)), (0.1, 0.5)),
        (RHO0, pd.Series([0.1, 1.0], index=["a", "b"]), (0.1, 1.0)),
        (RHO0, {"low": np.float64(0.1), "high": np.int8(1)}, {"low": 0.1, "high": 1}),
        ("batch_size", range(16, 64, 16), (16, 32, 48)),
        ("batch_size", 2 ** np.arange(5, 7), (32, 64)),
        ("quantization.quantizer.levels", np.array([[-1, 0, 1], [-2, 0, 2]]), None),
        ("quantization.quantizer.levels", {"t": np.array([-1, 0, 1])}, {"t": (-1, 0, 1)}),
        ("quantization.latent_bound", (None, np.float64(1)), (None, 1.0)),
        ("optimizer.options.nesterov", np.array([True, False]), (True, False)),
    ],
)
def test_numbers_of_other_libraries_are_numbers(path: str, values: Any, same: Any) -> None:
    same = ((-1, 0, 1), (-2, 0, 2)) if same is None else same
    assert cells_of(path, values) == cells_of(path, same)


def test_seeds_may_be_ranges_and_arrays() -> None:
    expected = cells_of(RHO0, (0.1,), seeds=(3, 4))
    for seeds in ([3, 4], range(3, 5), np.arange(3, 5), torch.arange(3, 5), (np.int64(3), 4)):
        assert cells_of(RHO0, (0.1,), seeds=seeds) == expected


def test_values_name_themselves() -> None:
    axis = Axis("x", "model.hidden", (None, True, False, 1, (8,), (8, 0.5), "a\tb", 10**50))
    assert list(axis.labelled)[:7] == ["None", "True", "False", "1", "(8,)", "(8, 0.5)", "a b"]
    for value, reason in (
        (Nearest(), r"the value Nearest.* needs a label: give a mapping .*'mine': Nearest\("),
        (tuple(range(100)), ".* needs a label"),
        (1j, ".* needs a label"),
    ):
        with pytest.raises(ConfigurationError, match=f"axis 'x': {reason}"):
            Axis("x", "epochs", (value,))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Axis("x", "epochs", (n for n in (1, 2))), r"not generator; convert it with tuple"),  # type: ignore[arg-type]
        (lambda: Axis("x", "epochs", {1, 2}), r"axis 'x': values = \{1, 2\}: must be a tuple"),  # type: ignore[arg-type]
        (lambda: Axis("x", "epochs", None), "axis 'x': values = None: must be a tuple"),  # type: ignore[arg-type]
        (lambda: Axis("x", "epochs", "ab"), "axis 'x': values = 'ab': must be a tuple"),
        (lambda: Axis("x", "epochs", np.array(3)), r"axis 'x': values = array\(3\)"),  # type: ignore[arg-type]
        (lambda: Axis("x", "epochs", range(10**12)), "at most 100,000 items, but has 1,000,000"),
        (lambda: Axis("x", "epochs", {1: 1}), "axis 'x': label = 1: must be text, such as '1'"),  # type: ignore[dict-item]
        (lambda: Axis("x", "epochs", {None: 1}), "axis 'x': label = None: must be text"),  # type: ignore[dict-item]
        (
            lambda: Axis("x", "epochs", {"a b": 1, "a\nb": 2}),
            "axis 'x': values = .*must have each value once",
        ),
        (lambda: Axis("x", None, (1,)), "axis 'x': path = None: must be names of fields"),  # type: ignore[arg-type]
        (lambda: Axis("x", "seed", (1,)), "axis 'x': path = 'seed': must not be the seed; set"),
        (lambda: Axis(None, "epochs", (1,)), "axis None: the name must start with a letter"),  # type: ignore[arg-type]
        (lambda: Axis("seed", "epochs", (1,)), "axis 'seed': the name is reserved"),
        (lambda: Axis("x", "epochs", {"a": torch.empty(1, device="meta")}), "no plain numbers"),
        (lambda: Block(5), "Block.label = 5: must be text, such as '5', not int"),  # type: ignore[arg-type]
        (lambda: Block(""), "Block.label = '': must have 1 to 200 characters"),
        (lambda: Block("x" * 300), r"Block.label = 'xx.*but has 300"),
        (lambda: Block("a\udcff"), r"Block.label = 'a\\udcff': .*is invisible"),
        (lambda: Block("a\x1b[1m"), r"Block.label = 'a\\x1b\[1m': .*is invisible"),
        (lambda: Block("P\u202eC"), r"Block.label = 'P\\u202eC': .*is invisible"),
        (lambda: Block("P\u200bC"), r"Block.label = 'P\\u200bC': .*is invisible"),
        (lambda: Block("A", axes=SETS), r"axes = Axis\(.*a tuple with one item needs a comma"),  # type: ignore[arg-type]
        (lambda: Block("A", axes=None), "block 'A': axes = None: must be a tuple"),  # type: ignore[arg-type]
        (lambda: Block("A", axes=(("x", "epochs", (1,)),)), r"axes: \('x', .*must be Axis\("),  # type: ignore[arg-type]
        (lambda: Block("A", axes=(SETS, SETS)), "two of them have the name 'set'"),
        (
            lambda: Block("A", axes=(Axis("a", RHO0, (1,)), Axis("b", "quantization", {"q": 1}))),
            "axis 'b' replaces what axis 'a' sets .*put it before",
        ),
        (
            lambda: Block("A", overrides=[("epochs", 3)]),
            r"overrides = \[\('epochs', 3\)\]: must be",
        ),  # type: ignore[arg-type]
        (lambda: Block("A", overrides={3: 3}), "overrides: 3: must be text"),  # type: ignore[dict-item]
        (
            lambda: Block("A", overrides={"seed": 3}),
            "overrides has 'seed': must not set the seed; set",
        ),
        (lambda: Block("A", cost=5), r"cost = 5: must be PublishedCost\(\.\.\.\) or None"),  # type: ignore[arg-type]
        (lambda: Block("A", base={"epochs": 3}), r"base = \{'epochs': 3\}: must be Recipe"),  # type: ignore[arg-type]
        (lambda: Block("A", starts_from="FP"), "starts_from = 'FP': must be Recipe"),  # type: ignore[arg-type]
        (lambda: Block("A", taught_by="FP"), "taught_by = 'FP': must be Recipe"),  # type: ignore[arg-type]
        (lambda: Block("A", method=3), "block 'A': method = 3: must be text"),  # type: ignore[arg-type]
        (lambda: Block("A", seeds=(-1,)), "block 'A': seeds: -1: must be an integer from 0 to"),
        (lambda: PublishedCost("a", float("nan"), "b", "c"), "PublishedCost.hours = nan"),
        (lambda: PublishedCost("a", 1.0, "b", 3), "PublishedCost.source = 3: must be text"),  # type: ignore[arg-type]
        (lambda: sweep(Block("A"), seeds=(True,)), "seeds: True: must be an integer"),
        (lambda: sweep(Block("A"), seeds=(0.0,)), r"seeds: 0\.0: must be an integer"),  # type: ignore[arg-type]
        (lambda: sweep(Block("A"), seeds=(2**63,)), "seeds: 9223372036854775808: must be"),
        (lambda: sweep(Block("A"), seeds=3), "seeds = 3: must be a tuple, such as"),  # type: ignore[arg-type]
        (lambda: sweep(Block("A"), seeds=(n for n in (1, 2))), "not generator"),  # type: ignore[arg-type]
        (lambda: SweepSpec(name="a", blocks=Block("A"), seeds=(0,)), "needs a comma"),  # type: ignore[arg-type]
        (
            lambda: SweepSpec(name=3, blocks=(), seeds=(0,)),
            r"SweepSpec\.name = 3: must be text of letters",
        ),  # type: ignore[arg-type]
        (lambda: SweepSpec(name="名" * 40, blocks=(), seeds=(0,)), "at most 100 bytes"),
        (lambda: SweepSpec(name="a", base={}, blocks=(), seeds=(0,)), r"base = \{\}: must be"),  # type: ignore[arg-type]
        (
            lambda: sweep(Block("A", axes=(Axis("x", "epochs", range(1, 60_000)),))),
            "sweep test: has 119,998 trials; must have at most 100,000",
        ),
    ],
)
def test_what_makes_no_sweep_is_named(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as raised:
        make()
    assert len(str(raised.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("axis", "message"),
    [
        (
            Axis("x", "quantization.quantizer", {"mine": Undecorated()}),
            "axis 'x', value 'mine': .*Undecorated must be a frozen dataclass",
        ),
        (
            Axis("x", "quantization.quantizer.levels.²", (1,)),
            "'²' must be a whole number >= 0 and < ",
        ),
        (
            Axis("x", "quantization.quantizer.levels.3", (1,)),
            "'3' must be a whole number >= 0 and < ",
        ),
    ],
)
def test_a_value_without_a_form_names_its_axis(axis: Axis, message: str) -> None:
    spec = SweepSpec(name="t", base=quantized(), blocks=(Block("A", axes=(axis,)),), seeds=(0,))
    with pytest.raises(ConfigurationError, match=message):
        _ = spec.cells


def test_labels_may_be_in_any_script() -> None:
    for label in (
        "λ-PC",
        "二値化",
        "PC 🚀",
        "a/b|c",
        "**b**",
        'it\'s "q"',
        "=1+1",
        "$x$",
        "L" * 200,
    ):
        assert Block(label).label == label
    assert Block(" two\nlines ").label == "two lines"
