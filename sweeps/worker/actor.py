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
gc.set_threshold(100_000)  # What comes now makes objects by the hundred thousand, and no garbage.

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
"""Tune hears of a trial at most so often; the trial's folder has every epoch."""


TRANSIENT = (OSError, torch.AcceleratorError)
"""What another attempt, in another process, may well survive: disks, networks, loaders, GPUs."""


@dataclass(frozen=True)
class Work:
    """What all trials of a sweep have in common."""

    storage: Storage
    mark: str
    """Of the storage, as the driver sees it."""
    data_dir: Path
    scratch: Path | None
    device: str
    execution: Execution
    modules: tuple[ModuleType, ...] = ()
    """Modules of the user's that the code of the trials imports while it runs."""


class Worker(tune.Trainable):
    """Tune's trainable: a step is some seconds of training.

    What is a trial to Tune is a pack of ours, often of one trial only. An actor goes on to the next
    pack, because a process for each would cost seconds of imports. Tune keeps no checkpoints; a
    trial that is tried again goes on from its folder.
    """

    def setup(self, config: Mapping[str, Mapping[str, Recipe]], **parameters: Work) -> None:
        """Begin a pack.

        Args:
            config: holds the trials' recipes by their fingerprints, under ``trials``.
            parameters: `Work` under the name ``work``.
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
        """Begin another pack in the same process."""
        self.cleanup()
        self._begin(new_config["trials"])
        return True

    def step(self) -> dict[str, Any]:
        """Train for `STEP_SECONDS`, or to the end.

        Returns:
            ``done`` for Tune, and a `PackReport` for the driver.
        """
        started = time.monotonic()
        done = True
        if self._unable:
            return {"done": True, **PackReport(unable=self._unable).as_result()}
        for _ in self._training:
            if time.monotonic() - started >= STEP_SECONDS:
                done = False
                break
        states = {}
        for fingerprint in list(self._untold):
            state = self._work.storage.trial(fingerprint).state()
            if done or state.is_finished:
                self._untold.remove(fingerprint)
                states[fingerprint] = state
        report = PackReport(running=tuple(self._untold), ended=states, largest=self._largest)
        return {"done": done, **report.as_result()}

    def cleanup(self) -> None:
        """Leave checkpoints if the pack is being stopped."""
        self._training.close()

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Nothing: see the class."""

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Nothing: see the class."""

    def _begin(self, trials: Mapping[str, Recipe]) -> None:
        self._untold = list(trials)
        self._largest: int | None = None
        self._training = self._train(trials)

    def _train(self, trials: Mapping[str, Recipe]) -> Generator[None, None, None]:
        """Train a pack; one that breaks goes on as two, down to the trials that are to blame."""
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
                raise  # to be tried again
            except Exception as error:
                half = len(pack) // 2
                if half == 0:
                    continue  # stands in the trial's folder; another attempt would end as this one
                packs = [pack[half:], pack[:half], *packs]
                if not isinstance(error, MemoryExhaustedError):
                    continue
                self._largest = len(pack) - half
            else:
                continue
            gc.collect()  # what did not fit must not stand in the way of its halves
