"""PackedRun: several recipes trained as one stacked network, each as if it were alone."""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from quantlab.canonical import canonical
from quantlab.errors import ConfigurationError, NonFiniteLossError, naming_exhausted_memory
from quantlab.evaluation import stacked_accuracies
from quantlab.execution import DEFAULT_EXECUTION, Execution
from quantlab.initial_weights import no_other_trials
from quantlab.models import ModelSpec
from quantlab.optimizer import ELEMENTWISE
from quantlab.recipe import Recipe
from quantlab.records import EpochRecord
from quantlab.stacked_network import StackedNetwork, Stacking, choose_stacking
from quantlab.stacked_optimizer import StackedOptimizer, StackMember, neighbours
from quantlab.training import VALIDATED, TrainingRun
from quantlab.update_rules import Point


@dataclass(frozen=True)
class PackEvent:
    """Something that one member of a pack has come to."""

    member: int
    """Its place among the pack's recipes."""
    record: EpochRecord | None = None
    """Of an epoch that it has finished."""
    error: NonFiniteLossError | None = None
    """It has diverged, and is trained no further."""


def pack_key(recipe: Recipe) -> str:
    """Recipes with the same key can be trained as one pack.

    They agree in model, dataset, batch size, epochs, optimizer class, and in which layers have a
    quantizer of their own; quantizers, rules, sharpness, learning rates, options of the optimizer,
    averaging, seeds and initial weights may differ.

    Raises:
        ConfigurationError: such a recipe cannot be trained in any pack.
    """
    return json.dumps(canonical(_common(recipe)), sort_keys=True)


def _common(recipe: Recipe) -> dict[str, Any]:
    algorithm = recipe.optimizer.algorithm
    if algorithm not in ELEMENTWISE:
        raise ConfigurationError(
            f"pack: OptimizerSpec.algorithm = {algorithm.__name__}: its updates are not "
            f"elementwise, as those of {', '.join(known.__name__ for known in ELEMENTWISE)} are; "
            "train such trials alone"
        )
    quantization = recipe.quantization
    return {
        "model": recipe.model,
        "dataset": recipe.dataset,
        "batch_size": recipe.batch_size,
        "epochs": recipe.epochs,
        "batchnorm_epochs": recipe.batchnorm_epochs,
        "optimizer.algorithm": algorithm.__name__,
        "quantization.exclude": None if quantization is None else quantization.exclude,
        "quantization.groups.layers": quantization
        and tuple(group.layers for group in quantization.groups),
    }


def require_compatible(recipes: Sequence[Recipe]) -> None:
    """Make sure that recipes can be trained as one pack; any recipe can alone.

    Raises:
        ConfigurationError: they cannot; the message names the field in which two of them differ.
    """
    if not recipes:
        raise ConfigurationError("pack: must hold at least one recipe")
    if len(recipes) == 1:
        return
    first = _common(recipes[0])
    for position, recipe in enumerate(recipes):
        for name, value in _common(recipe).items():
            if value != first[name]:
                raise ConfigurationError(
                    f"pack: recipe {position} has {name} = {value!r}, recipe 0 has "
                    f"{first[name]!r}; all recipes of a pack must agree in it"
                )


class PackedRun:
    """Train several recipes as one: ``for event in PackedRun(recipes): ...``.

    Every member keeps its own seed, data order, augmentation, rule, quantizer, schedules,
    statistics, records and state, and is trained as `TrainingRun` would, up to the order of sums.
    A member's state dict is that of a `TrainingRun`, either of which can go on from it.

    Members that go on from different states catch up with one another first. A pack of one recipe
    is a `TrainingRun` in all but its events.
    """

    def __init__(
        self,
        recipes: Sequence[Recipe],
        *,
        data_dir: Path = Path("data"),
        device: torch.device | str = "cpu",
        execution: Execution = DEFAULT_EXECUTION,
        stacking: Stacking | None = None,
        weights_of: Callable[[str], Path] = no_other_trials,
    ) -> None:
        """Load the data, and draw or load everybody's initial weights.

        Args:
            recipes: see `require_compatible`.
            data_dir: where datasets and weights lie.
            device: a torch device.
            execution: how to compute it.
            stacking: how to compute several networks as one; None for the best way that works.
            weights_of: see `TrainingRun`.

        Raises:
            ConfigurationError: see `require_compatible` and `TrainingRun`; or `execution` says that
                several networks are to be compiled, which they cannot.
            MemoryExhaustedError: the device cannot hold data and networks.
        """
        require_compatible(recipes)
        if execution.compile and len(recipes) > 1:
            raise ConfigurationError("Execution.compile = True: packs cannot be compiled")
        self.members = [
            TrainingRun(
                recipe,
                data_dir=data_dir,
                device=device,
                execution=execution,
                weights_of=weights_of,
            )
            for recipe in recipes
        ]
        self.execution = execution
        self.diverged: dict[int, NonFiniteLossError] = {}
        """Place of a member -> how it diverged."""
        self.stacking = stacking
        """How the networks are computed as one; None if there is but one."""
        if stacking is None and len(recipes) > 1:
            first = self.members[0]
            self.stacking = _stacking_for(
                recipes[0].model, first.splits.num_classes, _image_shape(first)
            )
        self._stack: _Stack | None = None

    def __iter__(self) -> Iterator[PackEvent]:
        """Train what is left; see `train`."""
        for events in self.train():
            yield from events

    def train(self, pause_steps: int | None = None) -> Iterator[Sequence[PackEvent]]:
        """Train what is left, with pauses.

        Args:
            pause_steps: pause after so many gradient steps within an epoch, to give the caller an
                opportunity to take the members' state dicts; None for epochs in one go.

        Yields:
            What members have come to at the same time; nothing at a pause.

        Raises:
            MemoryExhaustedError: the device cannot hold a step of so many networks.
            LostProcessError: a loader process was killed.
        """
        if self.stacking is None:
            yield from self._train_alone(pause_steps)
        while together := self._last_ones():
            epochs, steps = self.members[together[0]].position
            ahead = [
                run.position[1]
                for run in self._untrained().values()
                if run.position[0] == epochs and run.position[1] > steps
            ]
            first = self.members[together[0]]
            with naming_exhausted_memory(
                f"training {len(together)} x {first.what}", advice="a smaller pack needs less"
            ):
                yield from self._train_epoch(
                    together, min(ahead, default=first.steps_per_epoch), pause_steps
                )
        self._stack = None

    def _train_alone(self, pause_steps: int | None) -> Iterator[Sequence[PackEvent]]:
        (run,) = self.members
        try:
            for record in run.train(pause_steps):
                yield [] if record is None else [PackEvent(0, record)]
        except NonFiniteLossError as error:
            self.diverged[0] = error
            yield [PackEvent(0, error=error)]

    def _untrained(self) -> dict[int, TrainingRun]:
        return {
            place: run
            for place, run in enumerate(self.members)
            if not run.is_trained and place not in self.diverged
        }

    def _last_ones(self) -> list[int]:
        """Places of those that have come the least far."""
        untrained = self._untrained()
        least = min((run.position for run in untrained.values()), default=None)
        return [place for place, run in untrained.items() if run.position == least]

    def _train_epoch(
        self, together: Sequence[int], until: int, pause_steps: int | None
    ) -> Iterator[Sequence[PackEvent]]:
        """One epoch or a part of it, with pauses; if it is the last part, then the records."""
        stages = [self.members[place].stage for place in together]
        epochs = [self.members[place].begin_epoch() for place in together]
        changed = stages != [self.members[place].stage for place in together]
        if self._stack is None or changed or set(self._stack.places) != set(together):
            assert self.stacking is not None
            self._stack = _Stack(self.members, together, self.stacking, self.execution)
        stack = self._stack
        if until < stack.steps_per_epoch and pause_steps is None:
            pause_steps = until - epochs[0].batches
        batches = stack.batches()
        while epochs[0].batches < until:
            started = time.perf_counter()
            left = until - epochs[0].batches
            for inputs, labels in islice(batches, min(pause_steps or left, left)):
                stack.step(inputs, labels)
                if stack.has_diverged and stack.device.type == "cpu":
                    break
            seconds = (time.perf_counter() - started) / len(together)
            stack.hand_back(seconds)
            if stack.has_diverged:
                self._stack = None  # the others go on without them
                self.diverged |= (ended := stack.diverged())
                yield [PackEvent(place, error=error) for place, error in ended.items()]
                return
            if epochs[0].batches < until:
                yield []
        if until < stack.steps_per_epoch:
            self._stack = None
            return
        yield [PackEvent(place, record) for place, record in stack.records().items()]


class _Stack:
    """Members at the same step of the same stage, with their memory together."""

    def __init__(
        self,
        members: Sequence[TrainingRun],
        places: Sequence[int],
        stacking: Stacking,
        execution: Execution,
    ) -> None:
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
        self._last_losses = torch.tensor([run.last_loss for run in self.runs], device=self.device)
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
            workers=self._execution.workers,
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
        measured = {point: self._validation_accuracies(point) for point in points}
        gaps = []
        for run in self.runs:
            with _random_numbers(run):
                gaps.append(run.optimizer.quantization_gap())
        seconds = (time.perf_counter() - started) / len(self.runs)
        records = {}
        for row, (place, run) in enumerate(zip(self.places, self.runs, strict=True)):
            at = {point: measured.get(point, measured[VALIDATED[0]])[row] for point in VALIDATED}
            records[place] = run.end_epoch(at, gaps[row], seconds)
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


def _image_shape(run: TrainingRun) -> tuple[int, ...]:
    batches = run.recipe.dataset.batches(run.splits.test, batch_size=1)
    return tuple(next(iter(batches))[0].shape[1:])


@lru_cache(maxsize=16)
def _stacking_for(model: ModelSpec, num_classes: int, image_shape: tuple[int, ...]) -> Stacking:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        network = model.build(num_classes=num_classes, num_channels=image_shape[0])
    return choose_stacking(network, image_shape)
