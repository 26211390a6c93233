"""Estimate the cost of trials: from those most like them, or else from published numbers."""

import platform
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from sweeps.planning.costs.machine import Machine
from sweeps.planning.costs.trial_time import TrialTime, time_of
from sweeps.planning.costs.workload import Workload, recorded_workload
from sweeps.spec import PublishedCost
from sweeps.storage.folder import Storage, TrialState


@dataclass(frozen=True)
class Estimate:
    """The estimated cost of a trial."""

    what: str
    """Model, dataset and length."""
    seconds: float | None
    """Seconds on the GPU or CPU that `source` names; None if unknown."""
    source: str
    """Source of the estimate."""
    is_of_device: bool = False
    """Whether it is the time on a device of the type on which the trial will run."""


def finished_times(workloads: Mapping[str, Workload], storage: Storage) -> list[TrialTime]:
    """Return the times of those trials that are complete; trials that diverged ended early.

    Args:
        workloads: fingerprint -> workload of the trials.
        storage: the storage of the trials.
    """
    times = []
    for fingerprint, workload in workloads.items():
        folder = storage.trial(fingerprint)
        result = folder.result.read()
        if result is not None and result.state is TrialState.COMPLETE:
            times.append(time_of(workload, folder, result))
    return [time for time in times if time is not None]


def workloads_of_others(
    networks: Collection[str], storage: Storage, own: Collection[str]
) -> dict[str, Workload]:
    """Return the workloads of trials of other sweeps and studies by their fingerprints.

    Args:
        networks: the networks to look for; see `Workload.network`.
        storage: the storage of the trials.
        own: fingerprints of the trials to leave out.
    """
    found = {}
    for path in sorted((storage.root / "trials").glob("*/result.json")):
        if (fingerprint := path.parent.name) not in own:
            workload = recorded_workload(storage.trial(fingerprint))
            if workload is not None and workload.network in networks:
                found[fingerprint] = workload
    return found


class Estimator:
    """Estimates the cost of trials from the times of others of the same network."""

    def __init__(self, times: Sequence[TrialTime], machine: Machine) -> None:
        """Group the times by network.

        Args:
            times: times of finished trials, and of measured steps.
            machine: how the trials will be trained.
        """
        self._times: dict[str, list[TrialTime]] = defaultdict(list)
        for time in times:
            self._times[time.workload.network].append(time)
        self._machine = machine
        self._found: dict[tuple[Workload, PublishedCost | None], Estimate] = {}

    def estimate(self, workload: Workload, published: PublishedCost | None = None) -> Estimate:
        """Estimate the cost of a trial.

        Args:
            workload: the workload of the trial.
            published: its published cost, which is the estimate if there is no other one.
        """
        key = workload, published
        if key not in self._found:
            self._found[key] = self._estimated(workload, published)
        return self._found[key]

    def knows(self, workload: Workload) -> bool:
        """Whether there is a time of such a trial, computed as it will be computed.

        Args:
            workload: the workload of the trial.
        """
        alike = self._most_alike(workload)
        return bool(alike) and all(self._likeness(alike[0], workload)[:4])

    def _estimated(self, workload: Workload, published: PublishedCost | None) -> Estimate:
        what = f"{published.what if published else workload.what}, {workload.length}"
        if alike := self._most_alike(workload):
            seconds = [time.seconds_of(workload) or 0.0 for time in alike]
            is_of_device = self._likeness(alike[0], workload)[0]
            source = self._source(alike, workload)
            return Estimate(what, sum(seconds) / len(seconds), source, is_of_device)
        if published is not None:
            source = f"{published.source} ({published.gpu})"
            return Estimate(published.what, 3600 * published.hours, source)
        return Estimate(what, None, "unknown until a trial has finished")

    def _most_alike(self, workload: Workload) -> list[TrialTime]:
        """Return the times of those trials that are most like the given one."""
        groups: dict[tuple[bool, ...], list[TrialTime]] = defaultdict(list)
        for time in self._times.get(workload.network, ()):
            if time.seconds_of(workload) is not None:
                groups[self._likeness(time, workload)].append(time)
        return groups[max(groups)] if groups else []

    def _likeness(self, time: TrialTime, workload: Workload) -> tuple[bool, ...]:
        """Return in what a trial is like another one, the most important first."""
        machine = self._machine
        return (
            time.device.split(":")[0].split(" ")[0] == machine.device,
            machine.execution in ("", time.execution),
            (time.pack > 1) == (machine.pack != 1),
            time.workload.is_quantized == workload.is_quantized,
            time.is_finished,
            time.workload.length == workload.length,
            time.host == platform.node(),
        )

    def _source(self, alike: Sequence[TrialTime], workload: Workload) -> str:
        """Describe the times of an estimate."""
        first = alike[0]
        _, execution, packed, quantized, finished, length, host = self._likeness(first, workload)
        if not finished:
            return f"measured on {first.device}"
        text = f"{len(alike)} finished on {first.device}"
        if not (quantized and length):
            text = f"scaled from {text}"
        if not host and first.host:
            text += f" of {first.host}"
        if not packed:
            text += ", in packs" if first.pack > 1 else ", one by one"
        return text if execution else f"{text}, with other options"
