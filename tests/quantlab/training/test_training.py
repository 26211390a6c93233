"""TrainingRun: stages, points, resumption and divergence."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from quantlab import (
    ConfigurationError,
    EpochRecord,
    NonFiniteLossError,
    OptimizerSpec,
    Point,
    Quantization,
    Quantizer,
    Recipe,
    Stage,
    TrainingRun,
    WeightGroup,
    override,
)
from quantlab.models.convnet import ConvNet
from quantlab.quantization_sets import BINARY, QUATERNARY
from quantlab.quantizers.base import Sharpness
from quantlab.quantizers.binary_relax import BinaryRelax
from quantlab.quantizers.nearest import Nearest
from quantlab.quantizers.piecewise_linear import PiecewiseLinear
from quantlab.schedules import Constant, Linear
from quantlab.training.checkpoint import load_checkpoint, save_checkpoint
from quantlab.update_rules import POST_TRAINING, PROX_CONNECT, PROX_QUANT, REVERSE_PROX_CONNECT
from tests.quantlab.recipes import ADAM, AUGMENTED_DIGITS, SGD, quantized, small_recipe

RULES = {
    "PC": PROX_CONNECT,
    "PQ": PROX_QUANT,
    "rPC": REVERSE_PROX_CONNECT,
    "PTQ": POST_TRAINING,
}


def without_time(records: list[EpochRecord]) -> list[dict[str, Any]]:
    return [{k: v for k, v in vars(record).items() if k != "seconds"} for record in records]


def test_full_precision_learns() -> None:
    run = TrainingRun(small_recipe(epochs=12, optimizer=ADAM, model=ConvNet(width=8)))
    records = list(run)
    assert [record.epoch for record in records] == list(range(1, 13))
    assert {record.stage for record in records} == {Stage.QUANTIZE}
    assert records[-1].train_loss < 0.5 * records[0].train_loss
    assert run.outcome().test_accuracy > 0.6  # chance is 0.1
    assert records[-1].quantization_gap == 0


@pytest.mark.parametrize("optimizer", [SGD, ADAM], ids=["sgd", "adam"])
@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_t31_hard_weights_are_in_the_set_and_frozen(rule: Any, optimizer: OptimizerSpec) -> None:
    run = TrainingRun(quantized(rule, optimizer=optimizer, batchnorm_epochs=3))
    weights = {}
    for record in run:
        if record.stage is Stage.BATCHNORM:
            weights[record.epoch] = run.final_weights()
            assert record.quantization_gap == 0
            assert (
                record.validation_accuracy_latent
                == record.validation_accuracy_proximal
                == record.validation_accuracy_hard
            )
    first, last = weights[4], weights[6]
    for name in ("conv1.weight", "conv2.weight", "conv3.weight", "linear.weight"):
        assert set(first[name].flatten().tolist()) <= {-1.0, 0.0, 1.0}
        assert torch.equal(first[name], last[name])
    for name in ("bn1.weight", "bn3.bias", "linear.bias"):
        assert not torch.equal(first[name], last[name])


def test_records_tell_the_schedules() -> None:
    run = TrainingRun(quantized(epochs=4))
    steps = 7  # ceil(200 / 32)
    records = []
    for record in run:
        records.append(record)
        if record.stage is Stage.QUANTIZE:  # w is mapped with the sharpness of the next step
            assert record.sharpness_after == 0.05 * (1 + record.step / steps)
            with run.optimizer.weights_at(Point.LATENT):
                latent = run.model.get_parameter("conv2.weight").detach().clone()
            mapped = PiecewiseLinear().prox(latent, record.sharpness_after)
            assert mapped.equal(run.model.get_parameter("conv2.weight"))
    assert [record.sharpness_after for record in records[4:]] == [0, 0]
    assert [record.step for record in records] == [steps * epoch for epoch in range(1, 7)]
    assert records[0].sharpness == pytest.approx(0.05 * (1 + (steps - 1) / steps))
    assert [r.learning_rate for r in records] == pytest.approx([0.05] * 3 + [0.005] * 3)


@pytest.mark.parametrize("optimizer", [SGD, ADAM], ids=["sgd", "adam"])
@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_resumed_is_bit_identical(rule: Any, optimizer: OptimizerSpec, tmp_path: Path) -> None:
    """Before, at and after the stage boundary, with augmentation; saving changes nothing either."""
    recipe = quantized(rule, optimizer=optimizer, dataset=AUGMENTED_DIGITS)
    whole = TrainingRun(recipe)
    expected, outcome = without_time(list(whole)), whole.outcome()

    saving = TrainingRun(recipe)
    records = []
    for record in saving:
        records.append(record)
        file = tmp_path / f"{record.epoch}.pt"
        save_checkpoint(file, saving.state_dict(), fingerprint=saving.fingerprint)
    assert without_time(records) == expected

    for cut in (1, 2, 3, 4):
        resumed = TrainingRun(recipe)
        state = load_checkpoint(tmp_path / f"{cut}.pt", fingerprint=resumed.fingerprint)
        resumed.load_state_dict(state)
        assert without_time([*records[:cut], *resumed]) == expected, cut
        assert resumed.outcome() == outcome, cut
        final = resumed.final_weights()
        for name, value in whole.final_weights().items():
            assert torch.equal(value, final[name]), (cut, name)


def test_seeds_differ_and_repeat() -> None:
    first, again, other = (
        without_time(list(TrainingRun(quantized(seed=seed, epochs=1)))) for seed in (0, 0, 1)
    )
    assert first == again
    assert first != other


def test_training_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    list(TrainingRun(quantized(dataset=AUGMENTED_DIGITS, epochs=1)))
    assert torch.equal(torch.rand(1), expected)


def test_binaryconnect_is_proxconnect_with_the_projector() -> None:
    quantizers = {
        "nearest": (Nearest(levels=BINARY), Constant(0)),
        "saturated": (PiecewiseLinear(levels=BINARY), Constant(1)),
    }
    outcomes = []
    for quantizer, sharpness in quantizers.values():
        recipe = quantized(
            quantization=Quantization(rule=PROX_CONNECT, quantizer=quantizer, sharpness=sharpness)
        )
        run = TrainingRun(recipe)
        records = [dict(r, sharpness=0, sharpness_after=0) for r in without_time(list(run))]
        outcomes.append((records, run.outcome()))
    assert outcomes[0] == outcomes[1]


def test_binary_relax_trains_too() -> None:
    quantization = Quantization(
        rule=PROX_CONNECT, quantizer=BinaryRelax(levels=QUATERNARY), sharpness=Linear(0.5)
    )
    run = TrainingRun(quantized(quantization=quantization))
    gaps = [record.quantization_gap for record in run]
    assert gaps[0] > gaps[2] > 0
    assert gaps[3:] == [0, 0]


def test_excluded_layers_stay_in_full_precision() -> None:
    quantization = Quantization(rule=PROX_CONNECT, quantizer=Nearest(), exclude=("conv1", "lin*"))
    run = TrainingRun(quantized(quantization=quantization))
    list(run)
    final = run.final_weights()
    assert set(final["conv2.weight"].flatten().tolist()) <= {-1.0, 0.0, 1.0}
    for name in ("conv1.weight", "linear.weight"):
        assert len(final[name].unique()) > 20
    typo = Quantization(rule=PROX_CONNECT, quantizer=Nearest(), exclude=("con1",))
    with pytest.raises(
        ConfigurationError, match="'con1' matches no layer; must match a name \\(conv1, conv2"
    ):
        TrainingRun(quantized(quantization=typo))
    nothing = Quantization(rule=PROX_CONNECT, quantizer=Nearest(), exclude=("*",))
    with pytest.raises(ConfigurationError, match="leaves no layer to quantize"):
        TrainingRun(quantized(quantization=nothing))


def test_bits_are_the_mean_over_quantized_weights() -> None:
    """ConvNet(4): 36, 288, 576 and 80 weights; conv1 in full precision, two levels in linear."""
    group = WeightGroup(layers=("Linear",), quantizer=PiecewiseLinear(BINARY))
    recipe = override(quantized(epochs=1), "quantization.groups", (group,))
    recipe = override(recipe, "quantization.exclude", ("conv1",))
    recipe = override(recipe, "quantization.quantizer.levels", QUATERNARY)
    run = TrainingRun(recipe, data_dir=Path("data"))
    for _ in run:
        pass
    assert run.outcome().bits == pytest.approx((80 * 1 + (288 + 576) * 2) / (80 + 288 + 576))


def test_divergence_is_told_with_its_step() -> None:
    wild = small_recipe(optimizer=OptimizerSpec(learning_rate=Constant(1e30)))
    with pytest.raises(NonFiniteLossError, match="not finite at step") as caught:
        list(TrainingRun(wild))
    assert caught.value.step >= 1
    assert caught.value.last_finite_loss > 0


def test_divergence_in_the_last_step_is_told_too() -> None:
    optimizer = OptimizerSpec(learning_rate=Constant(1e38), options={"weight_decay": 1e4})
    wild = small_recipe(optimizer=optimizer, epochs=1, batch_size=200)
    run = TrainingRun(wild)
    assert len(list(run)) == 1
    with pytest.raises(NonFiniteLossError, match="not finite at step 1"):
        run.outcome()


@dataclass(frozen=True)
class RandomRounding(Quantizer):
    """Draws from torch's default generator, as a user's quantizer may."""

    @property
    def random(self) -> bool:
        return True

    def prox(self, latent: Tensor, sharpness: Sharpness) -> Tensor:
        return (latent + 0.5 - torch.rand_like(latent)).round().clamp(-1, 1)


def test_a_quantizer_that_draws_random_numbers_repeats_and_resumes() -> None:
    quantization = Quantization(rule=PROX_CONNECT, quantizer=RandomRounding())
    recipe = quantized(quantization=quantization)
    expected = without_time(list(TrainingRun(recipe)))
    torch.rand(7)  # another trial in the same process
    first = TrainingRun(recipe)
    records = [next(iter(first))]
    resumed = TrainingRun(recipe)
    resumed.load_state_dict(first.state_dict())
    torch.rand(7)
    assert without_time(records + list(resumed)) == expected


@pytest.mark.parametrize(
    "optimizer",
    [
        OptimizerSpec(
            algorithm=torch.optim.LBFGS,  # calls its closure more than once a step
            learning_rate=Constant(1),
            options={"max_iter": 4, "line_search_fn": "strong_wolfe"},
        ),
        OptimizerSpec(algorithm=torch.optim.Adafactor, learning_rate=Constant(0.01)),
        OptimizerSpec(algorithm=torch.optim.RMSprop, learning_rate=Constant(0.001)),
    ],
    ids=lambda optimizer: optimizer.algorithm.__name__,
)
def test_any_torch_optimizer_trains(optimizer: OptimizerSpec) -> None:
    records = list(TrainingRun(small_recipe(optimizer=optimizer, batch_size=200)))
    assert records[-1].train_loss < records[0].train_loss


def test_numpy_numbers_do_not_reach_the_checkpoint(tmp_path: Path) -> None:
    optimizer = OptimizerSpec(
        learning_rate=Constant(np.float64(0.05)), options={"momentum": np.float64(0.9)}
    )
    run = TrainingRun(quantized(optimizer=optimizer))
    next(iter(run))
    file = tmp_path / "checkpoint.pt"
    save_checkpoint(file, run.state_dict(), fingerprint="a")
    assert load_checkpoint(file, fingerprint="a")["epoch"] == 1


def test_seeds_far_apart_differ() -> None:
    first, second, huge = (
        without_time(list(TrainingRun(quantized(seed=seed, epochs=1)))) for seed in (0, 4096, 2**45)
    )
    assert first != second
    assert first != huge


def test_an_unfinished_run_has_no_outcome() -> None:
    run = TrainingRun(small_recipe())
    next(iter(run))
    with pytest.raises(RuntimeError, match="only 1 of 3 epochs"):
        run.outcome()


def test_checkpoints_are_refused_by_others(tmp_path: Path) -> None:
    file = tmp_path / "checkpoint.pt"
    save_checkpoint(file, {"epoch": 1}, fingerprint="a")
    assert load_checkpoint(file, fingerprint="a") == {"epoch": 1}
    with pytest.raises(ConfigurationError, match="belongs to trial a, not to b"):
        load_checkpoint(file, fingerprint="b")
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(ConfigurationError, match="damaged"):
        load_checkpoint(file, fingerprint="a")
    with pytest.raises(ConfigurationError, match="must be a file, but is a folder"):
        load_checkpoint(tmp_path, fingerprint="a")
    with pytest.raises(FileNotFoundError):
        load_checkpoint(tmp_path / "none.pt", fingerprint="a")
    assert list(tmp_path.iterdir()) == [file]


def test_the_recipe_decides_not_the_process(tmp_path: Path) -> None:
    """Two runs at once, epochs in turn, end as if each had been alone."""
    recipes: list[Recipe] = [quantized(seed=1), quantized(PROX_QUANT, seed=2)]
    alone = [without_time(list(TrainingRun(recipe))) for recipe in recipes]
    turns = zip(*(TrainingRun(recipe) for recipe in recipes), strict=True)
    together = [without_time(list(records)) for records in zip(*turns, strict=True)]
    assert together == alone
