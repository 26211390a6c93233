"""Training on a GPU: results agree with the CPU and are bit-identical when repeated.

Without a CUDA device they are skipped. ``QUANTLAB_GPU_TESTS_ON=cpu`` runs them on the CPU, which
shows that they are sound, not that a GPU is right.
"""

import gc
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from quantlab import (
    EpochRecord,
    MemoryExhaustedError,
    NonFiniteLossError,
    OptimizerSpec,
    Quantization,
    Recipe,
    TrainingRun,
)
from quantlab.backward_maps import InsideLevels, Jacobian, SignSwishDerivative
from quantlab.datasets.imagenet import ImageNet
from quantlab.errors import naming_exhausted_memory
from quantlab.execution import Execution, parse_execution
from quantlab.kernels.grouped_convolution import grouped_convolution
from quantlab.mirror_maps.shifted_tanh import ShiftedTanh
from quantlab.mirror_maps.softmax import Softmax
from quantlab.models.resnet import ResNet
from quantlab.packs import PackedRun
from quantlab.quantization_sets import BINARY, TERNARY
from quantlab.quantizers.nearest import Nearest
from quantlab.quantizers.piecewise_linear import PiecewiseLinear
from quantlab.quantizers.stochastic_rounding import StochasticRounding
from quantlab.recipe import Averaging
from quantlab.scales import AbsoluteMean, LearnedStep, LeastSquares, TernaryWeight
from quantlab.schedules import Linear, StepDecay
from quantlab.update_rules import (
    POST_TRAINING,
    PROX_CONNECT,
    PROX_QUANT,
    REVERSE_PROX_CONNECT,
    Point,
    UpdateRule,
)
from tests.quantlab.image_trees import write_images
from tests.quantlab.recipes import ADAM, AUGMENTED_DIGITS, SGD, quantized

DEVICE = os.environ.get("QUANTLAB_GPU_TESTS_ON", "cuda")

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        DEVICE == "cuda" and not torch.cuda.is_available(), reason="there is no CUDA device"
    ),
]

EXACT = Execution()
OTHER = OptimizerSpec(learning_rate=StepDecay(0.02, milestones=(1,)), options={"momentum": 0.5})


def member(
    seed: int,
    rule: UpdateRule = PROX_CONNECT,
    quantizer: Any = PiecewiseLinear(),  # noqa: B008
    rho0: float = 0.05,
    *,
    optimizer: OptimizerSpec = SGD,
    **options: Any,
) -> Recipe:
    """7 steps an epoch, the last one smaller; augmented images."""
    quantization = Quantization(rule=rule, quantizer=quantizer, sharpness=Linear(rho0), **options)
    return quantized(
        dataset=AUGMENTED_DIGITS,
        quantization=quantization,
        optimizer=optimizer,
        epochs=2,
        batchnorm_epochs=1,
        seed=seed,
    )


MEMBERS = [
    member(0),
    member(1, rho0=0.2),
    member(2, PROX_QUANT),
    member(3, REVERSE_PROX_CONNECT),
    member(4, POST_TRAINING, Nearest()),
    member(5, quantizer=Nearest((-1.0, 1.0)), optimizer=OTHER),
    member(6, PROX_QUANT, StochasticRounding()),
    member(7, averaging=Averaging(start_epoch=1)),
    member(8, latent_bound=0.3),
]
BINARY_TANH, INSIDE = ShiftedTanh(BINARY), InsideLevels()
STEPS = [
    member(0, quantizer=BINARY_TANH, rho0=1.0),
    member(1, quantizer=BINARY_TANH, rho0=2.0, backward=Jacobian()),
    member(2, quantizer=ShiftedTanh(BINARY, beta=1.0), step_scale=Linear(1.0, period=10)),
    member(3, quantizer=Nearest(BINARY), backward=SignSwishDerivative(2.0)),
    member(4, pull=0.05),
    member(5, pull=StepDecay(0.2, milestones=(1,))),
]
LIFTED = [
    member(0, quantizer=Softmax(TERNARY), rho0=1.0),
    member(1, quantizer=Softmax(TERNARY), rho0=2.0, backward=Jacobian()),
    member(2, quantizer=Softmax(TERNARY, beta=1.0), step_scale=Linear(1.0, period=10)),
    member(3, quantizer=Softmax(TERNARY), rho0=1.0, pull=0.05),
]
QUATERNARY = (-1.0, -1 / 3, 1 / 3, 1.0)
RELATIVE = PiecewiseLinear(QUATERNARY, varrho_scale=0, relative=True)
SCALED = [
    member(0, quantizer=Nearest(BINARY), scale=AbsoluteMean(per="channel")),
    member(1, quantizer=Nearest(TERNARY), scale=TernaryWeight(per="channel", two_sided=True)),
    member(2, quantizer=Nearest(QUATERNARY), scale=LeastSquares(per="channel")),
    member(3, quantizer=RELATIVE, rho0=0.3, scale=LeastSquares(per="channel", greedy=True)),
    member(4, quantizer=PiecewiseLinear(TERNARY), scale=LeastSquares(per="channel")),
]
LEARNED = [
    member(0, quantizer=Nearest((-2.0, -1.0, 0.0, 1.0)), scale=LearnedStep(), backward=INSIDE),
    member(1, quantizer=Nearest(BINARY), scale=LearnedStep(start="mean")),
]


@pytest.fixture(autouse=True)
def _exact_products() -> Iterator[None]:
    """Convolutions in full float32: cuDNN's default rounds factors to 10 bits."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cudnn.allow_tf32 = before


def trained(recipe: Recipe, device: str = DEVICE, **settings: Any) -> list[EpochRecord]:
    return [replace(record, seconds=0) for record in TrainingRun(recipe, device=device, **settings)]


def packed(
    recipes: Sequence[Recipe], execution: Execution = EXACT
) -> tuple[PackedRun, list[list[EpochRecord]]]:
    pack = PackedRun(recipes, device=DEVICE, execution=execution)
    records: list[list[EpochRecord]] = [[] for _ in recipes]
    for event in pack:
        assert event.record is not None
        records[event.member].append(replace(event.record, seconds=0))
    return pack, records


@pytest.mark.parametrize("optimizer", [SGD, ADAM])
def test_losses_are_the_cpus(optimizer: OptimizerSpec) -> None:
    """Of the first epoch, to rounding; later on training is chaotic."""
    recipe = member(0, optimizer=optimizer)
    own, other = trained(recipe), trained(recipe, "cpu")
    assert own[0].train_loss == pytest.approx(other[0].train_loss, rel=1e-3)
    assert own[0].learning_rate == other[0].learning_rate
    assert own[1].sharpness == other[1].sharpness
    assert own[0].quantization_gap == pytest.approx(other[0].quantization_gap, rel=1e-2)


def test_a_run_is_repeatable_to_the_bit() -> None:
    recipe = replace(member(0), model=ResNet(depth=8, width=8))
    assert trained(recipe) == trained(recipe)


@pytest.mark.parametrize("pauses", [1, 4])
def test_an_interrupted_run_goes_on_to_the_bit(pauses: int) -> None:
    recipe = member(6, PROX_QUANT, StochasticRounding())
    whole = TrainingRun(recipe, device=DEVICE)
    expected = [replace(record, seconds=0) for record in whole]
    first = TrainingRun(recipe, device=DEVICE)
    training, records = first.train(pause_steps=2), []
    for _ in range(pauses):
        if (record := next(training)) is not None:
            records.append(record)
    second = TrainingRun(recipe, device=DEVICE)
    second.load_state_dict(first.state_dict())
    records += list(second)
    assert [replace(record, seconds=0) for record in records] == expected
    for name, weight in second.final_weights().items():
        assert torch.equal(weight, whole.final_weights()[name])


@pytest.mark.parametrize(
    "recipes",
    [MEMBERS, MEMBERS[:6], MEMBERS[:1], STEPS, LIFTED, SCALED, LEARNED],
    ids=["rules", "without random maps", "one", "steps", "lifted", "scaled", "learned"],
)
def test_an_interrupted_pack_goes_on_to_the_bit(recipes: list[Recipe]) -> None:
    """Also if some steps are recorded where others were not."""
    whole, expected = packed(recipes)
    first = PackedRun(recipes, device=DEVICE)
    training = first.train(pause_steps=3)
    for _ in range(5):
        next(training)
    second = PackedRun(recipes, device=DEVICE)
    for run, earlier in zip(second.members, first.members, strict=True):
        run.load_state_dict(earlier.state_dict())
    last = {event.member: event.record for event in second if event.record is not None}
    for place, record in last.items():
        assert replace(record, seconds=0) == expected[place][-1]
        for name, weight in second.members[place].final_weights().items():
            assert torch.equal(weight, whole.members[place].final_weights()[name])


@pytest.mark.parametrize(
    "recipes",
    [MEMBERS, STEPS, LIFTED, SCALED, LEARNED],
    ids=["rules", "steps", "lifted", "scaled", "learned"],
)
def test_members_of_a_pack_are_as_alone(recipes: list[Recipe]) -> None:
    _, found = packed(recipes)
    for recipe, records in zip(recipes, found, strict=True):
        expected = trained(recipe)
        assert records[0].train_loss == pytest.approx(expected[0].train_loss, rel=1e-3)
        assert records[0].sharpness == expected[0].sharpness
        assert [record.stage for record in records] == [record.stage for record in expected]


def test_a_member_that_diverges_leaves_the_others_as_they_are() -> None:
    huge = replace(SGD, learning_rate=StepDecay(1e20, milestones=(5,)))
    bad = member(3, POST_TRAINING, optimizer=huge)
    others = MEMBERS[:3]
    _, expected = packed(others)
    pack = PackedRun([*others[:1], bad, *others[1:]], device=DEVICE)
    records: dict[int, list[EpochRecord]] = {}
    errors = {}
    for event in pack.train(pause_steps=3):
        for one in event:
            if one.error is not None:
                errors[one.member] = one.error
            elif one.record is not None:
                records.setdefault(one.member, []).append(replace(one.record, seconds=0))
    assert list(errors) == [1]
    assert isinstance(errors[1], NonFiniteLossError)
    assert pack.members[1].step == errors[1].step < 5
    for place, own in zip((0, 2, 3), expected, strict=True):
        for record, other in zip(records[place], own, strict=True):
            assert record.train_loss == pytest.approx(other.train_loss, rel=1e-3)


def test_a_pack_reads_files_and_evaluates_them(tmp_path: Path) -> None:
    """Whose labels are on the CPU."""
    write_images(tmp_path / "pets", {"train": 12, "val": 4})
    dataset = ImageNet(folder="pets", validation_images=8, crop=16, resize=20)
    recipes = [replace(one, dataset=dataset, batch_size=8) for one in MEMBERS[:2]]
    pack = PackedRun(recipes, data_dir=tmp_path, device=DEVICE)
    records = [event.record for event in pack if event.record is not None]
    assert len(records) == 6
    for run in pack.members:
        found = run.metric_at(Point.HARD)
        own = [one for one in records if one.epoch == 3][run.recipe.seed]
        assert own.validation_accuracy_hard == pytest.approx(found, abs=0.13)


@pytest.mark.skipif(DEVICE == "cpu", reason="the CPU has more memory than this asks for")
def test_exhausted_memory_is_named_and_half_a_pack_goes_on() -> None:
    _, total = torch.cuda.mem_get_info()
    recipes = [replace(member(seed), model=ResNet(depth=8, width=64)) for seed in range(8)]
    gc.collect()  # graphs of other tests hold memory of their own
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + 6e8) / total)
    try:
        with pytest.raises(MemoryExhaustedError, match="out of memory while"):
            list(PackedRun([replace(one, batch_size=150) for one in recipes * 8], device=DEVICE))
        size = len(recipes)
        while size:  # what a worker does
            try:
                _, records = packed(recipes[:size])
                break
            except MemoryExhaustedError:
                size //= 2
        assert size >= 1, "not even one trial fits after the pack did not"
        assert all(records)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
        torch.cuda.empty_cache()


@pytest.mark.parametrize("options", ["graph", "graph,bf16", "graph,bf16,triton", "graph,compile"])
def test_other_ways_to_compute_a_pack(options: str) -> None:
    """Against steps of one operation after the other; with less precision, less close."""
    recipes = [replace(one, model=ResNet(depth=8, width=16), epochs=1) for one in MEMBERS[:3]]
    precision = "bf16," if "bf16" in options else ""
    _, expected = packed(recipes, parse_execution(precision + "no-graph"))
    _, found = packed(recipes, parse_execution(options))
    tolerance = 1e-4 if options == "graph" else 1e-2
    for own, other in zip(found, expected, strict=True):
        assert own[0].train_loss == pytest.approx(other[0].train_loss, rel=tolerance)


def test_memory_errors_have_one_name() -> None:
    with (
        pytest.raises(MemoryExhaustedError, match="out of memory while asking for much"),
        naming_exhausted_memory("asking for much"),
    ):
        torch.empty(2**50, dtype=torch.uint8, device=DEVICE)


def test_bf16_differs_by_its_rounding() -> None:
    execution = Execution(bf16=True)
    _, found = packed(MEMBERS[:3], execution)
    for recipe, records in zip(MEMBERS[:3], found, strict=True):
        expected = trained(recipe, execution=execution)
        assert records[0].train_loss == pytest.approx(expected[0].train_loss, rel=1e-2)


@pytest.mark.skipif(DEVICE == "cpu", reason="on the CPU, the kernels are only interpreted")
@pytest.mark.parametrize(
    ("channels", "out_channels", "size", "stride", "dtype"),
    [
        (16, 16, 32, 1, torch.bfloat16),
        (3, 16, 32, 1, torch.bfloat16),
        (16, 32, 32, 2, torch.bfloat16),
        (32, 32, 16, 1, torch.bfloat16),
        (64, 64, 8, 1, torch.bfloat16),
        (16, 16, 32, 1, torch.float32),
    ],
)
def test_own_convolutions(
    channels: int, out_channels: int, size: int, stride: int, dtype: torch.dtype
) -> None:
    """Factors have 8 or 11 bits, and the result as many."""
    groups, tolerance = 5, 1e-3 if dtype == torch.float32 else 1e-2
    generator = torch.Generator(DEVICE).manual_seed(channels)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, device=DEVICE, dtype=dtype, generator=generator)

    images = random(24, groups * channels, size, size).requires_grad_()
    weight = random(groups * out_channels, channels, 3, 3).requires_grad_()
    own = grouped_convolution(images, weight, groups, stride)
    exact = [one.detach().double().requires_grad_() for one in (images, weight)]
    expected = F.conv2d(*exact, stride=stride, padding=1, groups=groups)
    upstream = random(*own.shape)
    pairs = [(own, expected)]
    pairs += zip(
        torch.autograd.grad(own, (images, weight), upstream),
        torch.autograd.grad(expected, exact, upstream.double()),
        strict=True,
    )
    for one, other in pairs:
        assert float((one.double() - other).norm() / other.norm()) < tolerance
    again = torch.autograd.grad(
        grouped_convolution(images, weight, groups, stride), (images, weight), upstream
    )
    assert torch.equal(again[1], pairs[2][0])
