"""Hide passwords in the list of processes, which all users of a machine can read."""

import ctypes
import sys
from pathlib import Path

from sweeps.printing.secrets import known_secrets

_START, _END = 45, 46
"""Places of the addresses of the command line among the fields of ``/proc/self/stat`` that follow
the name of the program."""


def hide_in_process_list() -> None:
    """Overwrite the secrets in this process's command line, as ``ps`` shows it, with stars.

    Only secrets that `sweeps.printing.secrets` was told are found. Linux keeps the command line in
    the memory of the process; on other systems, nothing changes.
    """
    if sys.platform != "linux":
        return
    try:
        # The name of the program is in parentheses, and may contain spaces.
        fields = Path("/proc/self/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        line = Path("/proc/self/cmdline").read_bytes()
    except (OSError, UnicodeDecodeError):  # a container may hide /proc
        return
    start, end = int(fields[_START]), int(fields[_END])
    hidden = line
    for secret in sorted(known_secrets(), key=len, reverse=True):
        data = secret.encode("utf-8", "surrogateescape")
        hidden = hidden.replace(data, b"*" * len(data))
    if hidden != line and start > 0 and len(hidden) == end - start:
        ctypes.memmove(start, hidden, len(hidden))
