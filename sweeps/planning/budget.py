"""The budget of a sweep: what its trials cost, and how long they take on this machine."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sweeps.placement.packing import Packing
from sweeps.planning.costs.machine import Machine
from sweeps.planning.costs.schedule import Job, seconds_together
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
    number if that is null.

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
    return {
        "costs": _rows(found, unfinished),
        "time": {
            "seconds": _seconds_together(to_run, found, packing, machine.slots),
            "slots": machine.slots,
            "pack": machine.pack,
            "device": machine.device,
        },
    }


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


def _seconds_together(
    cells: Sequence[Cell], found: Mapping[str, Estimate], packing: Packing, slots: int
) -> float | None:
    """Return the seconds of all trials on this machine; None if that of one is unknown."""
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
    return seconds_together(jobs, slots, packing.size) if slots else None
