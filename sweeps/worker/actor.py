"""A Ray actor that trains one pack of trials after another."""

import gc
import sys
import time
from collections.abc import Generator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

_THRESHOLD = gc.get_threshold()
gc.set_threshold(100_000)  # The imports create hundreds of thousands of objects, but no garbage.

import torch
from ray import tune

from quantlab import ConfigurationError, Recipe
from quantlab.errors import MemoryExhaustedError, in_full
from quantlab.execution import Execution
from sweeps.storage.folder import Storage
from sweeps.storage.sharing import adopt_group
from sweeps.worker.pack_report import PackReport
from sweeps.worker.trial import train_trials

gc.set_threshold(*_THRESHOLD)

STEP_SECONDS = 2.0
"""Time between two reports to Tune; the trial folder is written after every epoch."""

TRANSIENT = (OSError, torch.AcceleratorError)
"""Errors of disks, networks, data loaders and GPUs, after which a trial is retried in another
process."""


@dataclass(frozen=True)
class Work:
    """The settings that all trials of a sweep share."""

    storage: Storage
    mark: str
    """The mark that the driver reads in the storage; see `Storage.mark`."""
    data_dir: Path
    """Folder of the datasets."""
    scratch: Path | None
    """Folder on the local disk of each machine; see `stage`."""
    device: str
    """A torch device."""
    execution: Execution
    modules: tuple[ModuleType, ...] = ()
    """Modules of the user that the code of the trials imports while it runs."""


class Worker(tune.Trainable):
    """A trainable of Tune that trains one pack after another.

    A trial of Tune is a pack here, often with a single trial. A step is some seconds of training.
    An actor is reused for the next pack, because a new process would take seconds to import its
    modules. Tune keeps no checkpoints: a retried trial continues from the checkpoint in its folder.
    """

    def setup(self, config: Mapping[str, Mapping[str, Recipe]], **parameters: Work) -> None:
        """Start a pack.

        Args:
            config: the recipes of the trials by their fingerprints, under the key ``trials``.
            parameters: `Work`, under the key ``work``.
        """
        work = parameters["work"]
        self._work = work
        self._unable = ""
        for module in work.modules:
            sys.modules.setdefault(module.__name__, module)
        try:
            work.storage.require_mark(work.mark)
            adopt_group(work.storage.root)
        except (ConfigurationError, OSError) as error:
            self._unable = in_full(error)
        self._begin(config["trials"])

    def reset_config(self, new_config: Mapping[str, Mapping[str, Recipe]]) -> bool:
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
        for _ in self._training:
            if time.monotonic() - started >= STEP_SECONDS:
                done = False
                break
        states = {}
        for fingerprint in list(self._unreported):
            state = self._work.storage.trial(fingerprint).state()
            if done or state.is_finished:
                self._unreported.remove(fingerprint)
                states[fingerprint] = state
        report = PackReport(running=tuple(self._unreported), ended=states, largest=self._largest)
        return {"done": done, **report.as_result()}

    def cleanup(self) -> None:
        """Save checkpoints of the trials that have not ended."""
        self._training.close()

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Do nothing, because trials save checkpoints in their folders."""

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Do nothing; see `save_checkpoint`."""

    def _begin(self, trials: Mapping[str, Recipe]) -> None:
        self._unreported = list(trials)
        self._largest: int | None = None
        self._training = self._train(trials)

    def _train(self, trials: Mapping[str, Recipe]) -> Generator[None, None, None]:
        """Train a pack. After an error, train its halves, down to the trials that fail alone."""
        work = self._work
        packs = [list(trials)]
        while packs:
            pack = packs.pop(0)
            training = train_trials(
                [(trials[name], work.storage.trial(name)) for name in pack],
                data_dir=work.data_dir,
                scratch=work.scratch,
                device=work.device,
                execution=work.execution,
            )
            try:
                with closing(training):
                    for _ in training:
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
