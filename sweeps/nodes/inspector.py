"""Inspector: an actor of Ray that looks at one machine for the driver, before any trial starts.

This file is sent to the machines as it is, like `sweeps.nodes.installed`, because they may have
another release of this project or none.
"""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from sweeps.nodes.installed import installed

if TYPE_CHECKING:
    from sweeps.nodes.agreement import Agreement


class Inspector:
    """Looks at the machine on which it runs."""

    def installed(self) -> dict[str, Any]:
        """Return the fields of `Installed`; the class itself may be another one here."""
        return asdict(installed())

    def unmet(self, agreement: "Agreement", name: str) -> str:
        """Return why this machine can train nothing, and hold a lock for the driver if it can.

        Args:
            agreement: what the driver has.
            name: name of the lock, and of the files by which others see what this machine writes.
        """
        if reason := agreement.unmet():
            return reason
        try:
            self._lock = agreement.meeting.lock(name)
            agreement.meeting.exists(f"{name}.answer")  # which may be remembered for a while
            agreement.meeting.show(f"{name}.new")
        except (ValueError, OSError) as error:
            return str(error)
        return ""

    def late(self, agreement: "Agreement", name: str) -> str:
        """Return a warning if this machine does not see soon what the driver has written."""
        return agreement.meeting.late(f"{name}.answer")
