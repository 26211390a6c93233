"""The processes that train a trial together with a worker, each on a share of every batch.

A trial of several processes is one trial of Ray Tune, whose placement group has a bundle for each
of them. The worker, Tune's actor in the first bundle, leads: it trains with `train_trials` and
writes the trial folder, as for any trial. The others are actors that it creates in the other
bundles. They follow (`quantlab.training.following`), and write only what they print.

If one of them raises an error, the worker raises it, too. If one of them dies, or its machine is
lost, the worker raises `LostProcessError`, so that the trial is retried from its checkpoint. If the
worker itself has not noticed some seconds later, as on GPUs, where it may wait for the other one,
it writes the reason to its output and ends its process. The trial is then retried, too, unless the
reason is an error that would occur again, which is recorded as the trial's failure. If the worker
dies, Ray ends the actors that it has created.
"""

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import ray
import torch
from ray.exceptions import RayTaskError
from ray.util import get_current_placement_group, get_node_ip_address
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from quantlab import Recipe, TrainingRun
from quantlab.distributed.data_parallel import Replicas
from quantlab.training.following import follow
from sweeps.storage.folder import TrialFolder
from sweeps.storage.records import NO_ORIGIN
from sweeps.worker.data.staging import stage
from sweeps.worker.failure_reason import reason_of
from sweeps.worker.output import output_kept
from sweeps.worker.trial import TRANSIENT
from sweeps.worker.trial_writer import record_failure
from sweeps.worker.work import Work

GRACE_SECONDS = 10.0
"""How long a worker may take to notice that another process of its trial has failed."""

_POLL_SECONDS = 1.0


class Member:
    """A process of a trial, other than the first."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._unable = work.prepare()

    def unable(self) -> str:
        """Return why this process can train no trial; empty if it can."""
        return self._unable

    def train(self, recipe: Recipe, fingerprint: str, address: str, rank: int) -> None:
        """Follow the worker until its trial ends or stops.

        Args:
            recipe: recipe of the trial.
            fingerprint: fingerprint of the trial.
            address: see `Replicas.following`.
            rank: number of this process in the trial.
        """
        work = self._work
        torch.set_num_threads(work.execution.threads)
        folder = work.storage.trial(fingerprint)
        size = work.execution.replicas
        with (
            output_kept([folder], rank),
            Replicas.following(address, rank=rank, size=size) as replicas,
        ):
            run = TrainingRun(
                recipe,
                data_dir=stage(recipe, work.data_dir, work.scratch),
                device=work.device,
                execution=work.execution,
                weights_of=lambda other: folder.sibling(other).intact_weights(),
                replicas=replicas,
            )
            follow(run)


class Team:
    """The processes that train trials together with this worker. They live as long as it does."""

    def __init__(self, work: Work) -> None:
        """Start the processes in the placement group of this worker."""
        self._work = work
        self._members: list[Any] = []
        self._start()

    @property
    def unable(self) -> str:
        """Why one of the processes can train no trial; empty if all can."""
        reasons: list[str] = ray.get([member.unable.remote() for member in self._members])
        return next(filter(None, reasons), "")

    @contextmanager
    def training(self, recipe: Recipe, folder: TrialFolder) -> Iterator[Replicas]:
        """Let the processes follow this one for a `with` block that trains a trial.

        Args:
            recipe: recipe of the trial.
            folder: folder of the trial.

        Yields:
            The leading replica, which connects when training begins.
        """
        if not self._members:
            self._start()
        size = self._work.execution.replicas
        replicas = Replicas.leading(size, host=get_node_ip_address())
        running = [
            member.train.remote(recipe, folder.fingerprint, replicas.address, rank)
            for rank, member in enumerate(self._members, start=1)
        ]
        has_ended = threading.Event()
        threading.Thread(
            target=_watch, args=(running, has_ended, self._work, folder), daemon=True
        ).start()
        try:
            with replicas:
                yield replicas
        finally:
            has_ended.set()
            _, left = ray.wait(running, num_returns=len(running), timeout=GRACE_SECONDS)
            if left:
                self._end()

    def _start(self) -> None:
        group = get_current_placement_group()
        assert group is not None, "Tune places workers in placement groups"
        for rank in range(1, self._work.execution.replicas):
            bundle = dict(group.bundle_specs[rank])
            options = ray.remote(
                num_cpus=bundle.pop("CPU", 0),
                num_gpus=bundle.pop("GPU", 0),
                memory=bundle.pop("memory", 0),
                resources=bundle,
                scheduling_strategy=PlacementGroupSchedulingStrategy(
                    group, placement_group_bundle_index=rank
                ),
            )
            self._members.append(options(Member).remote(self._work))

    def _end(self) -> None:
        for member in self._members:
            ray.kill(member)
        self._members = []


def _watch(
    running: Sequence[Any], has_ended: threading.Event, work: Work, folder: TrialFolder
) -> None:
    """End this process if another one has failed and the main thread does not notice."""
    left = list(running)
    while left and not has_ended.is_set():
        done, left = ray.wait(left, timeout=_POLL_SECONDS)
        for one in done:
            try:
                ray.get(one)
            except Exception as error:
                if not has_ended.wait(GRACE_SECONDS):
                    with suppress(OSError):  # the disk may be full
                        _tell(error, work, folder)
                    os._exit(1)
                return


def _tell(error: Exception, work: Work, folder: TrialFolder) -> None:
    """Write why another process has failed to the output and, if it would fail again, as a record.

    Args:
        error: what Ray raised.
        work: the settings of the trial.
        folder: the folder of the trial.
    """
    reason = f"another process of the trial has failed: {reason_of(error)}"
    # As the main thread may wait with a lock of Python's stream.
    os.write(2, f"{reason}\n".encode())
    cause = error.cause if isinstance(error, RayTaskError) else None
    if isinstance(cause, Exception) and not isinstance(cause, TRANSIENT):
        record_failure(
            folder,
            reason,
            str(error),
            work.device,
            work.execution,
            work.running or NO_ORIGIN,
        )
