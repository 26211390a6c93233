"""PackedRun: several recipes that are trained as one stacked network."""

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import torch

from quantlab.canonical import canonical_key
from quantlab.datasets.gathered import GatheredDataset
from quantlab.distributed.data_parallel import ALONE, Replicas
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
    """An event of one member of a pack: a finished epoch, or divergence."""

    member: int
    """Position of the member's recipe in the pack."""
    record: EpochRecord | None = None
    """Record of the epoch that the member has finished."""
    error: NonFiniteLossError | None = None
    """Error of a member that has diverged and is not trained further."""


class PackedRun:
    """The training of several recipes as one: ``for event in PackedRun(recipes): ...``.

    Every member has its own seed, data order, augmentation, rule, quantizer, schedules, statistics,
    records and state. It is trained as by `TrainingRun`, up to the order of sums. The state dict of
    a member is that of a `TrainingRun`, and either class can continue from it.

    Members that continue from different positions first catch up with the one that is ahead. A pack
    of one recipe equals a `TrainingRun` with events; on a GPU its steps are recorded as a CUDA
    graph as well. Training sets modes of the whole process (see `Execution.prepare`); the
    constructor leaves them as they are.
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
        replicas: Replicas = ALONE,
    ) -> None:
        """Load the data, and draw or load the initial weights of all members.

        Args:
            recipes: recipes that fit together; see `require_compatible`.
            data_dir: folder of datasets and weights.
            device: a torch device.
            execution: options of the computation.
            stacking: way to compute several networks as one; None for the best one that works.
            weights_of: see `TrainingRun`.
            replicas: see `TrainingRun`. Several processes train one recipe, without a stack.

        Raises:
            ConfigurationError: see `require_compatible`, `choose_stacking` and `TrainingRun`. It is
                also raised if packs do not support `execution`.
            MemoryExhaustedError: if the device cannot hold the data and the networks.
        """
        require_compatible(recipes)
        self.stacking = stacking
        """Way in which the networks are computed as one; None for one network without a stack."""
        if len(recipes) > 1:
            _require_fitting(execution)
            self.stacking = stacking or _stacking_for(recipes[0], data_dir, device)
        elif execution.graph and torch.device(device).type == "cuda":
            self.stacking = stacking or _stacking_alone(recipes[0], data_dir, device, execution)
        self.members: list[TrainingRun] = []
        for recipe in recipes:
            run = TrainingRun(
                recipe,
                data_dir=data_dir,
                device=device,
                execution=execution,
                weights_of=weights_of,
                replicas=replicas,
            )
            _share_teacher(run, self.members)
            self.members.append(run)
        self.execution = execution
        self.diverged: dict[int, NonFiniteLossError] = {}
        """Positions of the members that have diverged, with their errors."""
        self._stack: Stack | None = None

    def __iter__(self) -> Iterator[PackEvent]:
        """Train the remaining epochs and yield the events; see `train`."""
        for events in self.train():
            yield from events

    def train(self, pause_steps: int | None = None) -> Generator[Sequence[PackEvent], None, None]:
        """Train the remaining epochs, with pauses.

        Args:
            pause_steps: number of gradient steps between pauses, at which the caller can take the
                members' state dicts; None for no pauses within an epoch.

        Yields:
            The events of the members at the end of an epoch, and an empty list at a pause.

        Raises:
            MemoryExhaustedError: if the device cannot hold a step of all networks.
            LostProcessError: if a loader process was killed.
        """
        self.execution.prepare(self.members[0].device)
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
                f"training {len(together)} x {first.what}",
                advice="a smaller pack needs less memory",
            ):
                yield from self._train_epoch(
                    together, min(ahead, default=first.steps_per_epoch), pause_steps
                )
        self._stack = None

    def _train_alone(self, pause_steps: int | None) -> Iterator[Sequence[PackEvent]]:
        (run,) = self.members
        try:
            with closing(run.train(pause_steps)) as records:
                for record in records:
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
        """Return the positions of the members that are least advanced."""
        untrained = self._untrained()
        least = min((run.position for run in untrained.values()), default=None)
        return [place for place, run in untrained.items() if run.position == least]

    def _train_epoch(
        self, together: Sequence[int], until: int, pause_steps: int | None
    ) -> Iterator[Sequence[PackEvent]]:
        """Train up to step `until` of an epoch, and yield the records if that is its end."""
        stages = [self.members[place].stage for place in together]
        epochs = [self.members[place].begin_epoch() for place in together]
        changed = stages != [self.members[place].stage for place in together]
        if self._stack is None or changed or set(self._stack.places) != set(together):
            assert self.stacking is not None
            self._stack = None  # free its memory before the next stack is made
            self._stack = Stack(self.members, together, self.stacking, self.execution)
        stack = self._stack
        while epochs[0].batches < until:
            started = time.perf_counter()
            left = until - epochs[0].batches
            stack.train(min(pause_steps or left, left))
            seconds = (time.perf_counter() - started) / len(together)
            stack.hand_back(seconds)
            if stack.has_diverged:
                self._stack = None  # the others continue without them
                self.diverged |= (ended := stack.diverged)
                yield [PackEvent(place, error=error) for place, error in ended.items()]
                return
            if epochs[0].batches < until:
                yield []
        if until < stack.steps_per_epoch:
            self._stack = None
            return
        yield [PackEvent(place, record) for place, record in stack.records().items()]


def _share_teacher(run: TrainingRun, others: Sequence[TrainingRun]) -> None:
    """Let a run use the teacher of another one, if it is the same network."""
    for other in others:
        if run.teacher and other.teacher and run.teacher.is_like(other.teacher):
            run.teacher.share_network_of(other.teacher)
            return


def _require_fitting(execution: Execution) -> None:
    if execution.replicas > 1:
        raise ConfigurationError(
            f"Execution.replicas = {execution.replicas}: must be 1 in a pack, because several "
            "processes train a single recipe"
        )
    if execution.workers:
        raise ConfigurationError(
            f"Execution.workers = {execution.workers}: must be 0 in a pack, because every trial "
            "would start that many processes"
        )


def _stacking_alone(
    recipe: Recipe, data_dir: Path, device: torch.device | str, execution: Execution
) -> Stacking | None:
    """Return the stacking for one recipe on a GPU; None if a `TrainingRun` is as fast."""
    dataset = recipe.dataset
    if not isinstance(dataset, GatheredDataset):
        return None
    if not dataset.draws_ahead(dataset.load(data_dir, device).train):
        return None
    try:
        pack_key(recipe)
        _require_fitting(execution)
        return _stacking_for(recipe, data_dir, device)
    except ConfigurationError:
        return None


_STACKINGS: dict[str, Stacking | ConfigurationError] = {}
"""Stackings that have been chosen so far, by network and shape of the images."""


def _stacking_for(recipe: Recipe, data_dir: Path, device: torch.device | str) -> Stacking:
    splits = recipe.dataset.load(data_dir, device)
    dimensions = recipe.dataset.dimensions_of(splits)
    key = canonical_key((recipe.model, repr(dimensions)))
    if key not in _STACKINGS:
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(0)
            network = recipe.model.build_for(dimensions)
        try:
            _STACKINGS[key] = choose_stacking(network, dimensions.input, dimensions.symbols)
        except ConfigurationError as error:
            _STACKINGS[key] = error
    found = _STACKINGS[key]
    if isinstance(found, ConfigurationError):
        raise found
    return found
