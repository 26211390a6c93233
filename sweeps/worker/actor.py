"""A Ray actor that trains one pack of trials after another."""

import gc
import os
import platform
import time
from collections.abc import Generator, Mapping
from contextlib import closing
from typing import Any

_THRESHOLD = gc.get_threshold()
gc.set_threshold(100_000)  # The imports create hundreds of thousands of objects, but no garbage.

import ray
from ray import tune

from quantlab import Recipe
from quantlab.errors import MemoryExhaustedError
from sweeps.spending.ongoing import UNKNOWN, Reserved
from sweeps.worker.data_parallel import Team
from sweeps.worker.output import output_kept
from sweeps.worker.pack_report import PackReport
from sweeps.worker.peak_memory import own_peak_gib
from sweeps.worker.sent_modules import send_modules_by_name
from sweeps.worker.trial import TRANSIENT, alone, train_trials
from sweeps.worker.work import Work

gc.set_threshold(*_THRESHOLD)

STEP_SECONDS = 2.0
"""Time between two reports to Tune; the trial folder is written after every epoch."""


class Worker(tune.Trainable):
    """A trainable of Tune that trains one pack after another.

    A trial of Tune is a pack here, often with a single trial. A step is some seconds of training.
    An actor is reused for the next pack, because a new process would take seconds to import its
    modules. Tune keeps no checkpoints: a retried trial continues from the checkpoint in its folder.
    """

    @classmethod
    def default_resource_request(cls, config: dict[str, Any]) -> tune.PlacementGroupFactory:
        """Return what a pack reserves. Those that reserve the same share their processes.

        It is here and not with the hooks of the driver, because processes import what it belongs
        to, and the driver's hooks import MLflow.

        Args:
            config: see `setup`.
        """
        return tune.PlacementGroupFactory(config["bundles"])

    def setup(self, config: Mapping[str, Any], **parameters: Work) -> None:
        """Start a pack.

        Args:
            config: the recipes of the trials by their fingerprints, under the key ``trials``; and
                what Ray has reserved for them, under ``bundles``.
            parameters: `Work`, under the key ``work``.
        """
        send_modules_by_name()  # a team of processes gets its recipes from this one
        if self.is_actor():  # type: ignore[no-untyped-call]
            gc.freeze()  # or each full collection would look at all that the imports have created
        work = parameters["work"]
        self._work = work
        self._unable = work.prepare()
        self._to_show = PackReport()
        if not self._unable and (agreement := work.unsettled) is not None:
            name = f"{ray.get_runtime_context().get_node_id()}-{os.getpid()}"
            self._lock = agreement.meeting.lock(name)
            self._to_show = PackReport(lock=name, host=platform.node())
        self._together = alone
        self._reserved = _reserved(work.execution.replicas)
        if work.execution.replicas > 1:
            team = Team(work)
            self._unable = self._unable or team.unable
            self._together = team.training
        self._begin(config["trials"])

    def reset_config(self, new_config: Mapping[str, Any]) -> bool:
        """Start another pack in the same process."""
        self.cleanup()
        self._begin(new_config["trials"])
        return True

    def step(self) -> dict[str, Any]:
        """Train for `STEP_SECONDS` or to the end of the pack.

        Returns:
            ``done`` for Tune, and a `PackReport` for the driver.
        """
        started = time.monotonic()
        done = True
        if self._unable:
            return {"done": True, **PackReport(setup_error=self._unable).as_result()}
        if self._work.must_stop(self._unreported):
            self.cleanup()
            halted = PackReport(halted=tuple(self._unreported))
            self._unreported.clear()
            return {"done": True, **halted.as_result()}
        if self._to_show.lock:  # nothing is trained before the driver has seen it
            report, self._to_show = self._to_show, PackReport()
            return {"done": False, **report.as_result()}
        for _ in self._training:
            if time.monotonic() - started >= STEP_SECONDS:
                done = False
                break
        states = {}
        elsewhere = tuple(self._elsewhere.intersection(self._unreported))
        for fingerprint in elsewhere:
            self._unreported.remove(fingerprint)
        for fingerprint in list(self._unreported):
            state = self._work.storage.trial(fingerprint).state()
            if done or state.is_finished:
                self._unreported.remove(fingerprint)
                states[fingerprint] = state
        report = PackReport(
            running=tuple(self._unreported),
            ended=states,
            elsewhere=elsewhere,
            continued=dict(self._continued),
            epochs=dict(self._epochs),
            largest=self._largest,
            memory_gib=own_peak_gib(),
        )
        self._continued.clear()
        self._epochs.clear()
        return {"done": done, **report.as_result()}

    def cleanup(self) -> None:
        """Save checkpoints of the trials that have not ended."""
        self._training.close()

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Do nothing, because trials save checkpoints in their folders."""

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Do nothing; see `save_checkpoint`."""

    def _begin(self, trials: Mapping[str, Recipe]) -> None:
        self.config: dict[str, Any] = {}  # Tune would send the recipes back with every result
        self._unreported = list(trials)
        self._elsewhere: set[str] = set()
        self._continued: dict[str, int] = {}
        self._epochs: dict[str, int] = {}
        self._largest: int | None = None
        self._training = self._train(trials)

    def _train(self, trials: Mapping[str, Recipe]) -> Generator[None, None, None]:
        """Train a pack. After an error, train its halves, down to the trials that fail alone."""
        work = self._work
        packs = [list(trials)]
        while packs:
            pack = packs.pop(0)
            checkpointed = {name for name in pack if work.storage.trial(name).checkpoint.exists()}
            training = train_trials(
                [(trials[name], work.storage.trial(name)) for name in pack],
                data_dir=work.data_dir,
                scratch=work.scratch,
                device=work.device,
                execution=work.execution,
                together=self._together,
                output=output_kept,
                running=work.running,
                reserved=self._reserved,
                leave=lambda folder: self._elsewhere.add(folder.fingerprint),
            )
            try:
                with closing(training):
                    for events in training:
                        finished = {
                            pack[event.member]: event.record.epoch
                            for event in events
                            if event.record is not None
                        }
                        for name in checkpointed - self._elsewhere:
                            self._continue(name, finished)
                        checkpointed.clear()
                        self._epochs |= finished
                        yield
            except TRANSIENT:
                raise  # the driver retries the trials
            except Exception as error:
                half = len(pack) // 2
                if half == 0:
                    continue  # the trial folder has the error, and a retry would fail too
                packs = [pack[half:], pack[:half], *packs]
                if not isinstance(error, MemoryExhaustedError):
                    continue
                self._largest = len(pack) - half
            else:
                continue
            gc.collect()  # free the memory of the pack before its halves are built

    def _continue(self, fingerprint: str, finished: Mapping[str, int]) -> None:
        """Note from where a trial continues that had a checkpoint.

        Its history now ends there, or an epoch later if one was finished since.
        """
        epochs = len(self._work.storage.trial(fingerprint).read_history())
        if before := epochs - (fingerprint in finished):
            self._continued[fingerprint] = before


def _reserved(processes: int) -> Reserved:
    """Return what Ray has reserved for this process and the others that train with it.

    Args:
        processes: their number; all of them have the same resources.
    """
    if not ray.is_initialized() or ray.get_runtime_context().get_actor_id() is None:
        return UNKNOWN  # no actor of Ray, but a program of the user
    own = ray.get_runtime_context().get_assigned_resources()
    return Reserved(cpus=processes * own.get("CPU", 0.0), gpus=processes * own.get("GPU", 0.0))
