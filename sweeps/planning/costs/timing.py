"""Measure how fast trials are trained here, by training steps of each kind of network."""

import math
import platform
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from quantlab import ConfigurationError
from quantlab.errors import described
from quantlab.execution import Execution
from quantlab.probing.epoch_time import measure_epoch
from quantlab.probing.pack_sizes import SIZES, PackTimes, measure_packs
from sweeps.placement.packing import Packing, by_pack_key, choose_packing
from sweeps.planning.costs.machine import Machine
from sweeps.planning.costs.trial_time import TrialTime
from sweeps.planning.costs.workload import workload_of
from sweeps.spec import Cell
from sweeps.storage.provenance import device_name
from sweeps.worker.data.staging import stage


@dataclass
class Timing:
    """Measures trials on this machine, in this process."""

    data_dir: Path
    """Folder of the datasets and of files with weights."""
    device: str
    """Torch device."""
    execution: Execution
    """How to compute the trials."""
    lines: list[str] = field(default_factory=list)
    """What was measured of packs, and what could not be measured."""

    @classmethod
    def on(cls, machine: Machine, execution: Execution, data_dir: Path) -> Self:
        """Return a timing on a machine.

        Args:
            machine: how this machine trains trials.
            execution: how to compute them.
            data_dir: folder of the datasets and of files with weights.

        Raises:
            ConfigurationError: there is no room for a trial, or a trial has several processes.
        """
        if execution.replicas > 1:
            raise ConfigurationError(
                f"--time: measures one process, but {execution.replicas} train a trial together; "
                "omit --time"
            )
        if not machine.slots:
            raise ConfigurationError(
                "--time: this machine has too few CPUs or GPUs for a trial; ask for fewer with "
                "--cpus-per-trial or --gpus-per-trial"
            )
        return cls(data_dir=data_dir, device=machine.device, execution=execution)

    def fastest_packing(self, cells: Sequence[Cell], slots: int) -> Packing:
        """Measure the fastest size of packs, as `sweeps run --pack auto` does.

        Args:
            cells: the trials to train.
            slots: how many trials or packs run at once.
        """

        def measure(alike: Sequence[Cell]) -> PackTimes:
            return measure_packs(
                [cell.recipe for cell in alike[:: max(1, len(alike) // max(SIZES))]],
                data_dir=self.data_dir,
                device=self.device,
                execution=self.execution,
                trials=len(alike),
                share=0.8 / max(1, slots),
            )

        packing, lines = choose_packing(cells, measure, slots=slots)
        self.lines += lines
        return packing

    def times(self, cells: Sequence[Cell], packing: Packing) -> list[TrialTime]:
        """Train each kind of network for about a second.

        Args:
            cells: the trials to train.
            packing: how many of them are trained as one pack.

        Raises:
            ConfigurationError: data is missing, or trials cannot be trained.
        """
        kinds: dict[tuple[str, bool], list[Cell]] = defaultdict(list)
        for cell in cells:
            workload = workload_of(cell)
            kinds[workload.network, workload.is_quantized].append(cell)
        found = []
        for kind in kinds.values():
            key, alike = max(by_pack_key(kind).items(), key=lambda group: len(group[1]))
            pack = alike[: packing.size(key, len(alike))]
            try:
                found.append(self._time(pack))
            except ConfigurationError:
                raise
            except Exception as error:  # the user's code may raise anything
                self.lines.append(f"{pack[0].name}: not measured, because {described(error)}")
        return found

    def _time(self, pack: Sequence[Cell]) -> TrialTime:
        workload = workload_of(pack[0])
        epoch = measure_epoch(
            [cell.recipe for cell in pack],
            data_dir=stage(pack[0].recipe, self.data_dir),
            device=self.device,
            execution=self.execution,
        )
        return TrialTime(
            workload=workload,
            seconds=epoch.seconds,
            steps=epoch.steps,
            pass_steps=math.ceil(epoch.images / workload.batch_size),
            device=device_name(self.device),
            host=platform.node(),
            execution=str(self.execution),
            pack=len(pack),
            is_finished=False,
        )
