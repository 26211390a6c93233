"""Machines on one network with one shared folder, which vanish at the end without a trace."""

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.machines.machine import Machine
from tests.machines.requirements import require_machines

ROOT = Path(__file__).parents[2]
NETWORK = "10.77.0"
USERS = {"sweeper": 1500, "other": 1501}
"""User -> the number of the user, and of the user's group."""


def paths_of_python() -> list[Path]:
    """What a machine must see so that it runs this project with this Python: no more than needed.

    A machine has a copy of the file system that / is on, without its /tmp.
    """
    wanted = [ROOT, Path(sys.prefix), Path(sys.base_prefix), *map(Path, sys.path)]
    found = sorted({path.resolve() for path in wanted if path.is_dir()})
    return [path for path in found if not any(path.is_relative_to(o) for o in found if o != path)]


class Machines:
    """A switch, and the machines that are connected to it.

    Each machine is made of Linux namespaces. It has its own IPv4 address (10.77.0.1 is that of
    the first one), processes, host name, shared memory, /tmp, /run and homes. Otherwise its disk
    begins with what this computer has on its own. All machines have one folder at /shared. They
    know each other's names, but reach no other network. Two `Machines` do not see each other.

    Users are root, `sweeper` (who owns /shared) and `other`. With SSH, sweeper and other can log
    in to each machine with the key in ~/.ssh/id_ed25519.

    Use it in a `with` statement. At the end of the block, or if the process of the tests dies,
    all processes of all machines end, and the network and disks are gone. The folder remains.
    """

    def __init__(self, folder: Path, *, has_ssh: bool = False, programs: tuple[str, ...] = ()):
        """Skip the test if such machines cannot be made here.

        Args:
            folder: An empty folder of the test, for keys and the shared folder.
            has_ssh: Whether each machine runs sshd.
            programs: Further programs that the machines need, of those in `PROGRAMS`.
        """
        require_machines(*programs, *(("ssh", "sshd", "sudo", "rsync") if has_ssh else ()))
        self.shared = folder / "shared"
        """The folder that all machines have at /shared, as the test sees it."""
        self._keys = folder / "keys"
        self._disks = folder / "disks"
        self._has_ssh = has_ssh
        self._machines: dict[str, Machine] = {}
        self._site: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        for made in (self.shared, self._keys, self._disks):
            made.mkdir(parents=True)
        self.shared.chmod(0o1777)
        os.chown(self.shared, USERS["sweeper"], USERS["sweeper"])
        (self._keys / "hosts").write_text("127.0.0.1 localhost\n")
        if self._has_ssh:
            key = self._keys / "id_ed25519"
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
        # Disks are in memory, as an overlay cannot be written to the disk that it covers.
        script = f"""
            set -e
            mount -t tmpfs tmpfs {self._disks}
            ip link add switch type bridge
            ip link set switch up
            echo ready
            exec sleep infinity
        """
        self._site = subprocess.Popen(
            [
                *("setpriv", "--pdeathsig", "KILL"),
                *("unshare", "--mount", "--net", "--propagation", "private"),
                *("bash", "-c", script),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._site.stdout is not None
        assert self._site.stdout.readline() == "ready\n", "the switch does not start"
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for machine in self._machines.values():
            with suppress(Exception):  # the others are still to be ended
                if machine.is_on:
                    machine.power_cut()
        if self._site is not None:
            self._site.kill()
            self._site.communicate()

    def __getitem__(self, name: str) -> Machine:
        return self._machines[name]

    def up(self, *names: str) -> list[Machine]:
        """Switch on new machines of these names."""
        return [self._up(name) for name in names]

    def _up(self, name: str) -> Machine:
        assert self._site is not None, "use it in a with statement"
        assert name not in self._machines, f"{name} exists; see Machine.power_on"
        assert name != "switch", "this is the name of the switch"
        assert len(name) <= 15, f"{name} is longer than a network card's name may be"
        address = f"{NETWORK}.{len(self._machines) + 1}"
        disk = self._disks / name
        script = Path(__file__).with_name("boot.sh")
        paths = map(str, paths_of_python())
        boot = [str(script), name, str(disk), str(self._keys), str(self.shared), *paths]
        machine = Machine(name, address, boot, self._site.pid)
        with (self._keys / "hosts").open("a") as hosts:
            hosts.write(f"{address} {name}\n")
        machine.power_on()
        self._machines[name] = machine
        return machine
