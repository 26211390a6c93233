"""TrainingRun: the training of one recipe, from initial weights to a quantized network."""

import math
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor

from quantlab.datasets import ImageSet
from quantlab.distillation.teacher import loaded_teacher
from quantlab.distributed.data_parallel import ALONE, Replicas
from quantlab.distributed.gradient_sum import GradientSum, require_equal
from quantlab.distributed.shared_batch import SharedBatch
from quantlab.errors import ConfigurationError, NonFiniteLossError, naming_exhausted_memory
from quantlab.execution import DEFAULT_EXECUTION, Execution
from quantlab.initial_weights import no_other_trials
from quantlab.optim.bits import mean_bits
from quantlab.optim.of_recipe import learning_rate_of, optimizer_of
from quantlab.optim.weight_measures import WeightMeasures, weight_measures
from quantlab.optimizer_spec import set_learning_rate
from quantlab.random_numbers import RandomNumbers, part_seed
from quantlab.recipe import Recipe
from quantlab.settings.step_functions import require_pull
from quantlab.tasks import Metric
from quantlab.tasks.checked import mean_loss
from quantlab.training.accumulation import accumulate, require_one_process
from quantlab.training.batch_statistics import BatchStatistics, parts_of_batches
from quantlab.training.epoch import EpochInProgress, images_of, steps_of
from quantlab.training.evaluation import evaluate
from quantlab.training.loss_tally import LossTally, TalliedLosses
from quantlab.training.records import EpochRecord, Outcome, Stage, measured
from quantlab.training.state import TrainingState
from quantlab.update_rules import Point

VALIDATED = (Point.LATENT, Point.PROXIMAL, Point.HARD)
"""Weights at which the main metric on the validation images is measured after every epoch."""


class TrainingRun(TrainingState):
    """The training of one recipe: ``for record in TrainingRun(recipe)`` yields a record per epoch.

    Between epochs, and at the pauses of `train`, `state_dict` contains everything that a
    bit-identical continuation needs. The caller decides where records go, when to save and when to
    stop. Training and evaluation set modes of the whole process (see `Execution.prepare`); the
    constructor leaves them as they are.
    """

    def __init__(
        self,
        recipe: Recipe,
        *,
        data_dir: Path = Path("data"),
        device: torch.device | str = "cpu",
        execution: Execution = DEFAULT_EXECUTION,
        weights_of: Callable[[str], Path] = no_other_trials,
        replicas: Replicas = ALONE,
    ) -> None:
        """Load the data, and draw or load the initial weights.

        Args:
            recipe: recipe to train.
            data_dir: folder of datasets and weights.
            device: a torch device.
            execution: options of the computation.
            weights_of: maps a fingerprint to the file of that trial's final weights, for recipes
                that start from another trial's network, or learn from it.
            replicas: processes that train the recipe together, `Execution.replicas` in number. All
                of them call the methods that train or evaluate.

        Raises:
            ConfigurationError: if data or weights are missing, if a name in the recipe matches no
                layer, if the network cannot process the last batch of an epoch, or if the
                processes cannot share its batches.
            MemoryExhaustedError: if the device cannot hold the data and the network.
        """
        super().__init__(recipe, torch.device(device), execution, replicas)
        require_one_process(recipe.accumulation, replicas.size)
        self._batch = SharedBatch(replicas, recipe.batch_size, recipe.batchnorm_shards)
        self._looks_at_losses = self.device.type == "cpu"  # on a GPU, the check would take time
        with naming_exhausted_memory(f"loading {recipe.dataset.name} for {self.what}"):
            self.splits = recipe.dataset.load(data_dir, self.device)
            self.dimensions = recipe.dataset.dimensions_of(self.splits)
        if recipe.select == "best" and not len(self.splits.validation):
            raise ConfigurationError(
                f"Recipe.select = 'best': must be 'last', because {recipe.dataset.name} has no "
                "validation images"
            )
        self.steps_per_epoch = steps_of(recipe, len(self.splits.train))
        self.learning_rate = learning_rate_of(recipe.optimizer, self.steps_per_epoch)
        if recipe.quantization is not None:
            last = recipe.epochs * self.steps_per_epoch
            require_pull(recipe.quantization.pull, self.steps_per_epoch, last)
        seed = part_seed(recipe.seed, "initial weights")
        initial = RandomNumbers(self.device, seed=seed, default_seed=seed)
        with (
            execution.prepared(self.device),
            initial.in_use(),
            naming_exhausted_memory(f"building {self.what}"),
        ):
            model = recipe.model.build_for(self.dimensions)
            if recipe.initial_weights is not None:
                recipe.initial_weights.load(model, data_dir, weights_of)
            self.model = model.to(self.device).train()
            self._statistics = BatchStatistics(
                self.splits.train, recipe.dataset, recipe.batch_size, execution, self._batch
            )
            count = images_of(recipe, len(self.splits.train))
            self._statistics.require_last_batch_fits(self.model, count, parts_of_batches(recipe))
            self._bits, self._network_bits = mean_bits(self.model, recipe.quantization)
            self.optimizer = optimizer_of(recipe, self.model, self.steps_per_epoch)
            if recipe.batchnorm_shards > 1 or replicas.size > 1:
                # It imports torch's compiler, which takes a second in each process.
                from quantlab.distributed.batch_norm import share_batch_norm

                self.model = share_batch_norm(self.model, self._batch, recipe.batchnorm_shards)
            self._gradients = GradientSum(self.model, replicas)
            if recipe.distillation is not None:
                self.teacher = loaded_teacher(
                    recipe.distillation,
                    recipe.model,
                    recipe.task,
                    recipe.dataset,
                    self.splits.train,
                    self.dimensions,
                    data_dir=data_dir,
                    weights_of=weights_of,
                    execution=execution,
                    device=self.device,
                )
            if (average := recipe.moving_average) is not None:
                self._begin_average(start=average.start_epoch * self.steps_per_epoch)
        self._forward: Callable[[Tensor], Tensor] = (
            torch.compile(self.model) if self.execution.compile else self.model
        )

    def __iter__(self) -> Iterator[EpochRecord]:
        """Train the remaining epochs and yield their records; see `train` for the errors."""
        for record in self.train():
            assert record is not None
            yield record

    def train(self, pause_steps: int | None = None) -> Generator[EpochRecord | None, None, None]:
        """Train the remaining epochs, with pauses.

        Args:
            pause_steps: number of gradient steps between pauses, at which the caller can take
                `state_dict`; None for no pauses within an epoch. Of several replicas, that of the
                first one counts.

        Yields:
            A record at the end of every epoch, and None at every pause.

        Raises:
            NonFiniteLossError: if the loss became infinite or NaN. On the CPU, the weights are
                those before the failed step. On a GPU, the error is raised at the next pause or at
                the end of the epoch.
            MemoryExhaustedError: if the device cannot hold a gradient step.
            LostProcessError: if a loader process or another replica was killed.
        """
        self.execution.prepare(self.device)
        pause_steps = self._begin_together(pause_steps)
        yield from self.replicas.in_step(self._train_epochs(pause_steps))

    def _train_epochs(self, pause_steps: int | None) -> Iterator[EpochRecord | None]:
        while not self.is_trained:
            self.begin_epoch()
            with naming_exhausted_memory(
                f"training {self.what}", advice="a smaller batch_size needs less memory"
            ):
                yield from self._train_epoch(pause_steps)

    def outcome(self) -> Outcome:
        """Evaluate the finished network, hard-quantized, on the validation and test images.

        Raises:
            RuntimeError: if not all epochs are trained.
            NonFiniteLossError: if a weight is infinite or NaN after the last step, or in the
                finished network, such as the average of latents that became infinite.
        """
        self.execution.prepare(self.device)
        if not self.is_trained:
            total = self.recipe.epochs + self.recipe.batchnorm_epochs
            raise RuntimeError(
                f"only {self.epoch} of {total} epochs are trained; train the others before calling "
                "outcome()"
            )
        self._require_finite()
        evaluating = naming_exhausted_memory(f"evaluating {self.what}")
        outputs = self.splits.num_classes
        metrics = [one for one in self.recipe.task.metrics if one.applies(outputs)]
        with evaluating, self._finished():
            self._require_finite()
            validation = self._evaluated(self.splits.validation, metrics)
            test = self._evaluated(self.splits.test, metrics)
        return Outcome(
            validation=validation,
            test=test,
            selected_epoch=None if self.best is None else self.best.epoch,
            bits=self._bits,
            network_bits=self._network_bits,
            epochs=self.epoch,
            steps=self.step,
            classes=outputs,
            dimensions=self.dimensions,
            training_images=len(self.splits.train),
        )

    def _require_finite(self) -> None:
        if not all(weight.isfinite().all() for weight in self.model.parameters()):
            raise NonFiniteLossError(self.step, self.last_loss)

    def final_weights(self) -> dict[str, Tensor]:
        """Return the state dict of the finished network, hard-quantized, on the CPU."""
        self.execution.prepare(self.device)
        with self._finished():
            state = self.model.state_dict()
            return {name: value.detach().cpu().clone() for name, value in state.items()}

    def begin_epoch(self) -> EpochInProgress:
        """Return the epoch in progress, or begin the next one in its stage."""
        if self.epoch == self.recipe.epochs and self.stage is Stage.QUANTIZE:
            self._enter_batchnorm()
        if self._in_progress is None:
            self._in_progress = self._begun_epoch()
        return self._in_progress

    def end_epoch(
        self,
        measures: Mapping[Point, float],
        weights: WeightMeasures,
        seconds: float,
    ) -> EpochRecord:
        """Finish the epoch in progress, all of whose steps are done, and return its record.

        Args:
            measures: main metric on the validation images at the points of `VALIDATED`.
            weights: measures of the quantized weights.
            seconds: wall time of the evaluation.
        """
        epoch = self._in_progress
        assert epoch is not None
        self.epoch += 1
        self._in_progress = None
        if self.recipe.select == "best":
            self._keep_if_best(measures[Point.HARD])
        last = self.step - 1
        return EpochRecord(
            stage=self.stage,
            epoch=self.epoch,
            step=self.step,
            learning_rate=self.learning_rate(last),
            sharpness=self.optimizer.sharpness(last),
            sharpness_after=self.optimizer.sharpness(self.step),
            train_loss=epoch.loss_sum / len(epoch.order),
            validation={
                measured(self.metric.name, point): value for point, value in measures.items()
            },
            quantization_gap=weights.gap,
            latent_distance=weights.latent_distance,
            flip_rate=weights.flips.rate,
            flip_rate_median=weights.flips.median_rate,
            flip_distance=weights.flips.distance,
            weight_histogram=weights.histogram,
            seconds=epoch.seconds + seconds,
        )

    def metric_at(self, point: Point, split: str = "validation") -> float:
        """Return the main metric on a split at a point.

        Args:
            point: weights to evaluate.
            split: ``"train"``, ``"validation"`` or ``"test"``.
        """
        self.execution.prepare(self.device)
        with self.weights_at(point):
            return self._main_metric(getattr(self.splits, split))

    def _enter_batchnorm(self) -> None:
        """Quantize for good (B.1.4). The learning-rate schedule continues with a new optimizer."""
        is_wanted = self.reestimates
        self._harden()
        if is_wanted:
            self._statistics.reestimate(self.model)
            self._begin_average(start=0)  # of these statistics instead of the previous ones

    def _train_epoch(self, pause_steps: int | None) -> Iterator[EpochRecord | None]:
        """Train the epoch in progress, with pauses, and yield its record at the end."""
        recipe, epoch = self.recipe, self.begin_epoch()
        batches = self._batch.batches(
            recipe.dataset,
            self.splits.train,
            batch_size=recipe.batch_size,
            order=epoch.order[epoch.batches * recipe.batch_size :],
            generator=epoch.random.generator,
            workers=self.execution.workers,
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
                    f"{recipe.dataset.name}: the dataset yielded {before} batches in an epoch "
                    f"instead of {self.steps_per_epoch}; its batches must cover the whole order"
                )
            if epoch.batches < self.steps_per_epoch:
                yield None
        started = time.perf_counter()
        require_equal((moved.target for moved in self.optimizer.moved), self.replicas)
        with epoch.random.in_use():
            at = self._validation_measures()
            weights = weight_measures(self.optimizer, epoch.first_levels)
        yield self.end_epoch(at, weights, time.perf_counter() - started)

    def _count(self, epoch: EpochInProgress, found: TalliedLosses) -> None:
        """Record the losses of steps whose losses were left on the device."""
        epoch.loss_sum = found.loss_sum
        self.last_loss = found.last_loss
        if found.bad_step is not None:
            self.step = found.bad_step
            raise NonFiniteLossError(self.step, self.last_loss)

    def _train_step(self, inputs: Tensor, labels: Tensor, tally: LossTally) -> None:
        epoch = self.begin_epoch()
        set_learning_rate(self.optimizer.param_groups, self.learning_rate(self.step))
        loss = self.optimizer.step(partial(self._loss, self.execution.layout(inputs), labels))
        assert loss is not None
        if self.average is not None:
            self.average.update()
        if self._looks_at_losses:
            epoch.loss_sum += float(loss) * self._batch.count
        else:
            value = torch.as_tensor(loss, dtype=torch.float64, device=self.device)
            tally.add(value.detach()[None], self._batch.count)
        self.step += 1
        epoch.batches += 1

    def _loss(self, inputs: Tensor, labels: Tensor) -> float | Tensor:
        """Compute the loss of a batch and its gradients. This is the optimizer's closure."""
        self.optimizer.zero_grad()
        with self._batch.own_random_numbers(self.recipe.seed, self.step, self.device):
            if (parts := self.recipe.accumulation) > 1:
                loss = accumulate(self.model, self._mean_loss, inputs, labels, parts)
            else:
                loss = self._mean_loss(inputs, labels)
                loss = self._gradients.backward(loss, self._batch.weight)
        if not self._looks_at_losses:
            return loss
        value = loss.item()
        if not math.isfinite(value):
            raise NonFiniteLossError(self.step, self.last_loss)
        self.last_loss = value
        return value

    def _mean_loss(self, inputs: Tensor, labels: Tensor) -> Tensor:
        with self.execution.autocast(self.device):
            outputs = self._forward(inputs)
            task, count = self.recipe.task, self.splits.num_classes
            task.require_outputs(self.model, outputs, labels, count)
            loss = mean_loss(task, outputs, labels)
            if self.teacher is None:
                return loss
            return self.teacher.loss(inputs, outputs, loss, compiled=self.execution.compile)

    def _evaluated(self, images: ImageSet, metrics: Sequence[Metric]) -> dict[str, float]:
        return evaluate(
            self.model,
            images,
            self.recipe.dataset,
            metrics,
            execution=self.execution,
            replicas=self.replicas,
        )

    def _main_metric(self, images: ImageSet) -> float:
        return self._evaluated(images, [self.metric])[self.metric.name]

    def _validation_measures(self) -> dict[Point, float]:
        """Return the main metric at the points of `VALIDATED`, which is equal if none differ."""
        if not self.is_quantizing:
            return dict.fromkeys(VALIDATED, self.metric_at(Point.LATENT))
        return {point: self.metric_at(point) for point in VALIDATED}
