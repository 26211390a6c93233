"""The measurement of processes that share a GPU, with simulated processes and on the CPU."""

from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from typing import Any

from quantlab.models.mlp import MLP
from quantlab.probing.gpu_sharing import Pace, SharedPaces, Sharer, measure_sharing
from tests.forked import PROCESSES
from tests.quantlab.recipes import quantized


def best(paces: Mapping[int, float], memory: Mapping[int, float] | None = None) -> int:
    return SharedPaces(paces, memory or dict.fromkeys(paces, 0.1)).best


def test_the_least_number_that_is_nearly_the_fastest() -> None:
    assert best({1: 10.0, 2: 19.0, 4: 30.0, 8: 29.0}) == 4
    assert best({1: 10.0, 2: 10.4}) == 1  # by noise
    assert best({1: 10.0, 2: 10.6}) == 2
    assert best({1: 10.0, 2: 19.0, 4: 19.5, 8: 19.9}) == 2
    assert best({1: 10.0, 2: 9.0}) == 1


def test_memory_has_the_last_word() -> None:
    assert best({1: 10.0, 2: 19.0, 4: 30.0}, {1: 0.2, 2: 0.4, 4: 0.81}) == 2
    assert best({1: 10.0, 2: 19.0, 4: 30.0}, {1: 0.2, 2: 0.4, 4: 0.79}) == 4
    assert best({1: 10.0, 2: 19.0}, {1: 0.9, 2: 0.95}) == 1  # one there must be
    assert best({}) == 1  # nothing could be measured


class Made:
    """Processes whose trials an hour and memory are made up."""

    def __init__(
        self, together: Mapping[int, float], *, memory: float = 0.01, largest: int = 99
    ) -> None:
        self.together = together
        self.memory = memory
        self.largest = largest
        self.number = 0

    def grow(self, number: int) -> None:
        if number > self.largest:
            raise RuntimeError("OutOfMemoryError: CUDA out of memory\nand much more")
        self.number = number

    def train(self, seconds: float) -> Sequence[Pace]:
        each = self.together[self.number] / self.number
        return [Pace(each, 0.1 + self.memory * self.number)] * self.number


FASTER = {1: 10.0, 2: 19.0, 4: 30.0, 8: 40.0, 16: 50.0}


def test_more_are_tried_as_long_as_they_are_faster() -> None:
    paces = measure_sharing(Made(FASTER), most=16, trials=100)
    assert (dict(paces.trials_per_hour), paces.best) == (FASTER, 16)
    paces = measure_sharing(Made(FASTER), most=5, trials=100)
    assert list(paces.trials_per_hour) == [1, 2, 4]
    paces = measure_sharing(Made({**FASTER, 4: 18.0}), most=16, trials=100)
    assert (list(paces.trials_per_hour), paces.best) == ([1, 2, 4], 2)
    assert str(paces) == (
        "1: 10 trials/h, 11% of its memory; 2: 19 trials/h, 12% of its memory; "
        "4: 18 trials/h, 14% of its memory"
    )


def test_what_would_not_fit_is_not_tried() -> None:
    paces = measure_sharing(Made(FASTER, memory=0.15), most=16, trials=100)
    assert (list(paces.trials_per_hour), paces.best) == ([1, 2, 4], 4)
    assert paces.note == "8 processes would exceed its memory"


def test_a_process_that_dies_of_its_memory_ends_it() -> None:
    paces = measure_sharing(Made(FASTER, largest=2), most=16, trials=100)
    assert (list(paces.trials_per_hour), paces.best) == ([1, 2], 2)
    assert paces.note == "4 processes failed: OutOfMemoryError: CUDA out of memory"
    paces = measure_sharing(Made(FASTER, largest=0), most=16, trials=100)
    assert paces.best == 1
    assert str(paces) == "1 process failed: OutOfMemoryError: CUDA out of memory"


def test_short_sweeps_are_not_worth_the_time() -> None:
    paces = measure_sharing(Made({1: 1000.0}), most=16, trials=20)
    assert (paces.best, paces.note) == (1, "more were not measured, because training is short")


def test_a_pack_that_diverges_at_once_has_no_pace() -> None:
    paces = measure_sharing(Made({1: 0.0}), most=16, trials=20)
    assert (paces.best, str(paces)) == (1, "nothing could be trained")


class Processes:
    """Forks of one that has but imported torch; those of a test's own process may block."""

    def __init__(self) -> None:
        self.ends: list[Connection] = []
        self.processes: list[Any] = []

    def grow(self, number: int) -> None:
        for _ in range(number - len(self.ends)):
            ours, theirs = PROCESSES.Pipe()
            process = PROCESSES.Process(target=work, args=(theirs,), daemon=True)
            process.start()
            theirs.close()
            self.ends.append(ours)
            self.processes.append(process)
        for end in self.ends:
            end.send(None)
        assert self._answers() == ["ready"] * number

    def train(self, seconds: float) -> Sequence[Pace]:
        for end in self.ends:
            end.send(seconds)
        return self._answers()

    def _answers(self) -> list[Any]:
        assert all(end.poll(60) for end in self.ends)
        return [end.recv() for end in self.ends]


def work(parent: Connection) -> None:
    recipes = [quantized(seed=seed, model=MLP(hidden=(16,)), epochs=2) for seed in range(2)]
    sharer = Sharer(recipes)
    while True:
        seconds = parent.recv()
        parent.send("ready" if seconds is None else sharer.train(seconds))


def test_processes_train_at_once() -> None:
    """Two of them, each with a pack of two trials that are over many times in the meantime."""
    team = Processes()
    try:
        paces = measure_sharing(team, most=2, trials=10**9, seconds=0.2)
    finally:
        for process in team.processes:
            process.kill()
            process.join()
    assert list(paces.trials_per_hour) == [1, 2], paces.note
    assert all(pace > 0 for pace in paces.trials_per_hour.values())
    assert all(0 <= part <= 1 for part in paces.memory.values())
    assert paces.best in (1, 2)
