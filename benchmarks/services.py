"""Services on this machine for benchmarks and tests: PostgreSQL and MLflow's server.

Each listens on a free port. The context managers stop the service at the end of their block.
"""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg2  # type: ignore[import-untyped]

DEADLINE_SECONDS = 120.0
"""Longest time in which a service must start or stop."""


def free_port() -> int:
    """Return a port on which no process listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(
    what: str,
    holds: Callable[[], bool],
    *,
    pause: float = 0.05,
    seconds: float = DEADLINE_SECONDS,
) -> None:
    """Wait for a condition.

    Raises:
        TimeoutError: the condition does not hold after so many seconds.
    """
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            raise TimeoutError(f"not within {seconds:g} s: {what}")
        time.sleep(pause)


def postgresql_programs() -> Path | None:
    """Return the folder of the newest PostgreSQL's programs, which Debian does not put on PATH."""
    debian = Path("/usr/lib/postgresql").glob("*/bin/initdb")
    found = sorted(debian, key=lambda path: float(path.parents[1].name))
    on_path = shutil.which("initdb")
    if found or on_path:
        return (found[-1] if found else Path(str(on_path)).resolve()).parent
    return None


class PostgreSQL:
    """A database server without a password, for this machine only."""

    def __init__(self, folder: Path, *, durable: bool) -> None:
        """Create the server's files in an empty folder; `start` starts it.

        Args:
            folder: reachable by the user that the server runs as; its name short enough for a
                Unix socket.
            durable: wait for the disk at each commit, as a server in production does.

        Raises:
            RuntimeError: PostgreSQL is not installed.
        """
        programs = postgresql_programs()
        if programs is None:
            raise RuntimeError(
                "PostgreSQL is not installed: there is no /usr/lib/postgresql/*/bin/initdb, nor an "
                "initdb on the path (Debian: apt-get install postgresql)"
            )
        self.port = free_port()
        self._folder = folder
        self._programs = programs
        self._durable = durable
        self._process: subprocess.Popen[Any] | None = None
        self._as_user: dict[str, Any] = {}
        if os.geteuid() == 0:  # PostgreSQL refuses root
            user = pwd.getpwnam("postgres")
            os.chown(folder, user.pw_uid, user.pw_gid)
            self._as_user = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        subprocess.run(
            [
                *(str(programs / "initdb"), "--pgdata", str(folder / "data"), "--no-sync"),
                *("--username", "quantlab", "--auth", "trust"),
                *("--encoding", "UTF8", "--locale", "C"),
            ],
            cwd=folder,
            stdout=subprocess.DEVNULL,
            check=True,
            **self._as_user,
        )

    def uri(self, database: str) -> str:
        """Return the URI of a database, with the driver that SQLAlchemy is to use."""
        return f"postgresql+psycopg2://quantlab@127.0.0.1:{self.port}/{database}"

    def connect(self, database: str = "postgres") -> Any:
        """Open a connection of psycopg2 in which each statement is a transaction of its own."""
        connection = psycopg2.connect(
            host="127.0.0.1", port=self.port, user="quantlab", dbname=database
        )
        connection.autocommit = True
        return connection

    def create(self, database: str, template: str = "template1") -> str:
        """Create a database as a copy of another one, and return its URI.

        Args:
            database: its name.
            template: name of the other one, whose connections are closed.
        """
        connection = self.connect()
        cursor = connection.cursor()
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (template,)
        )
        cursor.execute(f'CREATE DATABASE "{database}" TEMPLATE "{template}"')
        connection.close()
        return self.uri(database)

    def start(self) -> None:
        """Start the server, on the same port each time, and wait until it answers."""
        options = [] if self._durable else ["-F"]  # -F: no fsync
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *(str(self._programs / "postgres"), "-D", str(self._folder / "data"), *options),
                    *("-h", "127.0.0.1", "-p", str(self.port), "-k", str(self._folder)),
                ],
                cwd=self._folder,
                stdout=log,
                stderr=log,
                start_new_session=True,
                **self._as_user,
            )
        wait_until("PostgreSQL answers", self._answers)

    def _answers(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            log = (self._folder / "log").read_text(encoding="utf-8", errors="replace")
            raise RuntimeError(f"PostgreSQL ended:\n{log[-2000:]}")
        try:
            self.connect().close()
        except psycopg2.OperationalError:
            return False
        return True

    def stop(self) -> None:
        """Close all connections and stop; transactions that were not committed are undone."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(DEADLINE_SECONDS)
            self._process = None


@contextmanager
def postgresql(*, durable: bool = False) -> Iterator[PostgreSQL]:
    """Run a server; by default without fsync.

    Its folder is not one of pytest's, which the user of the server could not read.
    """
    folder = Path(tempfile.mkdtemp(prefix="quantlab-pg-"))
    try:
        server = PostgreSQL(folder, durable=durable)
        try:
            server.start()
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder)


class MlflowServer:
    """`mlflow server` with one worker process, over a database."""

    def __init__(self, store: str, folder: Path) -> None:
        """Store the settings; `start` starts the server.

        Args:
            store: the database's URI.
            folder: for the artifacts and the log.
        """
        self.port = free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        self._store = store
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the server, on the same port each time, and wait until it answers."""
        with (self._folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "mlflow", "server", "--workers", "1"),
                    *("--backend-store-uri", self._store),
                    *("--artifacts-destination", str(self._folder / "artifacts")),
                    *("--host", "127.0.0.1", "--port", str(self.port)),
                ],
                cwd=self._folder,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={
                    **os.environ,
                    # MLflow would start seven more processes, which no run here needs.
                    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
                    "MLFLOW_DISABLE_TELEMETRY": "true",
                },
            )
        wait_until("MLflow's server answers", self._answers)

    def _answers(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            log = (self._folder / "server.log").read_text(encoding="utf-8", errors="replace")
            raise RuntimeError(f"MLflow's server ended:\n{log[-2000:]}")
        try:
            urllib.request.urlopen(f"{self.uri}/health").close()
        except OSError:
            return False
        return True

    def stop(self) -> None:
        """Stop the server after it has answered its pending requests."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(DEADLINE_SECONDS)
            self.kill()

    def kill(self) -> None:
        """Kill the server with all its children."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(DEADLINE_SECONDS)
            self._process = None
            wait_until("the port is free again", self._is_gone)

    def _is_gone(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port)).close()
        except OSError:
            return True
        return False


@contextmanager
def mlflow_server(store: str, folder: Path) -> Iterator[MlflowServer]:
    """Run a server."""
    server = MlflowServer(store, folder)
    try:
        server.start()
        yield server
    finally:
        server.stop()
