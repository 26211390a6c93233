"""Stack: the step of several training runs at once."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor

from quantlab.errors import NonFiniteLossError
from quantlab.evaluation import stacked_accuracies
from quantlab.execution import Execution
from quantlab.records import EpochRecord
from quantlab.stacked_network import StackedNetwork, Stacking
from quantlab.stacked_optimizer import StackedOptimizer, StackMember, neighbours
from quantlab.training import VALIDATED, TrainingRun
from quantlab.update_rules import Point


class Stack:
    """Members at the same step of the same stage, with their memory together."""

    def __init__(
        self,
        members: Sequence[TrainingRun],
        places: Sequence[int],
        stacking: Stacking,
        execution: Execution,
    ) -> None:
        """Bring their memory together.

        Args:
            members: of a pack.
            places: of those among them that are in the stack.
            stacking: how to compute several networks as one.
            execution: memory format, autocast and loader processes.
        """
        of_stack = {place: _member(members[place]) for place in places}
        order = neighbours([of_stack[place] for place in places], lambda member: member.order)
        self.places = [places[position] for position in order]
        self.runs = [members[place] for place in self.places]
        first = self.runs[0]
        self.device, self.steps_per_epoch = first.device, first.steps_per_epoch
        self._execution = execution
        self._network = StackedNetwork([run.model for run in self.runs], stacking)
        names = {id(parameter): name for name, parameter in first.model.named_parameters()}
        self._optimizer = StackedOptimizer(
            [of_stack[place] for place in self.places],
            [[names[id(source)] for source in of.sources] for of in first.optimizer.moved],
        )
        self._frozen = {
            name: torch.stack([run.model.get_parameter(name).detach() for run in self.runs])
            for name in set(names.values()) - set(self._optimizer.weights)
        }
        """Parameters that are not trained (any more)."""
        self._first_step = first.step
        count = len(self.runs)
        self._loss_sums = torch.zeros(count, dtype=torch.float64, device=self.device)
        self._last_losses = torch.tensor(
            [run.last_loss for run in self.runs], dtype=torch.float64, device=self.device
        )
        self._bad_steps = torch.full((count,), -1, device=self.device)
        self._num_steps = 0
        self._new_steps = 0
        """Of these, how many the members do not know of yet."""
        self.has_diverged = False

    def batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """The rest of everybody's epoch."""
        first = self.runs[0]
        epochs = [run.begin_epoch() for run in self.runs]
        done = epochs[0].batches * first.recipe.batch_size
        return first.recipe.dataset.stacked_batches(
            first.splits.train,
            batch_size=first.recipe.batch_size,
            orders=torch.stack([epoch.order[done:] for epoch in epochs]),
            random_numbers=[epoch.random for epoch in epochs],
        )

    def step(self, inputs: Tensor, labels: Tensor) -> None:
        """One gradient step of everybody.

        Args:
            inputs: (K, batch, channels, height, width).
            labels: (K, batch).
        """
        logits = self._network(self._weights(), inputs, self._execution)
        with self._execution.autocast(self.device):
            each = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none")
        losses = each.unflatten(0, labels.shape).mean(dim=1)
        values = losses.detach()
        is_bad = ~values.isfinite() & (self._bad_steps < 0)
        self._bad_steps.masked_fill_(is_bad, self._first_step + self._num_steps)
        is_good = self._bad_steps < 0
        self._loss_sums += torch.where(is_good, values * labels.shape[1], 0)
        self._last_losses = torch.where(is_good, values.to(self._last_losses), self._last_losses)
        gradients = self._optimizer.gradients(losses)
        if self.device.type == "cpu" and is_bad.any():  # elsewhere, looking would take time
            self.has_diverged = True
            for row in is_bad.nonzero().flatten().tolist():
                self._optimizer.set_aside(row)
        self._optimizer.step(gradients, self._first_step + self._num_steps)
        self._num_steps += 1
        self._new_steps += 1

    def hand_back(self, seconds: float) -> None:
        """Bring the members' own state up to date.

        Args:
            seconds: a member's share of the time since the last call.
        """
        self._optimizer.hand_back()
        bad_steps = self._bad_steps.tolist()
        self.has_diverged = max(bad_steps) >= 0
        for run, loss_sum, last_loss, bad_step in zip(
            self.runs,
            self._loss_sums.tolist(),
            self._last_losses.tolist(),
            bad_steps,
            strict=True,
        ):
            epoch = run.begin_epoch()
            epoch.batches += self._new_steps
            epoch.loss_sum += loss_sum
            epoch.seconds += seconds
            run.last_loss = last_loss
            run.step = self._first_step + self._num_steps if bad_step < 0 else bad_step
        self._loss_sums.zero_()
        self._new_steps = 0

    def diverged(self) -> dict[int, NonFiniteLossError]:
        """Place -> how it diverged, of those that have."""
        return {
            place: NonFiniteLossError(run.step, run.last_loss)
            for place, run, bad_step in zip(
                self.places, self.runs, self._bad_steps.tolist(), strict=True
            )
            if bad_step >= 0
        }

    def records(self) -> dict[int, EpochRecord]:
        """Place -> record, at the end of everybody's epoch."""
        started = time.perf_counter()
        points = VALIDATED if self.runs[0].is_quantizing else VALIDATED[:1]
        measured = {point: [*self._validation_accuracies(point)] for point in points}
        for row, run in enumerate(self.runs):
            if run.reestimates:
                measured[Point.HARD][row] = run.accuracy_at(Point.HARD)
        gaps, histograms = [], []
        for run in self.runs:
            with _random_numbers(run):
                gaps.append(run.optimizer.quantization_gap())
                histograms.append(run.optimizer.weight_histogram())
        seconds = (time.perf_counter() - started) / len(self.runs)
        records = {}
        for row, (place, run) in enumerate(zip(self.places, self.runs, strict=True)):
            at = {point: measured.get(point, measured[VALIDATED[0]])[row] for point in VALIDATED}
            records[place] = run.end_epoch(at, gaps[row], histograms[row], seconds)
        return dict(sorted(records.items()))

    @torch.no_grad()
    def _validation_accuracies(self, point: Point) -> Sequence[float]:
        with ExitStack() as stack:
            for run in self.runs:
                with _random_numbers(run):
                    stack.enter_context(run.optimizer.weights_at(point))
            return stacked_accuracies(
                self._network,
                self._weights(),
                self.runs[0].splits.validation,
                self.runs[0].recipe.dataset,
                count=len(self.runs),
                execution=self._execution,
            )

    def _weights(self) -> Mapping[str, Tensor]:
        return {**self._frozen, **self._optimizer.weights}


def _member(run: TrainingRun) -> StackMember:
    schedule = run.recipe.optimizer.learning_rate
    return StackMember(
        optimizer=run.optimizer,
        spec=run.recipe.optimizer,
        learning_rate=lambda step: schedule.at(step, run.steps_per_epoch),
        random_numbers=lambda: _random_numbers(run),
    )


def _random_numbers(run: TrainingRun) -> AbstractContextManager[object]:
    """The member's, in torch's default generators, if its maps draw from them."""
    if any(group.quantizer.random for group in run.optimizer.groups):
        return run.begin_epoch().random.in_use()
    return nullcontext()
