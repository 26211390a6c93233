"""Agreement: what a machine must have in common with the driver's machine before it trains."""

import platform
from dataclasses import dataclass

import psutil

from quantlab import ConfigurationError
from quantlab.errors import in_full
from sweeps.file_system.meeting import Meeting
from sweeps.file_system.probe import require_usable
from sweeps.nodes.installed import Installed, installed
from sweeps.storage.folder import Storage


@dataclass(frozen=True)
class Agreement:
    """What all machines of a cluster must have in common, as the driver has it."""

    storage: Storage
    mark: str
    """The mark that the driver reads in the storage; see `Storage.mark`."""
    installed: Installed
    """What the machine of the driver has."""
    meeting: Meeting
    """Where the machines find out whether they share locks."""
    inspected: frozenset[str] = frozenset()
    """Ray's names of the machines that have been inspected before any trial started."""

    def unmet(self) -> str:
        """Return why this machine can train nothing for the driver; empty if it can.

        It has other packages or code, has another folder at the path of the storage, cannot write
        to it, or has no locks there, or locks of its own.
        """
        if difference := installed().difference(self.installed):
            return difference
        root = self.storage.root
        try:
            self.storage.require_mark(self.mark)
            where = f"machine {platform.node()} as user {psutil.Process().username()}"
            require_usable(root, f"--storage {root}: on {where}")
            self.meeting.require_drivers_lock()
        except (ConfigurationError, OSError) as error:
            return in_full(error)
        return ""
