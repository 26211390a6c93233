"""TrialTime: how long a trial was trained on a device, from which the time of others follows."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from quantlab import Stage
from sweeps.planning.costs.workload import Workload
from sweeps.storage.folder import TrialFolder
from sweeps.storage.records import Epoch, Result


@dataclass(frozen=True, kw_only=True)
class TrialTime:
    """The time of a finished trial by stage, or that of a few steps that were trained."""

    workload: Workload
    """The workload of the trial."""
    seconds: float
    """Seconds of the first stage, evaluations included."""
    steps: int
    """Gradient steps of the first stage."""
    batchnorm_seconds: float = 0.0
    """Seconds of the second stage."""
    batchnorm_steps: int = 0
    """Gradient steps of the second stage."""
    pass_steps: int | None = None
    """Gradient steps of a pass over the training images; None if unknown."""
    device: str
    """Torch device and its name, such as ``cpu (x86_64)``."""
    host: str = ""
    """Name of the machine."""
    execution: str = ""
    """`quantlab.execution.Execution` as text."""
    pack: int = 1
    """Number of trials in the pack; the seconds are the share of one of them."""
    is_finished: bool = True
    """Whether this is the time of a whole trial."""

    def seconds_of(self, workload: Workload) -> float | None:
        """Return the seconds of another trial at this speed; None if its steps are unknown.

        Args:
            workload: the trial, whose length may be another one.
        """
        steps = workload.steps_per_epoch or self.pass_steps
        if steps is None:
            return None
        a_step = self.seconds / self.steps
        # A trial without a second stage has no time for it, which is less than that of the first.
        later = self.batchnorm_seconds / self.batchnorm_steps if self.batchnorm_steps else a_step
        return steps * (workload.epochs * a_step + workload.batchnorm_epochs * later)


def time_of(workload: Workload, folder: TrialFolder, result: Result) -> TrialTime | None:
    """Return the time of a finished trial; None if its history is not whole.

    Args:
        workload: the workload of the trial.
        folder: its folder.
        result: its result.
    """
    history = folder.read_history()
    first = [epoch for epoch in history if epoch.stage is Stage.QUANTIZE]
    steps = first[-1].step if first else 0
    if not history.is_whole or not steps:
        return None
    images = result.training_images
    pass_steps = None if images is None else math.ceil(images / workload.batch_size)
    if workload.steps_per_epoch is None:
        pass_steps = first[0].step
    return TrialTime(
        workload=workload,
        seconds=_seconds(first),
        steps=steps,
        batchnorm_seconds=_seconds(history[len(first) :]),
        batchnorm_steps=history[-1].step - steps,
        pass_steps=pass_steps,
        device=result.device,
        host=result.host,
        execution=result.execution,
        pack=result.pack,
    )


def _seconds(epochs: Iterable[Epoch]) -> float:
    return sum((epoch.seconds for epoch in epochs), 0.0)
