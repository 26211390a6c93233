"""What machines need of the computer that runs the tests."""

import os
import shutil
import subprocess
from functools import cache
from typing import NoReturn

import pytest

PROGRAMS = {
    "ip": "iproute2",
    "nsenter": "util-linux",
    "setpriv": "util-linux",
    "ssh": "openssh-client",
    "sshd": "openssh-server",
    "sudo": "sudo",
    "rsync": "rsync",
    "bindfs": "bindfs",
    "slurmctld": "slurm-wlm",
    "munged": "munge",
}
"""Program -> the Debian package that has it."""
PLACES = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
REQUIRED = "QUANTLAB_REQUIRE_MACHINES"
"""With this variable, a test fails where machines are not possible, instead of being skipped."""


@cache
def namespaces_are_refused() -> str | None:
    """What a trial of all namespaces says, with an overlay and a bridge; None if they work."""
    trial = """
        mount -t tmpfs tmpfs /mnt && mkdir /mnt/changes /mnt/work /mnt/root &&
        mount -t overlay overlay -o lowerdir=/,upperdir=/mnt/changes,workdir=/mnt/work /mnt/root &&
        ip link add bridge0 type bridge && ip link add one type veth peer name other
    """
    done = subprocess.run(
        ["unshare", "--mount", "--pid", "--uts", "--ipc", "--net", "--fork", "sh", "-c", trial],
        capture_output=True,
        text=True,
    )
    return None if done.returncode == 0 else done.stderr.strip().replace("\n", "; ")


def what_is_missing(*programs: str) -> str | None:
    """Why machines with these programs cannot be made here; None if they can."""
    if os.geteuid() != 0:
        return "machines are made of namespaces, for which the tests must run as root"
    missing = {
        PROGRAMS[program]
        for program in ("ip", "nsenter", "setpriv", *programs)
        if shutil.which(program, path=PLACES) is None
    }
    if missing:
        return f"machines need the Debian packages {' '.join(sorted(missing))}"
    refused = namespaces_are_refused()
    return None if refused is None else f"namespaces are not allowed: {refused}"


def require_machines(*programs: str) -> None:
    """Skip the test, and say why, if such machines cannot be made here."""
    if (reason := what_is_missing(*programs)) is not None:
        skip(reason)


def skip(reason: str) -> NoReturn:
    """Skip the test, or let it fail where machines are required."""
    if os.environ.get(REQUIRED, "") not in ("", "0"):
        pytest.fail(f"{REQUIRED} is set, but {reason}")
    pytest.skip(reason)
