"""Processes of tests that have imported everything when they start.

They are forked from a server, of which each process of pytest has one. Its first start decides what
it has imported, so that one list serves all tests.
"""

import multiprocessing
import multiprocessing.forkserver
import os
import sys
from collections.abc import Mapping
from pathlib import Path

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(
    [
        "pytest",
        "sklearn.datasets",
        "sweeps.cli.command",
        "sweeps.running.grid",
        "sweeps.searching.search",
        "sweeps.tracking.experiment",
        "sweeps.worker.trial",
        "tests.quantlab.recipes",
    ]
)


def begin() -> None:
    """Let the server import what it has to, while the caller does something else."""
    multiprocessing.forkserver.ensure_running()


class ForkedCommand:
    """`sweeps ARGUMENTS` in a process and a session of its own, without the seconds of imports."""

    def __init__(self, folder: Path, *arguments: str, log: Path, **environment: str) -> None:
        """Start it.

        Args:
            folder: its working directory.
            arguments: of the command.
            log: file to which what it prints is appended.
            environment: variables beside those of this process; none of Ray's.
        """
        given = (folder, arguments, log, {**os.environ, **environment})
        self._process = PROCESSES.Process(target=_run, args=given)
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

    def poll(self) -> int | None:
        """Return its exit code, or minus the signal that has killed it; None while it runs."""
        return self._process.exitcode

    def wait(self, seconds: float | None = None) -> int:
        """Wait until it ends, and return what `poll` does.

        Raises:
            TimeoutError: it has not ended.
        """
        self._process.join(seconds)
        if (code := self.poll()) is None:
            raise TimeoutError(f"it has not ended within {seconds} s")
        return code

    def kill(self) -> None:
        """Kill this process, and not those that it has started."""
        self._process.kill()


def _run(
    folder: Path, arguments: tuple[str, ...], log: Path, environment: Mapping[str, str]
) -> None:
    from sweeps.cli import main

    os.setsid()
    os.chdir(folder)
    # Ray has read its variables when it was imported, and sets others in a process that uses it.
    read = {name: value for name, value in os.environ.items() if name.startswith("RAY_")}
    given = {name: value for name, value in environment.items() if not name.startswith("RAY_")}
    os.environ.clear()
    os.environ.update(given | read)
    with log.open("ab") as file:
        for stream in (sys.stdout, sys.stderr):
            os.dup2(file.fileno(), stream.fileno())
    sys.argv = [str(Path(sys.executable).with_name("sweeps")), *arguments]
    code = main(arguments)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
