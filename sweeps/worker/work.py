"""Work: the settings that all trials of a sweep share."""

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import ray

from quantlab import ConfigurationError
from quantlab.errors import in_full
from quantlab.execution import Execution
from sweeps.control.gate import Gate
from sweeps.nodes.agreement import Agreement
from sweeps.storage.folder import Storage
from sweeps.storage.records import Running
from sweeps.storage.sharing import adopt_group


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
    running: Running | None = None
    """The command that trains the trials; None if it is none."""
    gate: Gate | None = None
    """The requests to pause or cancel trials; None if nobody can make any."""
    modules: tuple[ModuleType, ...] = ()
    """Modules of the user that the code of the trials imports while it runs."""
    agreement: Agreement | None = None
    """What the machines of a cluster must have in common; None without a cluster."""

    def prepare(self) -> str:
        """Prepare this process for trials, and return why it can train none; empty if it can."""
        for module in self.modules:
            sys.modules.setdefault(module.__name__, module)
        try:
            self.storage.require_mark(self.mark)
            adopt_group(self.storage.root)
        except (ConfigurationError, OSError) as error:
            return in_full(error)
        return "" if (agreement := self.unsettled) is None else agreement.unmet()

    @property
    def unsettled(self) -> Agreement | None:
        """The agreement, if this machine joined the cluster after the others were inspected."""
        agreement = self.agreement
        if agreement is None or _node() in agreement.inspected:
            return None
        return agreement

    def must_stop(self, fingerprints: Iterable[str]) -> bool:
        """Whether a request pauses or cancels one of the trials, as of the last look."""
        if self.gate is None:
            return False
        self.gate.look()
        return self.gate.holds_any(fingerprints)


def _node() -> str:
    return str(ray.get_runtime_context().get_node_id())
