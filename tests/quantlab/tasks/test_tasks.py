"""Tasks: losses and metrics by their formulas, and whole trainings with them."""

import math
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from quantlab import ConfigurationError, OptimizerSpec, Quantization, Recipe, TrainingRun
from quantlab.canonical import fingerprint
from quantlab.datasets.base import Dimensions
from quantlab.datasets.in_memory import Images, InMemoryDataset
from quantlab.models import ModelSpec
from quantlab.packs.compatibility import pack_key
from quantlab.quantization_sets import TERNARY
from quantlab.quantizers.piecewise_linear import PiecewiseLinear
from quantlab.schedules import Constant, Linear
from quantlab.tasks import Task
from quantlab.tasks.classification import Classification, TopAccuracy
from quantlab.tasks.language_modelling import (
    BitsPerSymbol,
    LanguageModelling,
    Perplexity,
    SymbolAccuracy,
)
from quantlab.tasks.regression import MeanAbsoluteError, MeanSquaredError, Regression
from quantlab.training.rehearsal import rehearse
from quantlab.update_rules import PROX_CONNECT
from tests.quantlab.packs.test_packs import alone, assert_alike, packed
from tests.quantlab.recipes import small_recipe


@dataclass(frozen=True, kw_only=True)
class Given(InMemoryDataset):
    """Made-up examples in float64, or made-up text."""

    is_text: bool
    validation_images: int = 40
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)

    @property
    def num_channels(self) -> int:
        return 1

    def check(self, data_dir: Path) -> None:
        pass

    def read(self, data_dir: Path) -> tuple[Images, Images, int]:
        random = torch.Generator().manual_seed(0)
        if self.is_text:
            text = torch.randint(3, (200, 9), generator=random).cumsum(1) % 7
            return (*(Images(part[:, :-1], part[:, 1:]) for part in (text[:150], text[150:])), 7)
        inputs = torch.randn(200, 6, generator=random, dtype=torch.float64)
        targets = torch.stack([inputs.sum(1), inputs[:, 0] ** 2], dim=1)
        return Images(inputs[:150], targets[:150]), Images(inputs[150:], targets[150:]), 2

    def _inputs(self, pixels: Tensor) -> Tensor:
        return pixels


@dataclass(frozen=True)
class Vectors(ModelSpec):
    def build(self, *, num_classes: int, num_channels: int) -> nn.Module:
        return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, num_classes)).double()


@dataclass(frozen=True)
class Symbols(ModelSpec):
    def build(self, *, num_classes: int, num_channels: int) -> nn.Module:
        return nn.Sequential(nn.Embedding(num_classes, 8), nn.Linear(8, num_classes)).double()


def recipe(task: Task, seed: int = 0, rho0: float = 0.02) -> Recipe:
    is_text = isinstance(task, LanguageModelling)
    return Recipe(
        model=Symbols() if is_text else Vectors(),
        dataset=Given(is_text=is_text),
        optimizer=OptimizerSpec(algorithm=torch.optim.Adam, learning_rate=Constant(0.02)),
        quantization=Quantization(
            rule=PROX_CONNECT, quantizer=PiecewiseLinear(TERNARY), sharpness=Linear(rho0)
        ),
        epochs=4,
        batchnorm_epochs=1,
        batch_size=20,
        seed=seed,
        task=task,
    )


TASKS = [Regression(), LanguageModelling()]


def test_the_default_task_is_no_part_of_a_fingerprint() -> None:
    own = small_recipe()
    assert fingerprint(replace(own, task=Classification())) == fingerprint(own)
    assert fingerprint(replace(own, task=Classification(0.1))) != fingerprint(own)


def test_losses_are_their_formulas() -> None:
    random = torch.Generator().manual_seed(0)
    logits = torch.randn(5, 7, generator=random, dtype=torch.float64)
    labels = torch.tensor([0, 6, 3, 3, 1])
    logs = logits - logits.exp().sum(1, keepdim=True).log()
    each = -(0.9 * logs[range(5), labels] + 0.1 * logs.mean(1))
    found = Classification(0.1)
    torch.testing.assert_close(found.each_loss(logits, labels), each)
    torch.testing.assert_close(found.loss(logits, labels), each.mean())
    text = torch.randn(4, 3, 7, generator=random, dtype=torch.float64)
    following = torch.randint(7, (4, 3), generator=random)
    logs = text.log_softmax(2)
    each = -torch.stack([logs[i, range(3), following[i]].mean() for i in range(4)])
    torch.testing.assert_close(LanguageModelling().each_loss(text, following), each)
    torch.testing.assert_close(LanguageModelling().loss(text, following), each.mean())
    outputs, targets = logits[:, :2], logits[:, 2:4]
    each = torch.stack([((outputs[i] - targets[i]) ** 2).sum() / 2 for i in range(5)])
    torch.testing.assert_close(Regression().each_loss(outputs, targets), each)
    torch.testing.assert_close(Regression().loss(outputs, targets), each.mean())
    single = Regression().each_loss(outputs[:, 0], targets[:, 0])  # one number without an axis
    torch.testing.assert_close(single, (outputs[:, 0] - targets[:, 0]) ** 2)


def test_metrics_are_their_formulas() -> None:
    certain = torch.eye(4)[None].repeat(2, 1, 1) * 1e3
    following = torch.arange(4).expand(2, 4)
    for metric, of_certain, of_guess in (
        (BitsPerSymbol(), 0.0, 2.0),
        (Perplexity(), 1.0, 4.0),
        (SymbolAccuracy(), 1.0, 0.25),
    ):
        for outputs, expected in ((certain, of_certain), (torch.zeros(2, 4, 4), of_guess)):
            mean = float(metric.each(outputs, following).double().mean())
            assert metric.of_mean(mean) == pytest.approx(expected)
    assert math.isinf(Perplexity().of_mean(1e4))
    outputs, targets = torch.tensor([[1.0, 2.0]]), torch.tensor([[0.0, 4.0]])
    assert MeanSquaredError().each(outputs, targets).tolist() == [2.5]
    assert MeanAbsoluteError().each(outputs, targets).tolist() == [1.5]
    assert (TopAccuracy().shown(0.98612), BitsPerSymbol().shown(2.309)) == (
        "98.61 %",
        "2.309 bits a byte",
    )


@pytest.mark.parametrize("task", TASKS, ids=repr)
def test_a_training_has_the_metrics_of_its_task(task: Task) -> None:
    run = TrainingRun(recipe(task))
    records, outcome = list(run), run.outcome()
    main = task.metrics[0].name
    assert set(records[0].validation) == {f"{main}_{at}" for at in ("latent", "proximal", "hard")}
    assert set(outcome.test) == set(outcome.validation) == {one.name for one in task.metrics}
    assert outcome.validation[main] == records[-1].validation[f"{main}_hard"]
    assert records[-1].train_loss < records[0].train_loss
    images = run.splits.test
    assert isinstance(images, Images)
    with torch.no_grad():
        outputs = run.model.eval()(images.pixels)
    if isinstance(task, Regression):
        expected = float(F.mse_loss(outputs, images.labels))
    else:
        expected = float(F.cross_entropy(outputs.flatten(0, 1), images.labels.flatten()))
        expected /= math.log(2)
    assert outcome.test[main] == pytest.approx(expected, rel=1e-12)
    assert math.isnan(outcome.test_accuracy)


@pytest.mark.parametrize("task", TASKS, ids=repr)
def test_a_pack_trains_every_task_as_alone(task: Task) -> None:
    members = [recipe(task, seed, rho0) for seed, rho0 in ((0, 0.02), (1, 0.2), (2, 1.0))]
    for found, own in zip(packed(members), members, strict=True):
        assert_alike(found, alone(own), 1e-10)


@pytest.mark.parametrize("task", TASKS, ids=repr)
def test_the_best_network_is_that_of_the_lowest_error(task: Task) -> None:
    run = TrainingRun(replace(recipe(task), select="best", batchnorm_epochs=0))
    name = f"{task.metrics[0].name}_hard"
    values = [record.validation[name] for record in run]
    outcome = run.outcome()
    assert outcome.selected_epoch == values.index(min(values)) + 1
    assert outcome.validation[task.metrics[0].name] == min(values)


@pytest.mark.parametrize("task", TASKS, ids=repr)
def test_an_interrupted_training_of_any_task_goes_on_bit_for_bit(task: Task) -> None:
    whole = TrainingRun(recipe(task))
    records = list(whole)
    first = TrainingRun(recipe(task))
    iterator = first.train(pause_steps=2)
    for _ in range(5):
        next(iterator)
    second = TrainingRun(recipe(task))
    second.load_state_dict(first.state_dict())
    rest = list(second)
    for found, expected in zip(rest, records[-len(rest) :], strict=True):
        assert replace(found, seconds=0.0) == replace(expected, seconds=0.0)
    for name, weight in whole.final_weights().items():
        assert torch.equal(second.final_weights()[name], weight)


def test_trials_of_different_tasks_share_no_pack() -> None:
    own = small_recipe()
    assert pack_key(own) != pack_key(replace(own, task=Classification(0.1)))


@pytest.mark.parametrize("task", TASKS, ids=repr)
def test_rehearsals_have_inputs_and_targets_of_the_dataset(task: Task) -> None:
    own = recipe(task)
    rehearse(own, own.dataset.find_dimensions(Path("data")))


LABELS = torch.zeros(2, dtype=torch.int64)


@pytest.mark.parametrize(
    ("task", "targets", "message"),
    [
        (Classification(), LABELS, r"shape \(2, 2\) for 2 images of 7 classes; .* \(2, 7\)"),
        (LanguageModelling(), LABELS[:, None], r"shape \(2, 2\) for 2 sequences .*\(2, 1, 7\)"),
        (Regression(), torch.zeros(2), r"shape \(2, 2\) for 2 examples; must .* shape \(2,\)"),
    ],
)
def test_outputs_of_a_wrong_shape_are_refused(task: Task, targets: Tensor, message: str) -> None:
    with pytest.raises(ConfigurationError, match=f"returned {message}"):
        task.require_outputs(nn.Linear(1, 2), torch.zeros(2, 2), targets, 7)


def test_targets_must_be_finite_numbers_of_the_task() -> None:
    with pytest.raises(ConfigurationError, match=r"targets have the type torch\.int64"):
        Regression().require_outputs(nn.Linear(1, 1), torch.zeros(2), torch.arange(2), 1)

    @dataclass(frozen=True, kw_only=True)
    class Broken(Given):
        def read(self, data_dir: Path) -> tuple[Images, Images, int]:
            train, test, count = super().read(data_dir)
            return Images(train.pixels, train.labels * math.nan), test, count

    with pytest.raises(ConfigurationError, match="300 numbers of the training targets are inf"):
        Broken(is_text=False).load(Path("data"))
    with pytest.raises(ConfigurationError, match="label_smoothing = 1: must be >= 0 and < 1"):
        Classification(1.0)
    with pytest.raises(ConfigurationError, match="symbol = 'a b': must be a word"):
        LanguageModelling("a b")


def test_random_inputs_are_those_of_the_dimensions() -> None:
    text = Dimensions(7, (5,), torch.int64, (5,))
    assert text.random_inputs(3).shape == text.some_targets(3).shape == (3, 5)
    assert int(text.random_inputs(100).max()) == 6
    numbers = Dimensions(2, (4,), target=(2,), target_dtype=torch.float32)
    assert numbers.some_targets(3).shape == (3, 2)
    assert numbers.some_targets(3).is_floating_point()
