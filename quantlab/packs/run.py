"""PackedRun: several recipes trained as one stacked network, each as if it were alone."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from quantlab.canonical import canonical_key
from quantlab.datasets.in_memory import InMemoryDataset
from quantlab.errors import ConfigurationError, NonFiniteLossError, naming_exhausted_memory
from quantlab.execution import DEFAULT_EXECUTION, Execution
from quantlab.initial_weights import no_other_trials
from quantlab.packs.compatibility import pack_key, require_compatible
from quantlab.packs.network import Stacking
from quantlab.packs.stack import Stack
from quantlab.packs.stacking import choose_stacking
from quantlab.recipe import Recipe
from quantlab.training.records import EpochRecord
from quantlab.training.run import TrainingRun


@dataclass(frozen=True)
class PackEvent:
    """Something that one member of a pack has come to."""

    member: int
    """Its place among the pack's recipes."""
    record: EpochRecord | None = None
    """Of an epoch that it has finished."""
    error: NonFiniteLossError | None = None
    """It has diverged, and is trained no further."""


class PackedRun:
    """Train several recipes as one: ``for event in PackedRun(recipes): ...``.

    Every member keeps its own seed, data order, augmentation, rule, quantizer, schedules,
    statistics, records and state, and is trained as `TrainingRun` would, up to the order of sums.
    A member's state dict is that of a `TrainingRun`, either of which can go on from it.

    Members that go on from different states catch up with one another first. A pack of one recipe
    is a `TrainingRun` in all but its events, except that on a GPU its steps are recorded, too.
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
            ConfigurationError: see `require_compatible`, `choose_stacking` and `TrainingRun`; or
                `execution` asks for what packs do not have.
            MemoryExhaustedError: the device cannot hold data and networks.
        """
        require_compatible(recipes)
        self.stacking = stacking
        """How the networks are computed as one; None if there is but one, by itself."""
        if len(recipes) > 1:
            _require_fitting(execution)
            self.stacking = stacking or _stacking_for(recipes[0], data_dir, device)
        elif execution.graph and torch.device(device).type == "cuda":
            self.stacking = stacking or _stacking_alone(recipes[0], data_dir, device, execution)
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
        self._stack: Stack | None = None

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
            self._stack = None  # first its memory, then that of another one
            self._stack = Stack(self.members, together, self.stacking, self.execution)
        stack = self._stack
        while epochs[0].batches < until:
            started = time.perf_counter()
            left = until - epochs[0].batches
            stack.train(min(pause_steps or left, left))
            seconds = (time.perf_counter() - started) / len(together)
            stack.hand_back(seconds)
            if stack.has_diverged:
                self._stack = None  # the others go on without them
                self.diverged |= (ended := stack.diverged)
                yield [PackEvent(place, error=error) for place, error in ended.items()]
                return
            if epochs[0].batches < until:
                yield []
        if until < stack.steps_per_epoch:
            self._stack = None
            return
        yield [PackEvent(place, record) for place, record in stack.records().items()]


def _require_fitting(execution: Execution) -> None:
    if execution.workers:
        raise ConfigurationError(
            f"Execution.workers = {execution.workers}: in a pack, every trial would have as many"
        )


def _stacking_alone(
    recipe: Recipe, data_dir: Path, device: torch.device | str, execution: Execution
) -> Stacking | None:
    """Of a stack of one; None for what gains nothing by it over a `TrainingRun`."""
    dataset = recipe.dataset
    if not (isinstance(dataset, InMemoryDataset) and dataset.draws_ahead):
        return None
    try:
        pack_key(recipe)
        _require_fitting(execution)
        return _stacking_for(recipe, data_dir, device)
    except ConfigurationError:
        return None


_STACKINGS: dict[str, Stacking | ConfigurationError] = {}
"""What was found for networks and images so far."""


def _stacking_for(recipe: Recipe, data_dir: Path, device: torch.device | str) -> Stacking:
    splits = recipe.dataset.load(data_dir, device)
    inputs, _ = next(iter(recipe.dataset.batches(splits.test, batch_size=1)))
    image_shape = inputs.shape[1:]
    key = canonical_key((recipe.model, splits.num_classes, tuple(image_shape)))
    if key not in _STACKINGS:
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(0)
            network = recipe.model.build(
                num_classes=splits.num_classes, num_channels=recipe.dataset.num_channels
            )
        try:
            _STACKINGS[key] = choose_stacking(network, image_shape)
        except ConfigurationError as error:
            _STACKINGS[key] = error
    found = _STACKINGS[key]
    if isinstance(found, ConfigurationError):
        raise found
    return found
