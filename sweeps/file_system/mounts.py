"""Mount: the file system of a folder, and what can be changed if it cannot do what sweeps need."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

MOUNTS = Path("/proc/self/mountinfo")

_NFS = ("nfs", "nfs4")
_CIFS = ("cifs", "smb3")


@dataclass(frozen=True)
class Mount:
    """A mounted file system, as the kernel describes it."""

    point: str = ""
    """The folder at which it is mounted; empty if it is unknown."""
    kind: str = ""
    """The type of the file system, such as ``nfs4``; empty if it is unknown."""
    options: frozenset[str] = frozenset()
    """The mount options, such as ``rw`` and ``vers=4.1``."""

    def __str__(self) -> str:
        if not self.kind:
            return "its type is unknown"
        shown = sorted(self.options & {"ro", "nolock", "localflock", "nobrl"}) + sorted(
            option
            for option in self.options
            if option.startswith(("vers=", "local_lock=", "lookupcache="))
        )
        return f"{self.kind} at {self.point}" + (f" with {','.join(shown)}" if shown else "")

    @property
    def is_nfs(self) -> bool:
        """Whether it is the network file system NFS."""
        return self.kind in _NFS

    def for_locks(self) -> str:
        """Return what to do so that locks exclude processes on all machines."""
        if self.is_nfs:
            if "vers=3" in self.options or "nolock" in self.options:
                return "mount NFS with vers=4.1 instead of vers=3 or nolock"
            return "mount NFS with vers=4.1 and local_lock=none"
        if self.kind == "lustre":
            return "mount Lustre with the option flock, not with localflock or noflock"
        if self.kind in _CIFS:
            return "mount it without the option nobrl, or use NFS 4.1"
        return (
            "use a folder on a file system whose locks all machines share, such as NFS 4.1, or "
            "Lustre that is mounted with the option flock"
        )

    def for_new_files(self) -> str:
        """Return what to do so that new files of other machines are seen at once."""
        if self.is_nfs:
            return "mount NFS with lookupcache=positive"
        return "mount it with less caching, as NFS with lookupcache=positive"


def mount_of(folder: Path) -> Mount:
    """Return the file system of a folder or file; unknown if the kernel does not tell.

    Args:
        folder: a path, whose last parts need not exist.
    """
    try:
        text = os.fsdecode(MOUNTS.read_bytes())
    except OSError:  # not on Linux
        return Mount()
    path = os.path.realpath(folder)
    found = Mount()
    for line in text.splitlines():
        left, _, right = line.partition(" - ")
        fields, more = left.split(" "), right.split(" ")
        if len(fields) < 6 or len(more) < 3:
            continue
        point = re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), fields[4])
        is_within = path == point or path.startswith(point.rstrip("/") + "/")
        if is_within and len(point) >= len(found.point):  # the last one covers earlier ones
            options = frozenset((*fields[5].split(","), *more[2].split(",")))
            found = Mount(point, more[0], options - {"rw"} if "ro" in options else options)
    return found
