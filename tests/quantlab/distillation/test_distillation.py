"""A network learns from a teacher: the loss by its formula, and whole trainings with it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from quantlab import ConfigurationError, Distillation, Recipe, TrainingRun, fingerprint
from quantlab.datasets.base import Dimensions
from quantlab.initial_weights import RandomLevels, TrialWeights, WeightsFile
from quantlab.models import ModelSpec
from quantlab.models.convnet import ConvNet
from quantlab.packs import PackedRun
from quantlab.packs.compatibility import pack_key
from quantlab.probing.pack_sizes import measure_packs
from quantlab.quantizers.stochastic_rounding import StochasticRounding
from quantlab.settings.overriding import override
from quantlab.tasks import Metric, Task
from quantlab.tasks.classification import Classification, TopAccuracy
from quantlab.tasks.language_modelling import LanguageModelling
from quantlab.tasks.regression import Regression
from quantlab.training.rehearsal import rehearse
from tests.quantlab.packs.test_packs import Double, Result, assert_alike, method
from tests.quantlab.recipes import AUGMENTED_DIGITS, SMALL_DIGITS, quantized, small_recipe
from tests.quantlab.tasks.test_tasks import recipe as of_task


@dataclass(frozen=True)
class Flat(ModelSpec):
    """One layer without normalization, perhaps with faults of a teacher."""

    more: int = 0
    is_noisy: bool = False

    def build(self, *, num_classes: int, num_channels: int) -> nn.Module:
        noise = [_Noise()] if self.is_noisy else []
        return nn.Sequential(*noise, nn.Flatten(), nn.Linear(64, num_classes + self.more))


class _Noise(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + torch.randn_like(x)


TEACHER = small_recipe(model=ConvNet(width=6), epochs=1)


def random_pair(*shape: int) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(0)
    first, second = torch.randn(2, *shape, generator=random, dtype=torch.float64)
    return first, second


def trained(teacher: Recipe, folder: Path) -> Callable[[str], Path]:
    """Train a teacher, and return where its weights and those of others are."""
    run = TrainingRun(teacher)
    list(run)
    torch.save(run.final_weights(), folder / f"{fingerprint(teacher)}.pt")
    return lambda trial: folder / f"{trial}.pt"


def taught(student: Recipe, teacher: Recipe, **settings: Any) -> Recipe:
    weights = TrialWeights(fingerprint(teacher))
    distillation = Distillation(teacher=weights, model=teacher.model, **settings)
    return replace(student, distillation=distillation)


def test_distances_are_their_formulas() -> None:
    own, other = random_pair(5, 7)
    for temperature in (1.0, 3.0):
        p, q = (logits / temperature for logits in (other, own))
        p, q = p.exp() / p.exp().sum(1, keepdim=True), q.exp() / q.exp().sum(1, keepdim=True)
        expected = temperature**2 * (p * (p / q).log()).sum(1)
        found = Classification(0.1).each_distillation_loss(own, other, temperature)
        torch.testing.assert_close(found, expected)
        text = [logits.view(5, 1, 7).expand(5, 2, 7) for logits in (own, other)]
        of_text = LanguageModelling().each_distillation_loss(text[0], text[1], temperature)
        torch.testing.assert_close(of_text, expected)
    squares = (own - other).square().mean(1)
    torch.testing.assert_close(Regression().each_distillation_loss(own, other, 1.0), squares)
    # What autocast has rounded to eight bits is not rounded again.
    low, exact = own.bfloat16(), own.bfloat16().float()
    for task in (Classification(), Regression()):
        found = task.each_distillation_loss(low, other.float(), 1.0)
        assert torch.equal(found, task.each_distillation_loss(exact, other.float(), 1.0))


def test_at_high_temperature_logits_are_matched() -> None:
    """The gradient tends to (s - t) / n of centred logits (Hinton et al., equation (4))."""
    own, other = random_pair(4, 6)
    own.requires_grad_()
    Classification().each_distillation_loss(own, other, 1e4).sum().backward()
    difference = (own - other).detach()
    assert own.grad is not None
    expected = (difference - difference.mean(1, keepdim=True)) / 6
    torch.testing.assert_close(own.grad, expected, rtol=1e-3, atol=1e-4)


def test_a_student_that_equals_its_teacher_has_nothing_to_learn(tmp_path: Path) -> None:
    teacher = small_recipe(model=Flat(), epochs=1)
    weights_of = trained(teacher, tmp_path)
    student = taught(override(teacher, "optimizer.options", {}), teacher, weight=1, temperature=2)
    student = replace(student, initial_weights=TrialWeights(fingerprint(teacher)))
    run = TrainingRun(student, weights_of=weights_of)
    (record,) = run
    assert abs(record.train_loss) < 1e-6
    state = torch.load(weights_of(fingerprint(teacher)), weights_only=True)
    for name, weight in run.final_weights().items():
        torch.testing.assert_close(weight, state[name], rtol=0, atol=1e-6)
    elsewhere = TrainingRun(replace(student, initial_weights=None), weights_of=weights_of)
    assert next(iter(elsewhere)).train_loss > 0.05


@pytest.mark.parametrize("parts", [1, 3])
def test_the_first_loss_is_that_of_both_networks_by_hand(parts: int, tmp_path: Path) -> None:
    weights_of = trained(TEACHER, tmp_path)
    base = small_recipe(epochs=1, batch_size=200, model=Flat(), accumulation=parts)
    student = taught(base, TEACHER, weight=0.3, temperature=2)
    run = TrainingRun(student, weights_of=weights_of)
    inputs, labels = next(iter(SMALL_DIGITS.batches(run.splits.train, batch_size=200)))
    other = ConvNet(width=6).build(num_classes=10, num_channels=1)
    other.load_state_dict(torch.load(weights_of(fingerprint(TEACHER)), weights_only=True))
    with torch.no_grad():
        own, told = run.model(inputs), other.eval()(inputs)
    p = (told / 2).softmax(1)
    divergence = (p * (p.log() - (own / 2).log_softmax(1))).sum(1).mean()
    expected = 0.7 * F.cross_entropy(own, labels) + 0.3 * 4 * divergence
    (record,) = run
    assert record.train_loss == pytest.approx(float(expected), rel=1e-5)


def test_a_teacher_takes_no_random_numbers(tmp_path: Path) -> None:
    """With a share that rounding removes, weights and losses are those without a teacher."""
    weights_of = trained(TEACHER, tmp_path)
    alone = quantized(dataset=AUGMENTED_DIGITS, batch_size=64, epochs=2)
    alone = override(alone, "quantization.quantizer", StochasticRounding())
    first = TrainingRun(alone)
    second = TrainingRun(taught(alone, TEACHER, weight=1e-30), weights_of=weights_of)
    for one, other in zip(first, second, strict=True):
        assert replace(one, seconds=0) == replace(other, seconds=0)
    for name, weight in first.final_weights().items():
        assert torch.equal(second.final_weights()[name], weight)


@pytest.mark.parametrize("task", [Classification(), LanguageModelling(), Regression()], ids=repr)
def test_members_of_a_pack_learn_from_their_teachers_as_alone(task: Task, tmp_path: Path) -> None:
    """Two teachers of three trials, in an order that the stack changes, in float64."""
    if isinstance(task, Classification):
        students = [method(seed, rho0=rho0) for seed, rho0 in ((0, 0.01), (1, 0.3), (2, 0.01))]
        students = [replace(one, epochs=2) for one in students]
        teachers = [
            replace(one, model=Double(ConvNet(width=5)), quantization=None, batchnorm_epochs=0)
            for one in (method(7), method(8))
        ]
    else:
        students = [of_task(task, seed, rho0) for seed, rho0 in ((0, 0.02), (1, 1.0), (2, 0.02))]
        teachers = [replace(of_task(task, seed), epochs=1) for seed in (7, 8)]
    for teacher in teachers:
        weights_of = trained(teacher, tmp_path)
    temperature = 1.0 if isinstance(task, Regression) else 2.0
    members = [
        taught(student, teachers[which], weight=weight, temperature=temperature)
        for student, which, weight in zip(students, (0, 1, 0), (0.3, 0.5, 1.0), strict=True)
    ]
    assert len({pack_key(member) for member in members}) == 1
    pack = PackedRun(members, weights_of=weights_of)
    networks = [run.teacher and run.teacher.network for run in pack.members]
    assert networks[0] is networks[2] is not networks[1]
    records: list[list[Any]] = [[] for _ in members]
    for event in pack:
        records[event.member].append(event.record)
    for own, run in zip(records, pack.members, strict=True):
        lone = TrainingRun(run.recipe, weights_of=weights_of)
        expected = Result(list(lone), lone.final_weights(), lone.outcome())
        assert_alike(Result(own, run.final_weights(), run.outcome()), expected, 1e-10)


def test_an_interrupted_training_goes_on_bit_for_bit(tmp_path: Path) -> None:
    weights_of = trained(TEACHER, tmp_path)
    student = taught(quantized(), TEACHER, temperature=2)
    whole = TrainingRun(student, weights_of=weights_of)
    records = list(whole)
    first = TrainingRun(student, weights_of=weights_of)
    iterator = first.train(pause_steps=3)
    for _ in range(4):
        next(iterator)
    second = TrainingRun(student, weights_of=weights_of)
    second.load_state_dict(first.state_dict())
    rest = list(second)
    assert [replace(one, seconds=0) for one in rest] == [
        replace(one, seconds=0) for one in records[-len(rest) :]
    ]
    for name, weight in whole.final_weights().items():
        assert torch.equal(second.final_weights()[name], weight)
    assert not second.had_other_teacher
    trained(replace(TEACHER, seed=5), tmp_path)
    weights_of(fingerprint(replace(TEACHER, seed=5))).rename(weights_of(fingerprint(TEACHER)))
    third = TrainingRun(student, weights_of=weights_of)
    third.load_state_dict(first.state_dict())
    assert third.had_other_teacher
    fourth = TrainingRun(student, weights_of=weights_of)
    fourth.load_state_dict(third.state_dict())
    assert fourth.had_other_teacher


def test_packs_are_of_one_kind_of_teacher() -> None:
    alone = quantized()
    first = taught(alone, TEACHER)
    same = [
        taught(replace(alone, seed=4), TEACHER, weight=1),
        taught(alone, replace(TEACHER, seed=5)),
    ]
    assert {pack_key(one) for one in same} == {pack_key(first)}
    others = [
        alone,
        taught(alone, TEACHER, temperature=2),
        taught(alone, replace(TEACHER, model=ConvNet(width=7))),
    ]
    assert len({pack_key(one) for one in (first, *others)}) == 4


def test_packs_are_measured_before_teachers_exist() -> None:
    recipes = [taught(replace(quantized(), seed=seed), TEACHER) for seed in (0, 1, 2)]
    assert measure_packs(recipes, seconds=0.01).seconds[1] > 0


def test_it_is_part_of_the_identity() -> None:
    alone = small_recipe()
    assert fingerprint(replace(alone, distillation=None)) == fingerprint(alone)
    some = [
        alone,
        taught(alone, TEACHER),
        taught(alone, TEACHER, weight=0.4),
        taught(alone, TEACHER, temperature=2),
        taught(alone, replace(TEACHER, seed=5)),
        replace(alone, distillation=Distillation(teacher=WeightsFile("a.pt"))),
    ]
    assert len({fingerprint(one) for one in some}) == len(some)


@dataclass(frozen=True)
class Plain(Task):
    """A task of a user's that has no loss of distillation."""

    @property
    def metrics(self) -> tuple[Metric, ...]:
        return (TopAccuracy(),)

    def each_loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(outputs, targets, reduction="none")

    def require_outputs(self, *arguments: object) -> None:
        pass


@dataclass(frozen=True)
class Scalar(Plain):
    """Its distances are one number for all examples."""

    def each_distillation_loss(self, outputs: Tensor, taught: Tensor, temperature: float) -> Tensor:
        return (outputs - taught).abs().mean()


FILE = WeightsFile("net.pt")


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda: Distillation(teacher=FILE, weight=0),
            r"weight = 0: must be a number > 0 and <= 1",
        ),
        (lambda: Distillation(teacher=FILE, weight=1.1), r"weight = 1.1: must be a number > 0"),
        (lambda: Distillation(teacher=FILE, temperature=0), r"temperature = 0: must be .* > 0"),
        (lambda: Distillation(teacher=RandomLevels()), "must be the weights of a trained network"),
        (
            lambda: Distillation(teacher=WeightsFile("net.pt", skip=("fc.*",))),
            r"WeightsFile.skip = \('fc\.\*',\): must be \(\) for a teacher",
        ),
        (lambda: Distillation(teacher=TEACHER), "must be an instance of InitialWeights"),
        (lambda: Distillation(teacher=FILE, model=nn.Linear(1, 1)), "instance of ModelSpec"),
        (lambda: small_recipe(distillation=FILE), "must be an instance of Distillation"),
        (
            lambda: taught(replace(of_task(Regression())), TEACHER, temperature=2),
            r"temperature = 2: must be 1, because the loss of Regression has no temperature",
        ),
        (
            lambda: taught(small_recipe(task=Plain()), TEACHER),
            r"Plain has no loss of distillation; define its method each_distillation_loss",
        ),
    ],
)
def test_bad_values_are_refused(build: Callable[[], object], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        build()


@pytest.mark.parametrize(
    ("student", "model", "message"),
    [
        (small_recipe(), Flat(is_noisy=True), r"Flat draws random numbers in evaluation mode"),
        (small_recipe(), Flat(more=2), r"returned shape \(2, 12\) for 2 images of 10 classes"),
        (
            small_recipe(task=Scalar()),
            None,
            r"Scalar.each_distillation_loss returned a tensor of shape \(\)",
        ),
    ],
)
def test_faults_of_a_teacher_are_found_before_training(
    student: Recipe, model: ModelSpec | None, message: str
) -> None:
    recipe = replace(student, distillation=Distillation(teacher=FILE, model=model))
    with pytest.raises(ConfigurationError, match=message):
        rehearse(recipe, Dimensions(10, (1, 8, 8)))


def test_weights_that_are_missing_or_of_another_network_are_named(tmp_path: Path) -> None:
    recipe = small_recipe(distillation=Distillation(teacher=FILE))
    with pytest.raises(ConfigurationError, match=r"teacher as ConvNet: WeightsFile.*not exist"):
        TrainingRun(recipe, data_dir=tmp_path)
    torch.save(
        ConvNet(width=6).build(num_classes=10, num_channels=1).state_dict(), tmp_path / "net.pt"
    )
    with pytest.raises(ConfigurationError, match=r"teacher as ConvNet: .*net\.pt: does not fit"):
        TrainingRun(recipe, data_dir=tmp_path)
    with pytest.raises(ConfigurationError, match="no other trials are known here"):
        TrainingRun(taught(recipe, TEACHER), data_dir=tmp_path)
