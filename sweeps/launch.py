"""Ray Tune: runs one trial for each cell that is not finished."""

import logging
import os
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Before Ray is imported: our own records stand in for Tune's log files, and Ctrl-C is ours.
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")

import ray
from ray import cloudpickle, tune
from ray.tune.experiment import Trial

from quantlab import ConfigurationError, EpochRecord, Recipe
from quantlab.execution import DEFAULT_EXECUTION, Execution
from quantlab.weights import group_of_weights
from sweeps.loading import FILE_MODULE_PREFIX
from sweeps.progress import Progress
from sweeps.spec import Cell, SweepSpec
from sweeps.storage import Storage
from sweeps.tracking import Delivery, Tracker
from sweeps.trial import run_trial

REPORT_SECONDS = 2.0
"""Tune hears of a trial at most so often; the trial's folder has every epoch."""


@dataclass(frozen=True, kw_only=True)
class Resources:
    """Where trials run, and with how much each."""

    address: str | None = None
    """A Ray cluster; None for that of the environment's RAY_ADDRESS, else Ray on this machine."""
    concurrency: int | None = None
    """The most trials at once; None for as many as fit."""
    gpus_per_trial: float = 0.0
    """May be a fraction; 0 trains on the CPU."""
    execution: Execution = DEFAULT_EXECUTION
    """How trials are computed."""


def preflight(cells: list[Cell], storage: Storage, data_dir: Path) -> None:
    """Find out, before any trial starts, what would make trials fail.

    Raises:
        ConfigurationError: the storage cannot be written, data or initial weights are missing, or
            a pattern of layer names matches nothing.
    """
    storage.require_writable()
    for dataset in dict.fromkeys(cell.recipe.dataset for cell in cells):
        dataset.check(data_dir)
    for weights in dict.fromkeys(cell.recipe.initial_weights for cell in cells):
        if weights is not None:
            weights.check(data_dir, lambda fingerprint: storage.trial(fingerprint).weights)
    scopes = dict.fromkeys(
        (
            cell.recipe.model,
            cell.recipe.dataset.num_channels,
            cell.recipe.quantization.exclude,
            tuple(group.layers for group in cell.recipe.quantization.groups),
        )
        for cell in cells
        if cell.recipe.quantization is not None
    )
    for model, num_channels, exclude, groups in scopes:
        network = model.build(num_classes=2, num_channels=num_channels)
        group_of_weights(network, exclude, groups)


def run_cells(
    sweep: SweepSpec,
    cells: list[Cell],
    storage: Storage,
    *,
    tracking_uri: str | None,
    data_dir: Path,
    resources: Resources,
) -> None:
    """Train the given cells; what became of them stands in their folders.

    Raises:
        ConfigurationError: see `preflight`, `Storage.locked` and `Tracker`; nothing has been
            trained then.
        KeyboardInterrupt: the user stopped it; every trial keeps its last checkpoint.
    """
    preflight(cells, storage, data_dir)
    with storage.locked():
        delivery = Delivery(Tracker(sweep.name, storage, tracking_uri))
        for cell in sweep.cells:
            delivery.announce(cell)
        try:
            if cells:
                _tune(sweep, cells, storage, data_dir, resources, delivery)
        finally:
            for cell in cells:
                delivery.announce(cell)
            delivery.finish()
    if delivery.undelivered:
        print(
            f"sweeps: {delivery.undelivered} trials are not on the tracking server as they are "
            f"({delivery.last_error}); their records are kept, and the same command delivers them",
            file=sys.stderr,
        )


def _tune(
    sweep: SweepSpec,
    cells: list[Cell],
    storage: Storage,
    data_dir: Path,
    resources: Resources,
    delivery: Delivery,
) -> None:
    _send_file_modules_by_value()
    _connect(resources)
    try:
        by_id = {cell.fingerprint: cell for cell in cells}
        trainable = tune.with_parameters(
            _run_in_worker,
            recipes={cell.fingerprint: cell.recipe for cell in cells},
            storage=storage,
            data_dir=data_dir.absolute(),
            device="cuda" if resources.gpus_per_trial else "cpu",
            execution=resources.execution,
        )
        progress = Progress(sweep, storage, to_run=len(cells), stream=sys.stdout)
        tuner = tune.Tuner(
            tune.with_resources(trainable, {"cpu": 1, "gpu": resources.gpus_per_trial}),
            param_space={"fingerprint": tune.grid_search(list(by_id))},
            tune_config=tune.TuneConfig(
                max_concurrent_trials=resources.concurrency,
                reuse_actors=True,  # a process for each trial would cost seconds of imports
                trial_name_creator=_fingerprint_of,
                trial_dirname_creator=_fingerprint_of,
            ),
            run_config=tune.RunConfig(
                name=f"{sweep.name}-{time.strftime('%Y%m%d-%H%M%S')}",
                storage_path=str(storage.root / "ray"),
                verbose=0,
                callbacks=[_Watch(by_id, delivery, progress)],
            ),
        )
        with _tune_silenced():
            tuner.fit()
    finally:
        ray.shutdown()


def _connect(resources: Resources) -> None:
    """Start Ray here, or connect to a cluster.

    Raises:
        ConfigurationError: the cluster does not answer, or this machine has no GPU to share.
    """
    address = resources.address or os.environ.get("RAY_ADDRESS")  # as set in a submitted job
    if address is None:
        # Plain None would also take up any cluster that happens to run on this machine.
        ray.init(
            "local",
            num_cpus=resources.concurrency,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    else:
        try:
            _require_answer(address)
            ray.init(address, log_to_driver=False, logging_level=logging.ERROR)
        except (OSError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise ConfigurationError(f"--address {address}: no Ray cluster ({reason})") from error
    available = ray.cluster_resources().get("GPU", 0)
    if resources.gpus_per_trial > available:
        text = f"--gpus-per-trial {resources.gpus_per_trial:g}: there are {available:g} GPUs"
        if address is None:
            ray.shutdown()
            raise ConfigurationError(f"{text} on this machine")
        print(f"sweeps: {text} yet; trials wait until the cluster has them", file=sys.stderr)


def _require_answer(address: str) -> None:
    """Knock at HOST:PORT first, because Ray itself waits for minutes; other forms pass."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host, int(port)), timeout=10).close()


@contextmanager
def _tune_silenced() -> Iterator[None]:
    """Tune prints its banner and a line a trial whatever its verbosity; `Progress` does that here.

    Its errors go to the standard error, and stay.
    """
    with open(os.devnull, "w", encoding="utf-8") as nowhere, redirect_stdout(nowhere):
        yield


def _run_in_worker(
    config: Mapping[str, str],
    *,
    recipes: Mapping[str, Recipe],
    storage: Storage,
    data_dir: Path,
    device: str,
    execution: Execution,
) -> None:
    """Tune's function trainable: one trial."""
    reported = time.monotonic()

    def report(record: EpochRecord) -> None:
        nonlocal reported
        now = time.monotonic()
        if now - reported >= REPORT_SECONDS:
            reported = now
            tune.report(
                {
                    "epoch": record.epoch,
                    "validation_accuracy_hard": record.validation_accuracy_hard,
                }
            )

    fingerprint = config["fingerprint"]
    run_trial(
        recipes[fingerprint],
        storage.trial(fingerprint),
        data_dir=data_dir,
        device=device,
        execution=execution,
        report=report,
    )


def _fingerprint_of(trial: Trial) -> str:
    return str(trial.config["fingerprint"])


class _Watch(tune.Callback):
    """Passes on what Tune tells of trials."""

    def __init__(self, cells: Mapping[str, Cell], delivery: Delivery, progress: Progress) -> None:
        self._cells = cells
        self._delivery = delivery
        self._progress = progress

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune pickles callbacks to restore a sweep its way; ours is by trial folders."""
        return {}

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        self._delivery.announce(self._cells[_fingerprint_of(trial)])

    def on_trial_complete(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        self._ended(trial)

    def on_trial_error(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        self._ended(trial)

    def _ended(self, trial: Trial) -> None:
        cell = self._cells[_fingerprint_of(trial)]
        self._delivery.announce(cell)
        self._progress.ended(cell)


def _send_file_modules_by_value() -> None:
    """Classes of a user's sweep file travel with the recipe: workers cannot import that file."""
    for name, module in list(sys.modules.items()):
        if name.startswith(FILE_MODULE_PREFIX):
            cloudpickle.register_pickle_by_value(module)
