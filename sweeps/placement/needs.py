"""Needs: what a trial or pack reserves in Ray, and on how many machines there is room for it."""

import math
import time
from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches

from quantlab import ConfigurationError
from sweeps.block import MEMORY_GIB
from sweeps.cell import Cell
from sweeps.placement.packing import kind_of
from sweeps.placement.resources import Resources, places_on
from sweeps.placement.trial_memory import GIB, TrialMemory
from sweeps.storage.folder import Storage

Bundle = dict[str, float]
"""What a process reserves on its machine: numbers by the names of Ray, memory in bytes."""


def machines_of_ray() -> list[Bundle]:
    """Return the resources of each machine by their names in Ray, to which this one connected."""
    from sweeps.placement.pack_probe import alive_nodes  # Ray, which plans do not need

    return alive_nodes()


REFRESH_SECONDS = 10.0
"""Time after which Ray is asked again which machines there are."""


def named_cpus(cells: Iterable[Cell]) -> list[float]:
    """Return the numbers of CPUs that the blocks of trials name."""
    return [cell.resources["CPU"] for cell in cells if "CPU" in cell.resources]


class Needs:
    """What the trials and packs of a run reserve in Ray."""

    def __init__(
        self,
        resources: Resources,
        memory: TrialMemory,
        *,
        kinds: int = 1,
        slots: int = 1,
        look: Callable[[], list[Bundle]] = machines_of_ray,
    ) -> None:
        """Set what all trials have in common.

        Args:
            resources: the resources that the command gives each trial.
            memory: the memory of the trials.
            kinds: number of different kinds of trials; see `kind_of`.
            slots: how many trials may be pending in Ray.
            look: returns the resources of each machine by their names in Ray.
        """
        self._look = look
        self.resources = resources
        self.memory = memory
        self.pending = slots if kinds == 1 else max(slots, 2 * kinds)
        """How many trials may be pending in Ray, so that those of each kind may be."""
        self.limit: int | None = None
        """How many trials may be running and pending together; None for no limit. With a limit, a
        worker may end and another one start between two trials."""
        self._ahead = self.pending // kinds
        self._nodes: list[Bundle] = []
        self._read = -math.inf

    def bundles(self, cells: Sequence[Cell]) -> list[Bundle]:
        """Return what each process reserves that trains a trial or pack.

        Args:
            cells: the trials of a pack, all of one kind.
        """
        replicas = self.resources.execution.replicas
        own = dict(cells[0].resources)
        own.pop(MEMORY_GIB, None)
        bundle = dict(self.resources.bundles[0])
        if "CPU" in own:
            bundle["CPU"] = own.pop("CPU") / replicas
        gpu = own.pop("GPU", None)
        if gpu is not None and bundle["GPU"]:
            bundle["GPU"] = gpu
        gib = self.memory.of(cells)
        if gib > (given := self.memory.given_for(cells[0])):
            # At most that of a machine that it has all to itself, and that has all the rest.
            gib = max(given, min(gib, self._most_gib(bundle | own)))
        return [bundle | own | ({"memory": int(gib * GIB)} if gib else {})] * replicas

    def room(self, cell: Cell) -> int:
        """Return how many trials of a kind may be pending or run, so that others have their turn.

        Args:
            cell: a trial of the kind.
        """
        # Pending trials count for the limit, so that they would keep others from running.
        return max(1, self.places([cell]) + (self._ahead if self.limit is None else 0))

    def places(self, cells: Sequence[Cell]) -> int:
        """Return how many trials or packs like the given one fit on all machines."""
        one, *others = self.bundles(cells)
        return sum(places_on(node, one) for node in self.nodes) // (1 + len(others))

    @property
    def nodes(self) -> list[Bundle]:
        """The resources of each machine, as of some seconds ago."""
        if time.monotonic() - self._read > REFRESH_SECONDS:
            self._nodes, self._read = self._look(), time.monotonic()
        return self._nodes

    def _most_gib(self, bundle: Bundle) -> float:
        """Memory of the largest machine that has room for a process, in GiB, as Ray counts it."""
        return max(self._gib_of_machines(bundle), default=0.0)

    def _gib_of_machines(self, bundle: Bundle) -> list[float]:
        """Memory of each machine that has room for a process, in GiB; if none has, of all."""
        fitting = [node for node in self.nodes if places_on(node, bundle)]
        return [node.get("memory", 0) / GIB for node in fitting or self.nodes]

    def settle(
        self,
        resources: Resources,
        cells: Iterable[Cell],
        storage: Storage,
        *,
        limit: int | None = None,
    ) -> None:
        """Set the share of a GPU that was chosen, and the memory that finished trials needed.

        Args:
            resources: the resources that the command gives each trial.
            cells: all trials of the sweep or study, of which some may have finished.
            storage: the storage of the trials.
            limit: see `limit`.
        """
        self.resources, self.limit = resources, limit
        if resources.memory_per_trial is None:
            device = "cuda" if resources.gpus else "cpu"
            self.memory = TrialMemory.measured(
                cells, storage, device=device, execution=resources.execution
            )

    def fewer_at_once(self, packs: Sequence[Sequence[Cell]]) -> str:
        """Reserve more memory after a process was killed because a machine had no more.

        Args:
            packs: the trials or packs that ran.

        Returns:
            A line about the change; empty if none is possible, because each had a machine of its
            own.
        """
        bundles = [self.bundles(pack)[0] for pack in packs]
        places = max(places_on(node, bundle) for node in self.nodes for bundle in bundles)
        machines = [gib for bundle in bundles for gib in self._gib_of_machines(bundle)]
        fewer = self.memory.fewer_at_once(
            packs,
            min(len(packs), places),
            max(machines),
            smallest=min(filter(None, machines), default=math.inf),
        )
        if not fewer:
            return ""
        reserved = max(self.memory.of(pack) for pack in packs)
        at_once = "one trial or pack runs" if fewer == 1 else f"{fewer} trials or packs run"
        return (
            f"the memory of a machine was used up, and Ray has killed a process; now {at_once} at "
            f"once on a machine, and each reserves {reserved:.1f} GiB (see --memory-per-trial)"
        )

    def limits_of_memory(self, cells: Iterable[Cell]) -> list[str]:
        """Return a line for each kind of trials of which fewer run at once because of memory."""
        lines = {}
        replicas = self.resources.execution.replicas
        each = f"for each of {replicas} processes of" if replicas > 1 else "for"
        first: dict[str, Cell] = {}
        for cell in cells:
            first.setdefault(cell.configuration_id, cell)
        for cell in first.values():
            bundle = self.bundles([cell])[0]
            memory = bundle.pop("memory", 0)
            if not memory or self.memory.is_given(cell) or memory in lines:
                continue
            without = sum(places_on(node, bundle) for node in self.nodes) // replicas
            places = self.places([cell])
            if places < without:
                lines[memory] = (
                    f"{cell.name}: {amount('memory', memory)} are reserved {each} such a trial, as "
                    f"finished ones needed, so that {places} and not {without} fit on the "
                    "machines (--memory-per-trial 0 reserves none)"
                )
        return list(lines.values())

    def lacking(self, cells: Iterable[Cell]) -> list[str]:
        """Return why no machine has room for some trials: a line for each kind of them."""
        kinds = {
            (cell.block if cell.resources else "", kind_of(cell)): cell
            for cell in cells
            if cell.resources or self.memory.is_given(cell)
        }
        return [line for cell in kinds.values() if (line := self._lack_of(cell))]

    def _lack_of(self, cell: Cell) -> str:
        bundle = self.bundles([cell])[0]
        if any(places_on(node, bundle) for node in self.nodes):
            return ""
        where = f"block {cell.block!r}: resources"
        if not cell.resources:
            where = f"--memory-per-trial {self.resources.memory_per_trial:g}"
        for name, needed in bundle.items():
            most = max((node.get(name, 0) for node in self.nodes), default=0)
            if needed <= most:
                continue
            if most:
                return (
                    f"{where}: no machine has {amount(name, needed)}, at most {amount(name, most)}"
                )
            near = get_close_matches(name, self._names(), n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            there = ", ".join(self._names())
            return f"{where}: no machine has {name!r}; there are {there}{hint}"
        each = ", ".join(amount(name, needed) for name, needed in bundle.items() if needed)
        return f"{where}: no machine has all of {each} together"

    def _names(self) -> list[str]:
        """Return what the machines have, without what Ray gives each of them for itself."""
        found = {name for node in self.nodes for name in node}
        own = {name for name in found if name.startswith(("node:", "object_store"))}
        return sorted(found - own)

    def require_room(self, cells: Sequence[Cell], *, is_fixed: bool) -> list[str]:
        """Check that there is a machine for each trial whose block names resources.

        Args:
            cells: the trials.
            is_fixed: whether no other machine can join.

        Returns:
            Warnings: trials that are pending until another machine joins.

        Raises:
            ConfigurationError: no machine has room for a trial, and no other can join; or a block
                shares GPUs of which each trial has several.
        """
        replicas = self.resources.execution.replicas
        for cell in cells:
            if replicas > 1 and "GPU" in cell.resources:
                raise ConfigurationError(
                    f"block {cell.block!r}: resources['GPU'] = {cell.resources['GPU']:g}: must be "
                    f"omitted if {replicas} processes train each trial, with a GPU for each"
                )
        lines = self.lacking(cells)
        if lines and is_fixed:
            raise ConfigurationError(f"{lines[0]}; change it, or use --address of a cluster")
        return [f"{line}; its trials are pending until such a machine joins" for line in lines]


def amount(name: str, number: float) -> str:
    """Return an amount of a resource as text, such as ``2 CPU`` or ``3.5 GiB of memory``."""
    if name == "memory":
        return f"{number / GIB:.1f} GiB of memory"
    return f"{number:g} {name}"
