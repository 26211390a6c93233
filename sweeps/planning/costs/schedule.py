"""How long trials take together, on a machine that trains several of them at once."""

import heapq
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Job:
    """A trial to train."""

    fingerprint: str
    seconds: float
    """Time of the trial; in a pack, its share of the time of the pack."""
    parents: tuple[str, ...] = ()
    """Fingerprints of the trials whose networks it needs; those that are no jobs have finished."""
    pack_key: str = ""
    """Jobs with the same key may be trained as one pack, if packs have more than one trial."""


def seconds_together(
    jobs: Sequence[Job], slots: int, size: Callable[[str, int], int] = lambda key, ready: 1
) -> float:
    """Return the seconds from the start of the first job to the end of the last one.

    Jobs are started in the order of `sweeps.running.cell_queue.CellQueue`: those that others need
    come first.

    Args:
        jobs: the trials to train, in the order of the sweep.
        slots: number of trials or packs that are trained at once, >= 1.
        size: returns the size of the next pack, for a pack key and the number of jobs with this key
            that can be trained now.
    """
    places = {job.fingerprint: place for place, job in enumerate(jobs)}
    needed = {parent for job in jobs for parent in job.parents}
    waiting = {job.fingerprint: set(job.parents) & places.keys() for job in jobs}
    children = defaultdict(list)
    for job in jobs:
        for parent in waiting[job.fingerprint]:
            children[parent].append(job)
    ready: dict[str, list[tuple[bool, int]]] = defaultdict(list)

    def make_ready(job: Job) -> None:
        entry = job.fingerprint not in needed, places[job.fingerprint]
        heapq.heappush(ready[job.pack_key], entry)

    for job in jobs:
        if not waiting[job.fingerprint]:
            make_ready(job)
    running: list[tuple[float, int, list[Job]]] = []
    now, started = 0.0, 0
    while True:
        while len(running) < slots and (keys := [key for key, heap in ready.items() if heap]):
            key = min(keys, key=lambda key: ready[key][0])
            count = min(size(key, len(ready[key])), len(ready[key]))
            pack = [jobs[heapq.heappop(ready[key])[1]] for _ in range(count)]
            end = now + sum(job.seconds for job in pack)
            heapq.heappush(running, (end, started, pack))
            started += 1
        if not running:
            return now
        now, _, pack = heapq.heappop(running)
        for job in pack:
            for child in children[job.fingerprint]:
                waiting[child.fingerprint].discard(job.fingerprint)
                if not waiting[child.fingerprint]:
                    make_ready(child)
