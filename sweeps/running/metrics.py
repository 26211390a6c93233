"""MetricsCallback: the progress of a command as metrics of Ray, which Prometheus collects.

Each node of Ray exports metrics on a port of its own, with ``ray_`` before their names. Those of a
command are on the node on which it runs, and end with it.
"""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from ray import tune
from ray.tune.experiment import Trial
from ray.util.metrics import Counter, Gauge

from quantlab import ConfigurationError
from sweeps.spec import Cell
from sweeps.spending.attempts import attempts_of
from sweeps.storage.folder import Storage
from sweeps.storage.records import Attempt, Running
from sweeps.watching.progress import Progress
from sweeps.worker.pack_report import PackReport

_TAGS = ("sweep", "command")
"""Labels of all metrics. Two commands on a machine would otherwise overwrite each other's."""


class MetricsCallback(tune.Callback):
    """Reports to Ray how many trials are in each state, and what this command has done so far.

    Counters count from the start of the command. What was spent on a trial is added when it ends.
    """

    def __init__(self, name: str, storage: Storage, progress: Progress, running: Running) -> None:
        """Create the metrics; `TrialCallback` must be called before this one.

        Args:
            name: name of the sweep or the study.
            storage: the storage of the trials.
            progress: counts the trials in each state.
            running: this command.
        """
        self._storage = storage
        self._progress = progress
        self._running = running
        self._finished: dict[str, int] = {}
        """Fingerprint -> number of finished epochs of a trial that runs."""
        self._added: dict[str, dict[str, float]] = {}
        """Fingerprint -> what was added of a trial, which may be trained again after it has ended:
        another configuration of a study may need it."""
        self._retries = 0
        self._states = Gauge(
            "sweeps_trials", "Number of trials in a state", tag_keys=(*_TAGS, "state")
        )
        self._epochs = Counter(
            "sweeps_epochs", "Number of epochs that trials have finished", tag_keys=_TAGS
        )
        self._retried = Counter(
            "sweeps_retries", "Number of trials that were retried", tag_keys=_TAGS
        )
        described = {
            "slot": "Time for which trials had a slot, in seconds",
            "gpu": "Time multiplied by the GPUs of the trials, in seconds",
            "lost": "Time that was lost to failures, in seconds",
        }
        self._spent = {
            kind: Counter(f"sweeps_{kind}_seconds", text, tag_keys=(*_TAGS, "block"))
            for kind, text in described.items()
        }
        every: list[Gauge | Counter] = [
            self._states,
            self._epochs,
            self._retried,
            *self._spent.values(),
        ]
        for metric in every:
            metric.set_default_tags({"sweep": name, "command": running.command_id})

    def __getstate__(self) -> dict[str, Any]:
        """Pickle nothing; see `TrialCallback`."""
        return {}

    def on_trial_start(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        self._publish()

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        report = PackReport.of_result(result)
        self._finished |= report.continued
        self._count(report.epochs)
        for fingerprint in report.ended:
            self._finished.pop(fingerprint, None)
        self._publish()

    def on_trial_error(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        self._publish()

    def _count(self, epochs: Mapping[str, int]) -> None:
        for fingerprint, finished in epochs.items():
            new = finished - self._finished.get(fingerprint, 0)
            self._finished[fingerprint] = finished
            if new > 0:  # a retry repeats some that were counted
                self._epochs.inc(new)

    def add_spent(self, cell: Cell) -> None:
        """Add what this command has spent on a trial that has ended, since it ended before."""
        block, total = {"block": cell.block}, dict.fromkeys(self._spent, 0.0)
        attempts: list[Attempt] = []
        with suppress(OSError, ConfigurationError):  # a trial does not fail because of its metrics
            attempts = attempts_of(self._storage.trial(cell.fingerprint))
        for attempt in attempts:
            if attempt.command_id != self._running.command_id:
                continue
            total["slot"] += attempt.slot_seconds
            total["gpu"] += attempt.slot_seconds * attempt.gpus
            total["lost"] += attempt.lost_seconds
        before = self._added.get(cell.fingerprint, {})
        for kind, seconds in total.items():
            if (new := seconds - before.get(kind, 0.0)) > 0:
                self._spent[kind].inc(new, block)
        self._added[cell.fingerprint] = total
        self._publish()

    def _publish(self) -> None:
        for state, count in self._progress.states().items():
            self._states.set(count, {"state": state.value})
        if (new := self._progress.retried - self._retries) > 0:
            self._retries += new
            self._retried.inc(new)
