"""Stack: gradient steps of several training runs at once."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from functools import partial

import torch
from torch import Tensor

from quantlab.datasets.gathered import GatheredDataset
from quantlab.datasets.in_memory import Images
from quantlab.distillation.teachers import Teachers
from quantlab.errors import NonFiniteLossError
from quantlab.execution import Execution
from quantlab.optim.weight_measures import weight_measures
from quantlab.packs.chunk import Chunk
from quantlab.packs.evaluation import stacked_metric
from quantlab.packs.graph import WARM_UP_STEPS, Record, record_on
from quantlab.packs.member import StackMember, neighbours
from quantlab.packs.network import StackedNetwork, Stacking
from quantlab.packs.optimizer import RECORDABLE, StackedOptimizer
from quantlab.packs.rows.moving_average import StackedMovingAverage
from quantlab.tasks.checked import each_loss
from quantlab.training.epoch import EpochInProgress
from quantlab.training.loss_tally import LossTally
from quantlab.training.records import EpochRecord
from quantlab.training.run import VALIDATED, TrainingRun
from quantlab.update_rules import Point

CHUNK_STEPS = 64
"""Number of steps that are prepared together on a GPU."""

PIXELS_AT_ONCE = 2**24
"""Number of pixels of all networks in one forward pass of an evaluation on a GPU."""


class Stack:
    """Members at the same step of the same stage, whose weights are in common tensors."""

    def __init__(
        self,
        members: Sequence[TrainingRun],
        places: Sequence[int],
        stacking: Stacking,
        execution: Execution,
        *,
        chunk_steps: int | None = None,
        record: Record | None = None,
    ) -> None:
        """Move the weights of the members to common tensors.

        Args:
            members: all members of a pack.
            places: positions of the members that are in the stack.
            stacking: way to compute several networks as one.
            execution: memory format, autocast, graph and number of loader processes.
            chunk_steps: number of steps that are prepared together; None for the device's default.
            record: function that records steps; None for the default of device and execution.
        """
        of_stack = {place: _member(members[place]) for place in places}
        order = neighbours([of_stack[place] for place in places], lambda member: member.order)
        self.places = [places[position] for position in order]
        self.runs = [members[place] for place in self.places]
        first = self.runs[0]
        self.device, self.steps_per_epoch = first.device, first.steps_per_epoch
        self._execution = execution
        on_gpu = self.device.type == "cuda"
        if execution.compile:
            torch.compiler.reset()  # or networks of stacks that are gone would count as variants
        self._network = StackedNetwork(
            [run.model for run in self.runs], stacking, own_kernels=on_gpu and execution.triton
        )
        names = {id(parameter): name for name, parameter in first.model.named_parameters()}
        self._optimizer = StackedOptimizer(
            [of_stack[place] for place in self.places],
            [[names[id(source)] for source in of.sources] for of in first.optimizer.moved],
            trial_step=first.step,
            rates_in_tensors=record is not None
            or (on_gpu and first.recipe.optimizer.algorithm in RECORDABLE),
        )
        teachers = [run.teacher for run in self.runs if run.teacher is not None]
        self._teachers = Teachers(teachers, self.device) if teachers else None
        self._frozen = {
            name: torch.stack([run.model.get_parameter(name).detach() for run in self.runs])
            for name in set(names.values()) - set(self._optimizer.weights)
        }
        """Parameters that are not trained in this stage."""
        averages = [run.average for run in self.runs if run.average is not None]
        self._moving_average: StackedMovingAverage | None = None
        if averages:
            self._moving_average = StackedMovingAverage(
                averages,
                self._optimizer.latents,
                self._network.buffers,
                self._optimizer.add_number,
            )
        self._first_step = first.step
        self._losses = LossTally(
            [run.last_loss for run in self.runs],
            [0.0 for _ in self.runs],
            first.step,
            self.device,
        )
        self.diverged: dict[int, NonFiniteLossError] = {}
        """Positions of the members that have diverged up to the last `hand_back`, with errors."""
        self._num_steps = 0
        self._new_steps = 0
        """Number of steps since the last `hand_back`."""
        self.has_diverged = False
        dataset = first.recipe.dataset
        self._ahead: GatheredDataset | None = None
        if isinstance(dataset, GatheredDataset) and dataset.draws_ahead(first.splits.train):
            self._ahead = dataset
        """The dataset, if random numbers of its batches can be drawn in advance."""
        self._chunk_steps = chunk_steps or (CHUNK_STEPS if on_gpu else 1)
        self._chunks: dict[int, Chunk] = {}
        """Chunks by the size of their batches."""
        self._stream = torch.cuda.Stream(self.device) if on_gpu else None
        if self._stream is not None and execution.graph:
            record = record_on(self._stream)
        is_recordable = self._ahead is not None and self._optimizer.is_recordable
        self._record = record if is_recordable else None
        self._looks_at_losses = not on_gpu and record is None  # on a GPU, the check would take time
        self._recorded: Callable[[], None] | None = None
        self._epoch: EpochInProgress | None = None
        """Epoch of the first member for which the orders and batches below were made."""
        self._orders = torch.empty(0)
        self._batches: Iterator[tuple[Tensor, Tensor]] = iter(())

    def train(self, count: int) -> None:
        """Take gradient steps of all members, within an epoch.

        On the CPU, training stops after a step in which a member diverges.

        Args:
            count: number of steps.
        """
        if self._stream is None:
            self._train(count)
            return
        self._stream.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(self._stream):
            self._train(count)
        torch.cuda.current_stream(self.device).wait_stream(self._stream)

    def _train(self, count: int) -> None:
        first = self.runs[0]
        if self._epoch is not first.begin_epoch():
            self._begin_epoch()
        until = first.begin_epoch().batches + self._new_steps + count
        batch_size, images = first.recipe.batch_size, self._orders.shape[1]
        while (done := first.begin_epoch().batches + self._new_steps) < until:
            size = min(batch_size, images - done * batch_size)
            last = until if size < batch_size else min(until, images // batch_size)
            chunk = self._filled(done * batch_size, size, min(self._chunk_steps, last - done))
            for _ in range(min(self._chunk_steps, last - done)):
                self._step(chunk, is_full=size == batch_size)
                if self.has_diverged and self._stream is None:
                    return

    def _begin_epoch(self) -> None:
        """Stack the orders of all members, from their current position."""
        first = self.runs[0]
        epochs = [run.begin_epoch() for run in self.runs]
        self._epoch = epochs[0]
        self._orders = torch.stack([epoch.order for epoch in epochs])
        if self._ahead is None:
            self._batches = first.recipe.dataset.stacked_batches(
                first.splits.train,
                batch_size=first.recipe.batch_size,
                orders=self._orders[:, epochs[0].batches * first.recipe.batch_size :],
                random_numbers=[epoch.random for epoch in epochs],
            )

    def _filled(self, start: int, size: int, steps: int) -> Chunk:
        """Return a chunk with the numbers of the next steps, and their batches if possible."""
        key = size if self._ahead else 0
        if key not in self._chunks:
            self._chunks[key] = Chunk(self.device, self._chunk_steps)
        rows = [self._optimizer.numbers(steps)]
        if self._ahead is not None:
            indices = self._orders[:, start : start + steps * size]
            rows.append(indices.unflatten(1, (steps, size)).transpose(0, 1))
            generators = [run.begin_epoch().random.generator for run in self.runs]
            images = size * len(self.runs)
            drawn = [self._ahead.draw(images, generators) for _ in range(steps)]
            changes = [one for one in drawn if one is not None]
            rows += [torch.stack(changes)] if changes else []
        self._chunks[key].fill(rows)
        return self._chunks[key]

    def _step(self, chunk: Chunk, *, is_full: bool) -> None:
        """Take one gradient step of all members, recorded or not."""
        if is_full and self._record is not None and self._num_steps >= WARM_UP_STEPS:
            if self._recorded is None:
                self._recorded = self._record(partial(self._compute, chunk, is_full=True))
            self._recorded()
        else:
            self._compute(chunk, is_full=is_full)
        self._optimizer.advance()
        self._num_steps += 1
        self._new_steps += 1

    def _compute(self, chunk: Chunk, *, is_full: bool) -> None:
        """Compute a step. All values that change from step to step are in tensors."""
        if self._ahead is None:
            (numbers,) = chunk.next()
            inputs, labels = next(self._batches)
        else:
            numbers, indices, *drawn = chunk.next()
            images = self.runs[0].splits.train
            inputs, labels = self._ahead.drawn_batch(images, indices, drawn[0] if drawn else None)
        # A smaller batch would need a compilation of its own, for one step per epoch.
        compiled = self._execution.compile and is_full
        logits = self._network(self._weights(), inputs, self._execution, compiled=compiled)
        with self._execution.autocast(self.device):
            task = self.runs[0].recipe.task
            each = each_loss(task, logits.flatten(0, 1), labels.flatten(0, 1))
        losses = each.unflatten(0, labels.shape[:2]).mean(dim=1)
        if self._teachers is not None:
            losses = self._teachers.losses(
                inputs, logits, losses, self._execution, compiled=compiled
            )
        is_bad = self._losses.add(losses.detach(), labels.shape[1])
        gradients = self._optimizer.gradients(losses)
        if self._looks_at_losses and is_bad.any():
            self.has_diverged = True
            for row in is_bad.nonzero().flatten().tolist():
                self._optimizer.set_aside(row)
                if (average := self.runs[row].average) is not None:
                    average.set_aside()
        self._optimizer.step(gradients, numbers)
        if self._moving_average is not None:
            self._moving_average(numbers)

    def hand_back(self, seconds: float) -> None:
        """Update the state of the members.

        Args:
            seconds: each member's share of the wall time since the last call.
        """
        self._optimizer.hand_back()
        for place, run, found in zip(self.places, self.runs, self._losses.read(), strict=True):
            epoch = run.begin_epoch()
            epoch.batches += self._new_steps
            epoch.loss_sum += found.loss_sum
            epoch.seconds += seconds
            run.last_loss = found.last_loss
            run.step = self._first_step + self._num_steps
            if found.bad_step is not None:
                run.step = found.bad_step
                self.diverged[place] = NonFiniteLossError(run.step, run.last_loss)
        self.has_diverged = bool(self.diverged)
        self._new_steps = 0

    def records(self) -> dict[int, EpochRecord]:
        """Evaluate all members at the end of their epoch.

        Returns:
            Positions of the members with their records.
        """
        started = time.perf_counter()
        points = VALIDATED if self.runs[0].is_quantizing else VALIDATED[:1]
        measured = {point: [*self._validation_measures(point)] for point in points}
        for row, run in enumerate(self.runs):
            if run.reestimates:
                measured[Point.HARD][row] = run.metric_at(Point.HARD)
        weights = []
        for run in self.runs:
            with _random_numbers(run):
                weights.append(weight_measures(run.optimizer, run.begin_epoch().first_levels))
        seconds = (time.perf_counter() - started) / len(self.runs)
        records = {}
        for row, (place, run) in enumerate(zip(self.places, self.runs, strict=True)):
            at = {point: measured.get(point, measured[VALIDATED[0]])[row] for point in VALIDATED}
            records[place] = run.end_epoch(at, weights[row], seconds)
        return dict(sorted(records.items()))

    @torch.no_grad()
    def _validation_measures(self, point: Point) -> Sequence[float]:
        with ExitStack() as stack:
            for run in self.runs:
                with _random_numbers(run):
                    stack.enter_context(run.averaged())
                    stack.enter_context(run.optimizer.weights_at(point))
            return stacked_metric(
                self._network,
                self._weights(),
                self.runs[0].splits.validation,
                self.runs[0].recipe.dataset,
                self.runs[0].metric,
                count=len(self.runs),
                batch_size=self._evaluation_batch(),
                execution=self._execution,
            )

    def _evaluation_batch(self) -> int:
        images = self.runs[0].splits.validation
        if self._stream is None or not isinstance(images, Images):
            return 125
        pixels = images.pixels.shape[2:].numel() * len(self.runs)
        return max(1, PIXELS_AT_ONCE // pixels)

    def _weights(self) -> Mapping[str, Tensor]:
        return {**self._frozen, **self._optimizer.weights}


def _member(run: TrainingRun) -> StackMember:
    quantization = run.recipe.quantization
    return StackMember(
        optimizer=run.optimizer,
        spec=run.recipe.optimizer,
        step_scale=None if quantization is None else quantization.step_scale,
        learning_rate=run.learning_rate,
        random_numbers=lambda: _random_numbers(run),
    )


def _random_numbers(run: TrainingRun) -> AbstractContextManager[object]:
    """Set torch's default generators to the member's random numbers, if its maps are random."""
    if any(group.quantizer.random for group in run.optimizer.groups):
        return run.begin_epoch().random.in_use()
    return nullcontext()
