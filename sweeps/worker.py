"""A Ray actor that trains one trial after another."""

import time
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from ray import tune

from quantlab import EpochRecord, Recipe
from quantlab.execution import Execution
from sweeps.storage import Storage
from sweeps.trial import train_trial

STEP_SECONDS = 2.0
"""Tune hears of a trial at most so often; the trial's folder has every epoch."""


TRANSIENT = (OSError, torch.AcceleratorError)
"""What another attempt, in another process, may well survive: disks, networks, loaders, GPUs."""


@dataclass(frozen=True)
class Work:
    """What all trials of a sweep have in common."""

    recipes: Mapping[str, Recipe]
    """Fingerprint -> recipe."""
    storage: Storage
    data_dir: Path
    scratch: Path | None
    device: str
    execution: Execution


class Worker(tune.Trainable):
    """Tune's trainable: a step is some seconds of training.

    An actor goes on to the next trial, because a process for each would cost seconds of imports.
    Tune keeps no checkpoints; a trial that is tried again goes on from its folder.
    """

    def setup(self, config: Mapping[str, str], **parameters: Work) -> None:
        """Begin a trial.

        Args:
            config: holds the trial's fingerprint.
            parameters: `Work` under the name ``work``.
        """
        self._work = parameters["work"]
        self._begin(config["fingerprint"])

    def reset_config(self, new_config: Mapping[str, str]) -> bool:
        """Begin another trial in the same process."""
        self.cleanup()
        self._begin(new_config["fingerprint"])
        return True

    def step(self) -> dict[str, Any]:
        """Train for `STEP_SECONDS`, or to the end."""
        started = time.monotonic()
        result: dict[str, Any] = {}
        try:
            for record in self._training:
                if record is not None:
                    result = {
                        "epoch": record.epoch,
                        "validation_accuracy_hard": record.validation_accuracy_hard,
                    }
                if time.monotonic() - started >= STEP_SECONDS:
                    return {"done": False, **result}
        except TRANSIENT:
            raise  # to be tried again
        except Exception:  # stands in the trial's folder; another attempt would end as this one
            pass
        return {"done": True, "state": self._folder.state().value, **result}

    def cleanup(self) -> None:
        """Leave a checkpoint if the trial is being stopped."""
        self._training.close()

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Nothing: see the class."""

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Nothing: see the class."""

    def _begin(self, fingerprint: str) -> None:
        work = self._work
        self._folder = work.storage.trial(fingerprint)
        self._training: Generator[EpochRecord | None, None, None] = train_trial(
            work.recipes[fingerprint],
            self._folder,
            data_dir=work.data_dir,
            scratch=work.scratch,
            device=work.device,
            execution=work.execution,
        )
