"""The budget of a sweep: what its trials cost, and how long they take on this machine."""

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sweeps.placement.needs import Needs, amount
from sweeps.placement.packing import Packing, kind_of
from sweeps.placement.trial_memory import TrialMemory
from sweeps.planning.costs.machine import Machine
from sweeps.planning.costs.schedule import Job, Together, together
from sweeps.planning.costs.workload import workload_of
from sweeps.planning.estimate import Estimate, Estimator, finished_times, workloads_of_others
from sweeps.spec import Cell, SweepSpec
from sweeps.storage.folder import Storage

if TYPE_CHECKING:
    from sweeps.planning.costs.timing import Timing


def budget_of(
    sweep: SweepSpec,
    storage: Storage,
    unfinished: Collection[str],
    machine: Machine,
    timing: "Timing | None" = None,
) -> dict[str, Any]:
    """Return what the trials of a sweep cost, as JSON data.

    ``costs`` has a row for trials of the same cost, in hours. ``time`` has the ``seconds`` that all
    unfinished trials together take on this machine, or null if they are unknown, and how many
    trials or packs it trains at once: ``slots``, packs of up to ``pack`` trials, or of the fastest
    number if that is null. If trials reserve memory, or blocks name what theirs need, this is the
    largest number, and ``differs`` is true. ``limits`` has lines about trials that the memory holds
    back, or that do not fit on this machine.

    Args:
        sweep: the sweep.
        storage: the storage of its trials.
        unfinished: fingerprints of the trials to train.
        machine: how this machine trains them.
        timing: measures those of whose kind no trial has finished; None to measure none.

    Raises:
        ConfigurationError: trials cannot be measured; see `Timing.times`.
    """
    workloads = {cell.fingerprint: workload_of(cell) for cell in sweep.cells}
    times = finished_times(workloads, storage)
    to_run = [cell for cell in sweep.cells if cell.fingerprint in unfinished]
    packing = Packing(machine.pack or 1)

    def unknown() -> list[Cell]:
        known = Estimator(times, machine)
        return [cell for cell in to_run if not known.knows(workloads[cell.fingerprint])]

    if cells := unknown():
        networks = {workloads[cell.fingerprint].network for cell in cells}
        others = workloads_of_others(networks, storage, own=workloads)
        times += finished_times(others, storage)
    if timing is not None:
        if machine.pack is None:
            packing = timing.fastest_packing(to_run, machine.slots)
        times += timing.times(unknown(), packing)
    estimator = Estimator(times, machine)
    published = {block.label: block.cost for block in sweep.blocks}
    found = {
        cell.fingerprint: estimator.estimate(workloads[cell.fingerprint], published[cell.block])
        for cell in sweep.cells
    }
    reserved = _Reserved(sweep, storage, machine)
    lacking = reserved.lacking(to_run)
    limits = lacking or reserved.limits_of_memory(to_run)
    jobs = _jobs(to_run, found, packing) if machine.slots and not lacking else None
    known = None if jobs is None else reserved.together(jobs, packing)
    differs = reserved.differ(to_run)
    return {
        "costs": _rows(found, unfinished),
        "time": {
            "seconds": None if known is None else known.seconds,
            "slots": (differs and known and known.at_once) or machine.slots,
            "pack": machine.pack,
            "device": machine.device,
            "differs": differs,
            "limits": limits,
        },
    }


class _Reserved:
    """What trials reserve on this machine, of what Ray counts there without being told."""

    def __init__(self, sweep: SweepSpec, storage: Storage, machine: Machine) -> None:
        self._machine = machine
        self._cells = {cell.fingerprint: cell for cell in sweep.cells}
        self._found: dict[tuple[str, int], dict[str, float]] = {}
        resources = machine.resources
        if resources is None:
            self._needs = None
            return
        memory = TrialMemory(resources.memory_per_trial or 0.0)
        self._needs = Needs(resources, memory, look=lambda: [dict(machine.has)])
        has_results = any(storage.trial(name).result.exists() for name in self._cells)
        self._needs.settle(resources, sweep.cells if has_results else (), storage)

    def of(self, cells: Sequence[Cell]) -> dict[str, float]:
        """Return what a pack reserves, of all its processes together."""
        if self._needs is None:
            return {}
        key = cells[0].configuration_id + kind_of(cells[0]), len(cells)
        if key not in self._found:
            bundles = self._needs.bundles(cells)
            names = [name for name in bundles[0] if name in self._machine.has]
            self._found[key] = {name: sum(bundle[name] for bundle in bundles) for name in names}
        return self._found[key]

    def differ(self, cells: Iterable[Cell]) -> bool:
        """Whether trials reserve memory, or blocks name what theirs need."""
        return any(cell.resources or "memory" in self.of([cell]) for cell in cells)

    def lacking(self, cells: Iterable[Cell]) -> list[str]:
        """Return a line for each kind of trials that do not fit on this machine."""
        lines = {}
        kinds = {
            (cell.block if cell.resources else "", cell.configuration_id): cell for cell in cells
        }
        for (block, _), cell in kinds.items():
            for name, needed in self.of([cell]).items():
                if needed > (there := self._machine.has[name]):
                    which = f"Trials of block {block}" if block else "Trials"
                    lines[block] = (
                        f"{which} do not fit on this machine: each reserves "
                        f"{amount(name, needed)}, and there are {amount(name, there)}."
                    )
        return list(lines.values())

    def limits_of_memory(self, cells: Iterable[Cell]) -> list[str]:
        """See `Needs.limits_of_memory`."""
        return [] if self._needs is None else self._needs.limits_of_memory(cells)

    def together(self, jobs: Sequence[Job], packing: Packing) -> Together:
        """Return how long trials take together on this machine."""
        resources, slots = self._machine.resources, float(self._machine.slots)
        if resources is not None:
            slots = resources.concurrency or math.inf
        return together(
            jobs,
            slots,
            packing.size,
            room=self._machine.has,
            needs=lambda pack: self.of([self._cells[job.fingerprint] for job in pack]),
        )


def _rows(found: Mapping[str, Estimate], unfinished: Collection[str]) -> list[dict[str, Any]]:
    """Return a row for the trials of each estimate."""
    groups: dict[Estimate, list[str]] = defaultdict(list)
    for fingerprint, estimate in found.items():
        groups[estimate].append(fingerprint)
    rows = []
    for estimate, fingerprints in groups.items():
        trials = len(fingerprints)
        to_run = sum(fingerprint in unfinished for fingerprint in fingerprints)
        hours = None if estimate.seconds is None else estimate.seconds / 3600
        rows.append(
            {
                "what": estimate.what,
                "trials": trials,
                "to_run": to_run,
                "hours_per_trial": hours,
                "source": estimate.source,
                "hours": None if hours is None else trials * hours,
                "hours_to_run": None if hours is None else to_run * hours,
            }
        )
    return rows


def _jobs(
    cells: Sequence[Cell], found: Mapping[str, Estimate], packing: Packing
) -> list[Job] | None:
    """Return the trials with their times on this machine; None if that of one is unknown."""
    jobs = []
    for cell in cells:
        estimate = found[cell.fingerprint]
        if estimate.seconds is None or not estimate.is_of_device:
            return None
        jobs.append(
            Job(
                fingerprint=cell.fingerprint,
                seconds=estimate.seconds,
                parents=cell.parents,
                pack_key=packing.pack_key(cell),
            )
        )
    return jobs
