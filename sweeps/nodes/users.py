"""The user of a Ray cluster, who is the only one whose programs it runs."""

import os
import socket
from contextlib import suppress

import psutil

from quantlab import ConfigurationError

_ADDRESS = "--gcs-address="


def require_own_cluster(address: str) -> None:
    """Refuse to connect to the Ray that another user has started on this machine.

    Ray would abort this process, because the files of its session belong to that user. Root may
    write to them.

    Args:
        address: the address of the cluster, or ``auto``.

    Raises:
        ConfigurationError: only other users have started such a Ray on this machine.
    """
    users = set()
    for process in psutil.process_iter(["name", "username", "uids", "cmdline"]):
        found = process.info
        if found["name"] != "raylet" or found["uids"] is None:
            continue
        of_raylet = next((each for each in found["cmdline"] or () if each.startswith(_ADDRESS)), "")
        if not _is_same(address, of_raylet.removeprefix(_ADDRESS)):
            continue
        if found["uids"].effective == os.geteuid() or os.geteuid() == 0:
            return
        users.add(found["username"])
    if users:
        user = " or ".join(sorted(users))
        raise ConfigurationError(
            f"--address {address}: Ray was started by {user} on this machine, and runs nothing of "
            f"other users; run the command as {user}, or omit --address to use this machine alone"
        )


def _is_same(address: str, of_raylet: str) -> bool:
    if not of_raylet or address == "auto":
        return True
    host, _, port = address.rpartition("://")[2].rpartition(":")
    other, _, other_port = of_raylet.rpartition(":")
    if port != other_port:
        return False
    with suppress(OSError):
        return host == other or socket.gethostbyname(host) == other
    return False
