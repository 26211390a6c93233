"""One machine: what a test does with it."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import psutil

from tests.machines.requirements import PLACES

USER = "sweeper"
"""The user of a machine who may do everything with sudo, as user `other` may, too."""

NAMESPACES = ("--mount", "--pid", "--uts", "--ipc", "--net", "--root", "--wdns=/")
PATH = f"{Path(sys.executable).parent}:{PLACES}"
"""Where a command is found: the project's own ones first."""


class Machine:
    """A machine that `Machines.up` has switched on."""

    def __init__(self, name: str, address: str, boot: Sequence[str], site: int) -> None:
        """Do not call this; see `Machines.up`.

        Args:
            name: Its host name.
            address: Its IPv4 address.
            boot: The command that is its first process once it has namespaces of its own.
            site: The process whose network namespace has the switch.
        """
        self.name = name
        self.address = address
        self._boot = boot
        self._site = site
        self.pid = 0
        """The number of its first process here, outside of it."""
        self._outer: subprocess.Popen[str] | None = None

    @property
    def is_on(self) -> bool:
        """Whether it has power."""
        return self._outer is not None

    def power_on(self) -> None:
        """Switch it on. Its disk has what it had; its /tmp, /run and /dev/shm are empty."""
        assert not self.is_on, f"{self.name} is on"
        # It dies with the process that makes it, also if that is killed.
        dies_too = ["setpriv", "--pdeathsig", "KILL"]
        inside = ["nsenter", f"--target={self._site}", "--mount"]
        own = ["unshare", "--mount", "--pid", "--uts", "--ipc", "--net", "--fork"]
        self._outer = subprocess.Popen(
            [*dies_too, *inside, *own, "--kill-child", "--propagation", "private", *self._boot],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert self._outer.stdout is not None
        said = ""
        while (line := self._outer.stdout.readline()) != "ready\n":
            said += line
            if not line:
                self._outer.wait()
                self._outer = None
                raise RuntimeError(f"{self.name} does not start: {said}")
        (first,) = psutil.Process(self._outer.pid).children()
        self.pid = first.pid
        self._connect()

    def _connect(self) -> None:
        """Lay the cable to the switch."""
        # The others remember the address of its network card, also while it is off.
        card = "02:00:" + ":".join(f"{int(part):02x}" for part in self.address.split("."))
        end = f"peer name eth0 address {card} netns {self.pid}"
        cable = f"link add {self.name} type veth {end}"
        self._ip(self._site, cable, f"link set {self.name} master switch up")
        self._ip(
            self.pid,
            "link set lo up",
            f"address add {self.address}/24 dev eth0",
            "link set eth0 up",
        )

    def _ip(self, pid: int, *commands: str) -> None:
        """Run commands of `ip` in the network namespace of a process."""
        subprocess.run(
            ["nsenter", f"--target={pid}", "--net", "ip", "-batch", "-"],
            input="\n".join(commands) + "\n",
            text=True,
            check=True,
        )

    def power_cut(self) -> None:
        """Take away its power: nothing says goodbye, neither a process nor a connection."""
        assert self._outer is not None, f"{self.name} is off"
        self.unplug()
        psutil.Process(self.pid).kill()
        self._outer.wait()
        assert self._outer.stdout is not None
        self._outer.stdout.close()
        self._outer = None
        # The kernel removes the cable a moment later, which would be too late for the next one; or
        # it has done so already.
        with suppress(subprocess.CalledProcessError):
            self._ip(self._site, f"link delete {self.name}")

    def unplug(self) -> None:
        """Pull the network cable: it runs on, and hears of nobody."""
        self._ip(self._site, f"link set {self.name} down")

    def plug(self) -> None:
        """Put the cable back."""
        self._ip(self._site, f"link set {self.name} up")

    def command(
        self,
        command: str,
        *,
        user: str = USER,
        folder: str | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> list[str]:
        """The arguments of a process that runs a command of the shell in the machine.

        The process that runs them dies with its parent, and the command with it; what the command
        has started in the background lives on.

        Args:
            command: A line, or several, for bash.
            user: Who runs it: `sweeper`, `other` or `root`.
            folder: The working directory; the user's home if it is None.
            environment: What the user's environment has besides HOME, USER, LOGNAME, SHELL, PATH
                and LANG.
        """
        assert self.is_on, f"{self.name} is off"
        home = "/root" if user == "root" else f"/home/{user}"
        variables = {
            "HOME": home,
            "USER": user,
            "LOGNAME": user,
            "SHELL": "/bin/bash",
            "PATH": PATH,
            "LANG": "C.UTF-8",
            **(environment or {}),
        }
        assignments = [f"{name}={value}" for name, value in variables.items()]
        dies_too = ["setpriv", "--pdeathsig", "KILL"]
        line = f"cd {shlex.quote(folder or home)} && {{ {command}\n}}"
        return [
            *dies_too,
            *("nsenter", f"--target={self.pid}", *NAMESPACES),
            *("setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups"),
            *("--pdeathsig", "KILL", "env", "-i", *assignments),
            *("bash", "-c", line),
        ]

    def run(
        self,
        command: str,
        *,
        user: str = USER,
        folder: str | None = None,
        environment: Mapping[str, str] | None = None,
        check: bool = True,
        timeout_seconds: float = 120,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command of the shell in the machine, and wait for its end.

        Its standard error is part of its standard output.

        Raises:
            AssertionError: If `check` is set and the command fails; with all that it has printed.
        """
        done = subprocess.run(
            self.command(command, user=user, folder=folder, environment=environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout_seconds,
        )
        if check:
            failed = f"{self.name}: {command}: exit code {done.returncode}\n{done.stdout}"
            assert done.returncode == 0, failed
        return done

    def start(
        self,
        command: str,
        output: IO[Any] | int,
        *,
        user: str = USER,
        folder: str | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> subprocess.Popen[str]:
        """Run a command of the shell in the machine, and do not wait for it.

        A signal to the process that is returned does not reach the command, but SIGKILL ends
        both. Use `run` with pkill to send another signal.

        Args:
            command: See `command`, as for the other arguments.
            output: Where standard output and standard error go to: a file or `subprocess.PIPE`.
            user: See `command`.
            folder: See `command`.
            environment: See `command`.
        """
        return subprocess.Popen(
            self.command(command, user=user, folder=folder, environment=environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def path(self, inside: str) -> Path:
        """Where the test finds a file of the machine, such as `/tmp/ray`."""
        assert self.is_on, f"{self.name} is off"
        return Path(f"/proc/{self.pid}/root", inside.lstrip("/"))

    def processes(self, pattern: str = "") -> list[psutil.Process]:
        """Its processes whose command line matches a pattern, with their numbers outside of it."""
        own = os.readlink(f"/proc/{self.pid}/ns/pid")
        found = []
        for process in psutil.process_iter():
            with suppress(OSError, psutil.Error):  # it has just ended
                is_here = os.readlink(f"/proc/{process.pid}/ns/pid") == own
                if is_here and re.search(pattern, " ".join(process.cmdline())):
                    found.append(process)
        return found
