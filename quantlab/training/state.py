"""TrainingState: how far a training run has come, and what a checkpoint of it contains."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

import torch
from torch import nn

from quantlab.canonical import fingerprint
from quantlab.datasets import Splits
from quantlab.distillation.teacher import Teacher
from quantlab.distributed.data_parallel import ALONE, Replicas
from quantlab.errors import ConfigurationError
from quantlab.execution import Execution, parse_execution
from quantlab.optim.flips import levels_of
from quantlab.optim.latent_optimizer import LatentOptimizer
from quantlab.optim.of_recipe import plain_optimizer
from quantlab.recipe import Recipe
from quantlab.tasks import Metric
from quantlab.training.batch_statistics import BatchStatistics
from quantlab.training.checkpoint import own_copy
from quantlab.training.epoch import EpochInProgress, images_of
from quantlab.training.networks.averaged import AveragedNetwork
from quantlab.training.networks.selection import BestNetwork
from quantlab.training.records import Stage
from quantlab.update_rules import Point


class TrainingState:
    """The state of a training run: network, optimizer, stage, epoch and gradient step."""

    model: nn.Module
    optimizer: LatentOptimizer
    """Optimizer of the current stage."""
    splits: Splits
    _statistics: BatchStatistics

    def __init__(
        self,
        recipe: Recipe,
        device: torch.device,
        execution: Execution,
        replicas: Replicas = ALONE,
    ) -> None:
        """Begin before the first step. Subclasses set `model`, `optimizer` and `splits`.

        Args:
            recipe: recipe that is trained.
            device: device that computes the training.
            execution: options of the computation.
            replicas: processes that train the recipe together.

        Raises:
            ConfigurationError: if the number of processes is not `Execution.replicas`.
        """
        if execution.replicas != replicas.size:
            raise ConfigurationError(
                f"Execution.replicas = {execution.replicas}: must be {replicas.size}, the number "
                "of processes that train this recipe"
            )
        self.replicas = replicas
        self.recipe = recipe
        self.device = device
        self.execution = execution
        self.executions = [execution.used(device)]
        """Execution options of all training so far, through every resumption."""
        self.epoch = 0
        """Number of finished epochs, over both stages."""
        self.step = 0
        """Number of finished gradient steps, over both stages."""
        self.stage = Stage.QUANTIZE
        self.last_loss = math.nan
        """Loss of the last gradient step; NaN before the first."""
        self._in_progress: EpochInProgress | None = None
        self.best: BestNetwork | None = None
        """Network of the best epoch so far, if the recipe selects it."""
        self.teacher: Teacher | None = None
        """The teacher, if the recipe has one."""
        self.had_other_teacher = False
        """Whether a part of the training so far had a teacher with other weights."""
        self.average: AveragedNetwork | None = None
        """Moving average of the network, if the recipe has one."""

    def state_dict(self) -> dict[str, Any]:
        """Return a copy of the training state, between epochs or at a pause.

        Between epochs it contains no random numbers, because those of an epoch follow from the seed
        and the number of the epoch.
        """
        state = {
            "executions": [str(execution) for execution in self.executions],
            "stage": self.stage.value,
            "epoch": self.epoch,
            "step": self.step,
            "last_loss": self.last_loss,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "epoch_in_progress": self._in_progress and self._in_progress.state_dict(),
        }
        if self.best is not None:
            state["best"] = self.best.state_dict()
        if self.teacher is not None:
            state["teacher"] = "several" if self.had_other_teacher else self.teacher.digest
        if self.average is not None:
            state["moving_average"] = self.average.state_dict()
        copy: dict[str, Any] = own_copy(state)
        return copy

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a state of the same recipe. Call it before any epoch is trained.

        Args:
            state: what `state_dict` returned; it is not changed.
        """
        state = deepcopy(dict(state))  # torch's optimizers would train on its tensors
        self.executions = [*map(parse_execution, state["executions"])]
        if (used := self.execution.used(self.device)) not in self.executions:
            self.executions.append(used)
        self.epoch = state["epoch"]
        self.step = state["step"]
        self.last_loss = state["last_loss"]
        self.best = BestNetwork.from_state(state["best"]) if "best" in state else None
        if self.teacher is not None:
            self.had_other_teacher = state["teacher"] != self.teacher.digest
        if Stage(state["stage"]) is Stage.BATCHNORM:
            self._harden()
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.average is not None:
            self.average.load_state_dict(state["moving_average"])
        if state["epoch_in_progress"] is not None:
            self._in_progress = self._new_epoch()
            self._in_progress.load_state_dict(state["epoch_in_progress"])

    @contextmanager
    def weights_at(self, point: Point) -> Iterator[None]:
        """Set the model to the weights at a point for a `with` block, those of the average if any.

        Args:
            point: weights to set. For HARD, batch-normalization statistics are recomputed if the
                recipe asks for it.
        """
        with self.averaged(), self.optimizer.weights_at(point):
            if not (point is Point.HARD and self.reestimates):
                yield
                return
            with self._statistics.reestimated(self.model):
                yield

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Set the network and its optimizer to the moving average, if any, for a `with` block."""
        if self.average is None:
            yield
            return
        with self.average.in_use():
            yield

    @contextmanager
    def _finished(self) -> Iterator[None]:
        """Set the model to the finished network for a `with` block: the last one, or the best."""
        if self.best is None:
            with self.weights_at(self._final_point):
                yield
            return
        kept = own_copy(self.model.state_dict())
        try:
            self.model.load_state_dict(dict(self.best.weights))
            yield
        finally:
            self.model.load_state_dict(kept)

    def _keep_if_best(self, value: float) -> None:
        """Keep the network of the epoch that has ended, if it is better than those before."""
        sign = 1 if self.metric.higher_is_better else -1
        best = self.best
        if best is None or math.isnan(best.value) or sign * value > sign * best.value:
            with self.weights_at(self._final_point):
                self.best = BestNetwork.taken_from(self.model, self.epoch, value)

    def _begin_together(self, pause_steps: int | None) -> int | None:
        """Connect the replicas, and give them the state of the first one.

        Args:
            pause_steps: see `TrainingRun.train`.

        Returns:
            The value of the first replica.
        """
        if self.replicas.size == 1:
            return pause_steps
        self.replicas.connect(self.device)
        own = (self.state_dict(), pause_steps) if self.replicas.is_leading else None
        state, pause_steps = self.replicas.from_leader(own)
        if not self.replicas.is_leading:
            self.load_state_dict(state)
        return pause_steps

    @property
    def metric(self) -> Metric:
        """The main metric of the recipe's task."""
        return self.recipe.task.metrics[0]

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the recipe."""
        return fingerprint(self.recipe)

    @property
    def is_trained(self) -> bool:
        """Whether all epochs are finished."""
        return self.epoch == self.recipe.epochs + self.recipe.batchnorm_epochs

    @property
    def is_quantizing(self) -> bool:
        """Whether latent, proximal and hard weights may differ."""
        return self.stage is Stage.QUANTIZE and self.recipe.quantization is not None

    @property
    def _final_point(self) -> Point:
        return Point.LATENT if self.recipe.quantization is None else Point.HARD

    @property
    def what(self) -> str:
        """Description of the run in messages: network, batch size and device."""
        return f"{self.recipe.model.name} at batch size {self.recipe.batch_size} on {self.device}"

    @property
    def reestimates(self) -> bool:
        """Whether hard weights are evaluated with recomputed batch-normalization statistics."""
        quantization = self.recipe.quantization
        return self.is_quantizing and quantization is not None and quantization.reestimate_batchnorm

    @property
    def position(self) -> tuple[int, int]:
        """Number of finished epochs, and of finished gradient steps of the next epoch."""
        return self.epoch, self._in_progress.batches if self._in_progress else 0

    def _harden(self) -> None:
        """Quantize for good, and begin the second stage with a new optimizer (B.1.4)."""
        if self.average is not None:
            self.average.take_over()
        self.optimizer.harden()
        self.stage = Stage.BATCHNORM
        self.optimizer = plain_optimizer(self.recipe.optimizer, self.model)
        self._begin_average(start=0)

    def _begin_average(self, *, start: int) -> None:
        """Begin the moving average of a stage, if the recipe has one.

        Args:
            start: first step of the stage that is averaged.
        """
        if (settings := self.recipe.moving_average) is not None:
            self.average = AveragedNetwork(
                self.model, self.optimizer, settings=settings, start=start, seed=self.recipe.seed
            )

    def _new_epoch(self) -> EpochInProgress:
        count = len(self.splits.train)
        streams = self.recipe.steps_per_epoch is not None
        return EpochInProgress.start(
            self.recipe.seed,
            self.epoch,
            count,
            self.device,
            length=images_of(self.recipe, count) if streams else None,
        )

    def _begun_epoch(self) -> EpochInProgress:
        """Return the next epoch before its first step."""
        epoch = self._new_epoch()
        with self._new_epoch().random.in_use():  # what maps draw here is not taken from the epoch
            epoch.first_levels = levels_of(self.optimizer)
        return epoch
