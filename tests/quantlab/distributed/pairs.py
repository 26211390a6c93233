"""Two processes that train a recipe together: the one of the test leads, and another follows."""

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from quantlab import ConfigurationError, Recipe, TrainingRun
from quantlab.datasets.digits import Digits
from quantlab.datasets.in_memory import Images
from quantlab.distributed.data_parallel import Replicas
from quantlab.execution import Execution
from quantlab.initial_weights import InitialWeights
from quantlab.models import ModelSpec
from quantlab.models.convnet import ConvNet
from quantlab.training.following import follow
from tests.forked import PROCESSES

TOGETHER = Execution(replicas=2)


def in_the_other_process() -> bool:
    return multiprocessing.parent_process() is not None


def serve(recipe: Recipe, address: str, said: Path) -> None:
    """What the other process does; it writes the error that it ends with."""
    torch.set_num_threads(1)
    try:
        with Replicas.following(address, rank=1, size=2) as replicas:
            follow(TrainingRun(recipe, execution=TOGETHER, replicas=replicas))
    except Exception as error:
        said.write_text(f"{type(error).__name__}: {error}")
    else:
        said.write_text("")


@dataclass
class Pair:
    """A run of the leading process, and the process that follows it."""

    run: TrainingRun
    other: BaseProcess
    said: Path

    def last_words(self) -> str:
        """The error of the other process, which ends; empty if it had none."""
        self.other.join(20)
        assert self.other.exitcode == 0
        return self.said.read_text()


@contextmanager
def pair(recipe: Recipe, folder: Path) -> Iterator[Pair]:
    """A run that another process of this machine follows."""
    said = folder / "said"
    with Replicas.leading(2) as replicas:
        other = PROCESSES.Process(target=serve, args=(recipe, replicas.address, said))
        other.start()
        try:
            run = TrainingRun(recipe, execution=TOGETHER, replicas=replicas)
            yield Pair(run, other, said)
        except BaseException:
            replicas.close(RuntimeError("the test has failed"))
            raise
    other.join(20)
    assert other.exitcode is not None


def tensors_of(state: Any) -> list[Tensor]:
    """All tensors of a nested state, in their order."""
    if isinstance(state, Tensor):
        return [state]
    if isinstance(state, dict):
        state = list(state.values())
    if isinstance(state, list | tuple):
        return [tensor for item in state for tensor in tensors_of(item)]
    return []


def distance(one: TrainingRun, other: TrainingRun) -> float:
    """That of the networks of two runs, as they are in training."""
    return distance_of(one.model.state_dict(), other.model.state_dict())


def distance_of(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    """The largest difference between two networks, as a part of the largest entry of a tensor."""
    pairs = zip(one.values(), other.values(), strict=True)
    return max(
        float((a.double() - b.double()).abs().max() / b.double().abs().max().clamp(min=1e-3))
        for a, b in pairs
    )


@dataclass(frozen=True)
class Double(ModelSpec):
    """A network in float64."""

    def build(self, *, num_classes: int, num_channels: int) -> nn.Module:
        network = ConvNet(width=4).build(num_classes=num_classes, num_channels=num_channels)
        return _Double(network.double())


class _Double(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.network(x.double())
        return logits


@dataclass(frozen=True)
class AsBuilt(InitialWeights):
    """The weights that a teacher is built with."""

    def check(self, data_dir: Path, weights_of: Callable[[str], Path]) -> None:
        pass

    def load(self, model: nn.Module, data_dir: Path, weights_of: Callable[[str], Path]) -> None:
        pass


@dataclass(frozen=True, kw_only=True)
class Failing(Digits):
    """Fails at a batch or, before training, when the data is read; in one of the processes."""

    at: int = 3
    in_other: bool = True
    how: str = "raise"

    def read(self, data_dir: Path) -> tuple[Images, Images, int]:
        if self.how == "read" and in_the_other_process() == self.in_other:
            raise ConfigurationError("Failing.how: the data is missing on this machine")
        return super().read(data_dir)

    def batches(self, *arguments: Any, **options: Any) -> Iterator[tuple[Tensor, Tensor]]:
        for position, batch in enumerate(super().batches(*arguments, **options)):
            if position == self.at and in_the_other_process() == self.in_other:
                if self.how == "kill":
                    os.kill(os.getpid(), signal.SIGKILL)
                raise ConfigurationError("Failing.at: an image cannot be read")
            yield batch


@dataclass(frozen=True)
class Noisy(ModelSpec):
    """A network with dropout, on whose share of a batch its random numbers depend."""

    def build(self, *, num_classes: int, num_channels: int) -> nn.Module:
        return nn.Sequential(
            nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, num_classes)
        )
