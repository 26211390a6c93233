"""Execution options, which change numbers by rounding at most."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch

from quantlab import ConfigurationError, MemoryExhaustedError, Point, TrainingRun
from quantlab.execution import DEFAULT_EXECUTION, Execution, parse_execution
from quantlab.models.convnet import ConvNet
from quantlab.packs import PackedRun
from tests.quantlab.recipes import AUGMENTED_DIGITS, quantized, small_recipe


def test_options_are_read_and_written() -> None:
    assert parse_execution("") == DEFAULT_EXECUTION
    assert parse_execution(" bf16, no-channels_last,workers=4") == Execution(
        bf16=True, channels_last=False, workers=4
    )
    for execution in (
        DEFAULT_EXECUTION,
        Execution(channels_last=False),
        Execution(compile=True, deterministic=False, workers=2, threads=3),
    ):
        assert parse_execution(str(execution)) == execution
    assert (
        str(DEFAULT_EXECUTION)
        == "channels_last,no-bf16,no-compile,graph,no-triton,deterministic,keep_memory,"
        "workers=0,threads=1"
    )


@pytest.mark.parametrize(
    "text",
    ["fp16", "no-workers", "workers=x", "workers=-1", "workers=²", "threads=0.5", "no-no-bf16"],
)
def test_unknown_options_are_named(text: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"execution option '{text}': must be one of"):
        parse_execution(text)
    with pytest.raises(ConfigurationError, match=r"Execution\.workers = -1"):
        Execution(workers=-1)
    with pytest.raises(ConfigurationError, match=r"Execution\.threads = 0: must be .* >= 1"):
        Execution(threads=0)
    with pytest.raises(ConfigurationError, match=r"Execution\.bf16 = 'yes': must be True or False"):
        Execution(bf16="yes")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("execution", "tolerance"),
    [
        (Execution(channels_last=False), 1e-4),
        (Execution(bf16=True), 0.02),
        pytest.param(Execution(compile=True), 1e-4, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_every_option_trains_to_nearly_the_same_loss(
    execution: Execution, tolerance: float
) -> None:
    """And through both stages. They are not in the fingerprint, so they may not differ by much."""
    recipe = quantized(dataset=AUGMENTED_DIGITS, epochs=1, batchnorm_epochs=1, batch_size=50)
    expected = list(TrainingRun(recipe))
    run = TrainingRun(recipe, execution=execution)
    records = list(run)
    assert len(records) == 2
    assert records[0].train_loss == pytest.approx(expected[0].train_loss, rel=tolerance)
    run.outcome()


def test_the_memory_format_is_that_of_the_option() -> None:
    images = torch.rand(5, 3, 8, 8)
    last = Execution().layout(images)
    assert last.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(last, images)
    assert Execution(channels_last=False).layout(images) is images


def test_weights_stay_in_float32_under_autocast() -> None:
    plain = TrainingRun(quantized(epochs=1))
    run = TrainingRun(quantized(epochs=1), execution=Execution(bf16=True))
    assert next(iter(run)).train_loss != next(iter(plain)).train_loss  # the option does act
    state = run.optimizer.state_dict()
    for tensor in (*run.model.parameters(), *state["latent"], *state["proximal"]):
        assert tensor.dtype == torch.float32


def test_a_trial_has_the_threads_that_its_records_say() -> None:
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        assert TrainingRun(quantized()).executions == [Execution(threads=3)]
        run = TrainingRun(quantized(epochs=1), execution=Execution(threads=2))
        next(iter(run))
        assert torch.get_num_threads() == 2
        assert run.executions == [Execution(threads=2)]
        again = TrainingRun(quantized(epochs=1))
        again.load_state_dict(run.state_dict())
        assert again.executions == [Execution(threads=2)]
        torch.set_num_threads(1)
        again = TrainingRun(quantized(epochs=1))
        again.load_state_dict(run.state_dict())
        assert again.executions == [Execution(threads=2), Execution()]
    finally:
        torch.set_num_threads(threads)


OUT_OF_MEMORY = """
import os, resource, sys
from quantlab import MemoryExhaustedError, TrainingRun
from quantlab.models.convnet import ConvNet
from tests.quantlab.recipes import small_recipe
import torch

torch.set_num_threads(1)
run = TrainingRun(small_recipe(model=ConvNet(width=512), batch_size=200))
for mebibytes in map(int, sys.argv[1:]):
    if not (child := os.fork()):
        in_use = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
        cap = in_use + mebibytes * 2**20
        resource.setrlimit(resource.RLIMIT_AS, (cap, resource.RLIM_INFINITY))
        try:
            list(run)
        except MemoryExhaustedError as error:
            print(error, flush=True)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert status == 0, (mebibytes, status)
"""


def test_exhausted_memory_is_one_clear_error() -> None:
    """A real cap on a process's address space, so many MiB above what the idle run has.

    Which allocation fails first, torch's or oneDNN's, differs from cap to cap.
    """
    caps = ("32", "64", "128")
    program = [sys.executable, "-c", OUT_OF_MEMORY, *caps]
    done = subprocess.run(program, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == len(caps), done.stdout
    for line in lines:
        assert line.startswith("out of memory while training ConvNet at batch size 200 on cpu (")
        assert "a smaller batch_size needs less memory" in line


def test_a_model_that_no_memory_holds_is_named() -> None:
    with pytest.raises(
        MemoryExhaustedError, match=r"out of memory while building ConvNet at batch size 32 on cpu"
    ):
        TrainingRun(small_recipe(model=ConvNet(width=3_000_000)))


WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"


class Prepared(Execution):
    """Records when the modes of the whole process are set."""

    def prepare(self, device: torch.device) -> None:
        os.environ[WORKSPACE] = "set"
        torch.use_deterministic_algorithms(True)


@pytest.fixture
def untouched(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv(WORKSPACE, raising=False)
    yield
    torch.use_deterministic_algorithms(False)


def modes() -> tuple[bool, str | None]:
    return torch.are_deterministic_algorithms_enabled(), os.environ.get(WORKSPACE)


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("pack", [False, True], ids=["TrainingRun", "PackedRun"])
def test_training_sets_the_modes_of_the_process_and_constructors_do_not(pack: bool) -> None:
    recipe, before = quantized(epochs=1, batchnorm_epochs=0), dict(os.environ)
    run: Any = (
        PackedRun([recipe, replace(recipe, seed=1)], execution=Prepared())
        if pack
        else TrainingRun(recipe, execution=Prepared())
    )
    assert modes() == (False, None)
    assert dict(os.environ) == before
    next(iter(run))
    assert modes() == (True, "set")


@pytest.mark.usefixtures("untouched")
def test_an_evaluation_sets_the_modes_of_the_process() -> None:
    trained = TrainingRun(quantized(epochs=1, batchnorm_epochs=0))
    list(trained)
    for evaluate in (
        TrainingRun.outcome,
        TrainingRun.final_weights,
        lambda run: run.metric_at(Point.HARD),
    ):
        run = TrainingRun(trained.recipe, execution=Prepared())
        run.load_state_dict(trained.state_dict())
        assert modes() == (False, None)
        evaluate(run)
        assert modes() == (True, "set")
        torch.use_deterministic_algorithms(False)
        del os.environ[WORKSPACE]


@pytest.mark.usefixtures("untouched")
def test_modes_that_are_set_for_a_while_are_restored(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda, settings = torch.device("cuda"), torch.utils.deterministic
    filled = settings.fill_uninitialized_memory  # type: ignore[attr-defined]
    with Execution().prepared(cuda):
        assert modes() == (True, ":4096:8")
    assert modes() == (False, None)
    assert settings.fill_uninitialized_memory is filled  # type: ignore[attr-defined]
    monkeypatch.setenv(WORKSPACE, ":16:8")
    with Execution(deterministic=False).prepared(cuda):
        assert modes() == (False, ":16:8")
    assert modes() == (False, ":16:8")
    with Execution().prepared(torch.device("cpu")):
        assert modes() == (False, ":16:8")
