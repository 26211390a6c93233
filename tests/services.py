"""Real services for tests and benchmarks: PostgreSQL, MLflow's server, a network that fails.

Each has a free port of this machine and a temporary folder, and is gone when its block ends.
"""

import os
import pwd
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg2  # type: ignore[import-untyped]
import pytest

DEADLINE_SECONDS = 120.0
"""A service that has not started or ended by then never will."""


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(what: str, holds: Callable[[], bool], *, pause: float = 0.05) -> None:
    """Raises TimeoutError if it does not hold in the end."""
    end = time.monotonic() + DEADLINE_SECONDS
    while not holds():
        if time.monotonic() > end:
            raise TimeoutError(f"not within {DEADLINE_SECONDS:g} s: {what}")
        time.sleep(pause)


def postgresql_programs() -> Path | None:
    """The newest PostgreSQL's folder of programs; Debian does not put them on the path."""
    debian = Path("/usr/lib/postgresql").glob("*/bin/initdb")
    found = sorted(debian, key=lambda path: float(path.parents[1].name))
    on_path = shutil.which("initdb")
    if found or on_path:
        return (found[-1] if found else Path(str(on_path)).resolve()).parent
    return None


needs_postgresql = pytest.mark.skipif(
    postgresql_programs() is None and "QUANTLAB_REQUIRE_POSTGRES" not in os.environ,
    reason="PostgreSQL is not installed",
)


class PostgreSQL:
    """A database server that anyone on this machine may use, until it is stopped."""

    def __init__(self, folder: Path, *, durable: bool) -> None:
        """Make the server's files, in an empty folder; it does not run yet.

        Args:
            folder: reachable by the user that the server runs as; its name short enough for a
                Unix socket.
            durable: wait for the disk at each commit, as a server with anything to lose does.

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
        """As MLflow takes it; it names the driver, since SQLAlchemy 2.1 has another default."""
        return f"postgresql+psycopg2://quantlab@127.0.0.1:{self.port}/{database}"

    def connect(self, database: str = "postgres") -> Any:
        """A connection of psycopg2's, each statement a transaction of its own."""
        connection = psycopg2.connect(
            host="127.0.0.1", port=self.port, user="quantlab", dbname=database
        )
        connection.autocommit = True
        return connection

    def create(self, database: str) -> str:
        """A new database's URI."""
        connection = self.connect()
        connection.cursor().execute(f'CREATE DATABASE "{database}"')
        connection.close()
        return self.uri(database)

    def start(self) -> None:
        """On the same port each time."""
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
        """Cut all connections and end; what was not committed is undone."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(DEADLINE_SECONDS)
            self._process = None


@contextmanager
def postgresql(*, durable: bool = False) -> Iterator[PostgreSQL]:
    """A server that runs; by default without fsync, since tests have nothing to lose.

    Its files are not pytest's to hold: those folders are closed to the user the server runs as.
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
        """Nothing is started yet.

        Args:
            store: the database's URI.
            folder: where the artifacts and the log go.
        """
        self.port = free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        self._store = store
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """On the same port each time; back when it answers."""
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
                    # Seven more processes, for the evaluation of language models.
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
        """As an administrator does: requests under way are answered first."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(DEADLINE_SECONDS)
            self.kill()

    def kill(self) -> None:
        """As a power cut does, with all its children."""
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
    """A server that runs."""
    server = MlflowServer(store, folder)
    try:
        server.start()
        yield server
    finally:
        server.stop()


class Network:
    """Between clients and a server, it passes on bytes: late, or not at all, as a test says."""

    def __init__(self, port: int) -> None:
        """Listen, on behalf of a port of this machine."""
        self.flows = threading.Event()
        """Nothing reaches the server while this is not set."""
        self.flows.set()
        self.answers_to_lose: list[bytes] = []
        """For each of these once: who asks for it is cut off as soon as the server has answered."""
        self._server = ("127.0.0.1", port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.uri = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._listen, daemon=True).start()

    def close(self) -> None:
        """Take no more connections."""
        self.flows.set()
        # Closing alone would not wake up the thread that waits for the next one.
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _listen(self) -> None:
        with suppress(OSError):  # closed
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._connect, args=(client,), daemon=True).start()

    def _connect(self, client: socket.socket) -> None:
        with client, suppress(OSError), socket.create_connection(self._server) as server:
            loses = False
            while True:
                readable, _, _ = select.select([client, server], [], [])
                if client in readable:
                    data = client.recv(1 << 20)
                    self.flows.wait()
                    for asked in {text for text in self.answers_to_lose if text in data}:
                        self.answers_to_lose.remove(asked)
                        loses = True
                    if not data:
                        return
                    server.sendall(data)
                if server in readable:
                    data = server.recv(1 << 20)
                    if not data or loses:
                        return
                    client.sendall(data)


@contextmanager
def network(port: int) -> Iterator[Network]:
    """A network to a port of this machine."""
    between = Network(port)
    try:
        yield between
    finally:
        between.close()
