"""How long trials take together, on a machine that trains several of them at once."""

import heapq
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

_ROUNDING = 1e-6
"""Parts of GPUs, such as thirds, are not exact."""


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


@dataclass(frozen=True)
class Together:
    """How jobs are trained together."""

    seconds: float
    """From the start of the first job to the end of the last one."""
    at_once: int
    """The largest number of jobs or packs at the same time."""


def together(
    jobs: Sequence[Job],
    slots: float,
    size: Callable[[str, int], int] = lambda key, ready: 1,
    *,
    room: Mapping[str, float] = MappingProxyType({}),
    needs: Callable[[Sequence[Job]], Mapping[str, float]] = lambda pack: {},
) -> Together:
    """Return how long jobs take together.

    Jobs are started in the order of `sweeps.running.cell_queue.CellQueue`: those that others need
    come first. A job for which there is no room lets later ones pass.

    Args:
        jobs: the trials to train, in the order of the sweep.
        slots: maximum number of trials or packs that are trained at once, >= 1.
        size: returns the size of the next pack, for a pack key and the number of jobs with this key
            that can be trained now.
        room: what the machine has, by names.
        needs: returns what a pack reserves of it, which is no more than there is.
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
    free = dict(room)
    now, started, most = 0.0, 0, 0

    def next_pack() -> list[Job]:
        """Return the first pack for which there is room; empty if there is none."""
        keys = [key for key, heap in ready.items() if heap]
        for key in sorted(keys, key=lambda key: ready[key][0]):
            count = min(size(key, len(ready[key])), len(ready[key]))
            first = heapq.nsmallest(count, ready[key]) if count > 1 else ready[key][:1]
            pack = [jobs[place] for _, place in first]
            if all(amount <= free[name] + _ROUNDING for name, amount in needs(pack).items()):
                for _ in pack:
                    heapq.heappop(ready[key])
                return pack
        return []

    while True:
        while len(running) < slots and (pack := next_pack()):
            for name, amount in needs(pack).items():
                free[name] -= amount
            end = now + sum(job.seconds for job in pack)
            heapq.heappush(running, (end, started, pack))
            started += 1
        if not running:
            assert not any(ready.values()), "a pack needs more than there is"
            return Together(now, most)
        most = max(most, len(running))
        now, _, pack = heapq.heappop(running)
        for name, amount in needs(pack).items():
            free[name] += amount
        for job in pack:
            for child in children[job.fingerprint]:
                waiting[child.fingerprint].discard(job.fingerprint)
                if not waiting[child.fingerprint]:
                    make_ready(child)
