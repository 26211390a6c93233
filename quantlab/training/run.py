"""TrainingRun: one recipe, from initial weights to a quantized network, an epoch at a time."""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from quantlab.canonical import fingerprint
from quantlab.errors import NonFiniteLossError, naming_exhausted_memory
from quantlab.execution import DEFAULT_EXECUTION, Execution, parse_execution
from quantlab.initial_weights import no_other_trials
from quantlab.models.base import require_logits
from quantlab.optim.bits import mean_bits
from quantlab.optim.histogram import WeightHistogram
from quantlab.optim.of_recipe import learning_rate_of, optimizer_of, plain_optimizer
from quantlab.random_numbers import RandomNumbers, part_seed
from quantlab.recipe import Recipe
from quantlab.training.batch_statistics import BatchStatistics
from quantlab.training.checkpoint import own_copy
from quantlab.training.epoch import EpochInProgress
from quantlab.training.evaluation import accuracy
from quantlab.training.loss_tally import LossTally, TalliedLosses
from quantlab.training.records import EpochRecord, Outcome, Stage
from quantlab.update_rules import Point

VALIDATED = (Point.LATENT, Point.PROXIMAL, Point.HARD)
"""Where the accuracy on the validation images is measured after every epoch."""


class TrainingRun:
    """Iterate to train: ``for record in TrainingRun(recipe): ...`` yields one record an epoch.

    Between epochs, and at the pauses of `train`, `state_dict` holds all that a bit-identical
    continuation needs. The caller decides where records go, when to save and when to stop.
    """

    def __init__(
        self,
        recipe: Recipe,
        *,
        data_dir: Path = Path("data"),
        device: torch.device | str = "cpu",
        execution: Execution = DEFAULT_EXECUTION,
        weights_of: Callable[[str], Path] = no_other_trials,
    ) -> None:
        """Load the data, and draw or load the initial weights.

        Args:
            recipe: what to train.
            data_dir: where datasets and weights lie.
            device: a torch device.
            execution: how to compute it.
            weights_of: the file of the final weights of the trial with a fingerprint, for recipes
                that start from another trial's network.

        Raises:
            ConfigurationError: data or weights are missing, a name in the recipe matches nothing,
                or the network cannot take the last batch of an epoch.
            MemoryExhaustedError: the device cannot hold data and model.
        """
        self.recipe = recipe
        self.device = torch.device(device)
        self.execution = execution
        self.executions = [execution]
        """All that the training so far was computed with, through every resumption."""
        execution.prepare(self.device)
        self.epoch = 0
        self.step = 0
        self.stage = Stage.QUANTIZE
        self.last_loss = math.nan  # of the last gradient step; NaN before the first
        self._in_progress: EpochInProgress | None = None
        self._looks_at_losses = self.device.type == "cpu"  # on a GPU, looking would take time
        with naming_exhausted_memory(f"loading {recipe.dataset.name} for {self.what}"):
            self.splits = recipe.dataset.load(data_dir, self.device)
        self.steps_per_epoch = math.ceil(len(self.splits.train) / recipe.batch_size)
        self.learning_rate = learning_rate_of(recipe.optimizer, self.steps_per_epoch)
        seed = part_seed(recipe.seed, "initial weights")
        initial = RandomNumbers(self.device, seed=seed, default_seed=seed)
        with initial.in_use(), naming_exhausted_memory(f"building {self.what}"):
            model = recipe.model.build(
                num_classes=self.splits.num_classes, num_channels=recipe.dataset.num_channels
            )
            if recipe.initial_weights is not None:
                recipe.initial_weights.load(model, data_dir, weights_of)
            self.model = model.to(self.device).train()
            self._statistics = BatchStatistics(
                self.splits.train, recipe.dataset, recipe.batch_size, execution
            )
            self._statistics.require_last_batch_fits(self.model)
            self._bits, self._network_bits = mean_bits(self.model, recipe.quantization)
            self.optimizer = optimizer_of(recipe, self.model, self.steps_per_epoch)
        self._forward: Callable[[Tensor], Tensor] = (
            torch.compile(self.model) if self.execution.compile else self.model
        )

    def __iter__(self) -> Iterator[EpochRecord]:
        """Train the epochs that are left; see `train` for the errors."""
        for record in self.train():
            assert record is not None
            yield record

    def train(self, pause_steps: int | None = None) -> Iterator[EpochRecord | None]:
        """Train what is left, with pauses.

        Args:
            pause_steps: yield None after so many gradient steps within an epoch, to give the
                caller an opportunity to take `state_dict`; None for epochs in one go.

        Yields:
            A record at the end of every epoch, and None at every pause.

        Raises:
            NonFiniteLossError: the loss became infinite or NaN. On the CPU the weights are those
                before it; on a GPU this is found at the next pause, or at the end of the epoch.
            MemoryExhaustedError: the device cannot hold a step.
            LostProcessError: a loader process was killed.
        """
        while not self.is_trained:
            self.begin_epoch()
            with naming_exhausted_memory(
                f"training {self.what}", advice="a smaller batch_size needs less"
            ):
                yield from self._train_epoch(pause_steps)

    def outcome(self) -> Outcome:
        """Hard-quantize whatever is not yet, and evaluate once on the test images.

        Raises:
            RuntimeError: epochs are left to train.
            NonFiniteLossError: the last steps left a weight that is infinite or NaN.
        """
        if not self.is_trained:
            total = self.recipe.epochs + self.recipe.batchnorm_epochs
            raise RuntimeError(f"only {self.epoch} of {total} epochs are trained")
        if not all(weight.isfinite().all() for weight in self.model.parameters()):
            raise NonFiniteLossError(self.step, self.last_loss)
        evaluating = naming_exhausted_memory(f"evaluating {self.what}")
        with evaluating, self.weights_at(self._final_point):
            validation, test = self._accuracy("validation"), self._accuracy("test")
        return Outcome(
            validation_accuracy=validation,
            test_accuracy=test,
            bits=self._bits,
            network_bits=self._network_bits,
            epochs=self.epoch,
            steps=self.step,
            classes=self.splits.num_classes,
            training_images=len(self.splits.train),
        )

    def final_weights(self) -> dict[str, Tensor]:
        """The finished network's state dict, hard-quantized, on the CPU."""
        with self.weights_at(self._final_point):
            state = self.model.state_dict()
            return {name: value.detach().cpu().clone() for name, value in state.items()}

    def state_dict(self) -> dict[str, Any]:
        """The training state between epochs or at a pause.

        It is a copy, which further training does not change. Between epochs it holds no random
        numbers: those of an epoch follow from the seed and its number.
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
        copy: dict[str, Any] = own_copy(state)
        return copy

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state of the same recipe; to be called before any epoch is trained."""
        state = deepcopy(dict(state))  # torch's optimizers would train on its tensors
        self.executions = [*map(parse_execution, state["executions"])]
        if self.execution not in self.executions:
            self.executions.append(self.execution)
        self.epoch = state["epoch"]
        self.step = state["step"]
        self.last_loss = state["last_loss"]
        if Stage(state["stage"]) is Stage.BATCHNORM:
            self._harden()
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        if state["epoch_in_progress"] is not None:
            self._in_progress = self._new_epoch()
            self._in_progress.load_state_dict(state["epoch_in_progress"])

    @property
    def fingerprint(self) -> str:
        """The recipe's fingerprint."""
        return fingerprint(self.recipe)

    @property
    def is_trained(self) -> bool:
        """Whether no epoch is left."""
        return self.epoch == self.recipe.epochs + self.recipe.batchnorm_epochs

    @property
    def is_quantizing(self) -> bool:
        """Whether latent, proximal and hard weights may differ."""
        return self.stage is Stage.QUANTIZE and self.recipe.quantization is not None

    @property
    def position(self) -> tuple[int, int]:
        """Epochs that are finished, and gradient steps of the next one."""
        return self.epoch, self._in_progress.batches if self._in_progress else 0

    def begin_epoch(self) -> EpochInProgress:
        """The epoch that is under way, or else the next one, in its stage."""
        if self.epoch == self.recipe.epochs and self.stage is Stage.QUANTIZE:
            self._enter_batchnorm()
        if self._in_progress is None:
            self._in_progress = self._new_epoch()
        return self._in_progress

    def end_epoch(
        self,
        accuracies: Mapping[Point, float],
        gap: float,
        histogram: WeightHistogram | None,
        seconds: float,
    ) -> EpochRecord:
        """Count an epoch all of whose steps are done, and give its record.

        Args:
            accuracies: on the validation images.
            gap: see `ProxOptimizer.quantization_gap`.
            histogram: see `ProxOptimizer.weight_histogram`.
            seconds: that all of these took.
        """
        epoch = self._in_progress
        assert epoch is not None
        self.epoch += 1
        self._in_progress = None
        last = self.step - 1
        return EpochRecord(
            stage=self.stage,
            epoch=self.epoch,
            step=self.step,
            learning_rate=self.learning_rate(last),
            sharpness=self.optimizer.sharpness(last),
            sharpness_after=self.optimizer.sharpness(self.step),
            train_loss=epoch.loss_sum / len(self.splits.train),
            validation_accuracy_latent=accuracies[Point.LATENT],
            validation_accuracy_proximal=accuracies[Point.PROXIMAL],
            validation_accuracy_hard=accuracies[Point.HARD],
            quantization_gap=gap,
            weight_histogram=histogram,
            seconds=epoch.seconds + seconds,
        )

    @property
    def _final_point(self) -> Point:
        return Point.LATENT if self.recipe.quantization is None else Point.HARD

    @property
    def what(self) -> str:
        """How messages call what is being trained."""
        return f"{self.recipe.model.name} at batch size {self.recipe.batch_size} on {self.device}"

    @property
    def reestimates(self) -> bool:
        """Whether hard weights are evaluated with statistics of their own."""
        quantization = self.recipe.quantization
        return self.is_quantizing and quantization is not None and quantization.reestimate_batchnorm

    @contextmanager
    def weights_at(self, point: Point) -> Iterator[None]:
        """Put weights into the model, as `ProxOptimizer` does, with the statistics that go along.

        Args:
            point: HARD brings statistics of its own, if the recipe wants them.
        """
        with self.optimizer.weights_at(point):
            if not (point is Point.HARD and self.reestimates):
                yield
                return
            with self._statistics.reestimated(self.model):
                yield

    def accuracy_at(self, point: Point, split: str = "validation") -> float:
        """The fraction of a split's images that the weights at a point classify right."""
        with self.weights_at(point):
            return self._accuracy(split)

    def _enter_batchnorm(self) -> None:
        """Hard quantization (B.1.4). The learning-rate schedule goes on; moments start anew."""
        is_wanted = self.reestimates
        self._harden()
        if is_wanted:
            self._statistics.reestimate(self.model)

    def _harden(self) -> None:
        self.optimizer.harden()
        self.stage = Stage.BATCHNORM
        self.optimizer = plain_optimizer(self.recipe.optimizer, self.model)

    def _new_epoch(self) -> EpochInProgress:
        return EpochInProgress.start(
            self.recipe.seed, self.epoch, len(self.splits.train), self.device
        )

    def _train_epoch(self, pause_steps: int | None) -> Iterator[EpochRecord | None]:
        """One epoch, or the rest of it, with pauses; then its record."""
        recipe, epoch = self.recipe, self.begin_epoch()
        batches = iter(
            recipe.dataset.batches(
                self.splits.train,
                batch_size=recipe.batch_size,
                order=epoch.order[epoch.batches * recipe.batch_size :],
                generator=epoch.random.generator,
                workers=self.execution.workers,
            )
        )
        while epoch.batches < self.steps_per_epoch:
            started = time.perf_counter()
            tally = LossTally([self.last_loss], [epoch.loss_sum], self.step, self.device)
            before = epoch.batches
            with epoch.random.in_use():
                for inputs, labels in islice(batches, pause_steps):
                    self._train_step(inputs, labels, tally)
            if not self._looks_at_losses:
                self._count(epoch, *tally.read())
            epoch.seconds += time.perf_counter() - started
            if epoch.batches == before:
                raise RuntimeError(
                    f"{recipe.dataset.name}: {before} batches in an epoch instead of "
                    f"{self.steps_per_epoch}"
                )
            if epoch.batches < self.steps_per_epoch:
                yield None
        started = time.perf_counter()
        with epoch.random.in_use():
            at = self._validation_accuracies()
            gap = self.optimizer.quantization_gap()
            histogram = self.optimizer.weight_histogram()
        yield self.end_epoch(at, gap, histogram, time.perf_counter() - started)

    def _count(self, epoch: EpochInProgress, found: TalliedLosses) -> None:
        """What the steps that have not looked at their losses came to."""
        epoch.loss_sum = found.loss_sum
        self.last_loss = found.last_loss
        if found.bad_step is not None:
            self.step = found.bad_step
            raise NonFiniteLossError(self.step, self.last_loss)

    def _train_step(self, inputs: Tensor, labels: Tensor, tally: LossTally) -> None:
        epoch = self.begin_epoch()
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate(self.step)
        loss = self.optimizer.step(partial(self._loss, self.execution.layout(inputs), labels))
        assert loss is not None
        if self._looks_at_losses:
            epoch.loss_sum += float(loss) * len(labels)
        else:
            value = torch.as_tensor(loss, dtype=torch.float64, device=self.device)
            tally.add(value.detach()[None], len(labels))
        self.step += 1
        epoch.batches += 1

    def _loss(self, inputs: Tensor, labels: Tensor) -> float | Tensor:
        """The batch's loss, its gradient left with the parameters: the optimizer's closure."""
        self.optimizer.zero_grad()
        with self.execution.autocast(self.device):
            logits = self._forward(inputs)
            require_logits(self.model, logits, len(labels), self.splits.num_classes)
            loss = F.cross_entropy(logits, labels)
        if not self._looks_at_losses:
            loss.backward()
            return loss
        value = loss.item()
        if not math.isfinite(value):
            raise NonFiniteLossError(self.step, self.last_loss)
        loss.backward()
        self.last_loss = value
        return value

    def _accuracy(self, split: str) -> float:
        images = getattr(self.splits, split)
        return accuracy(self.model, images, self.recipe.dataset, execution=self.execution)

    def _validation_accuracies(self) -> dict[Point, float]:
        """At three points, which coincide where nothing is being quantized."""
        if not self.is_quantizing:
            return dict.fromkeys(VALIDATED, self._accuracy("validation"))
        return {point: self.accuracy_at(point) for point in VALIDATED}
