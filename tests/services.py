"""Services for tests: those of the benchmarks, an S3 server, and a network that fails."""

import logging
import os
import select
import socket
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from benchmarks.services import (
    MlflowServer,
    PostgreSQL,
    mlflow_server,
    postgresql,
    postgresql_programs,
    wait_until,
)

__all__ = [
    "MlflowServer",
    "Network",
    "PostgreSQL",
    "S3Server",
    "mlflow_server",
    "needs_postgresql",
    "network",
    "postgresql",
    "s3_server",
    "wait_until",
]

needs_postgresql = pytest.mark.skipif(
    postgresql_programs() is None and "QUANTLAB_REQUIRE_POSTGRES" not in os.environ,
    reason="PostgreSQL is not installed",
)


class Network:
    """A proxy between clients and a server that delays or loses data when a test says so."""

    def __init__(self, port: int) -> None:
        """Listen on a new port, and forward connections to a port of this machine."""
        self.flows = threading.Event()
        """No data is forwarded to the server while this is not set."""
        self.flows.set()
        self.answers_to_lose: list[bytes] = []
        """For each of these once, the connection of the request is cut after the answer."""
        self._server = ("127.0.0.1", port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.uri = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._listen, daemon=True).start()

    def close(self) -> None:
        """Accept no more connections."""
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
    """Run a proxy to a port of this machine."""
    between = Network(port)
    try:
        yield between
    finally:
        between.close()


class S3Server:
    """A server that speaks the protocol of S3, and can be stopped without losing its objects."""

    bucket = "results"
    secret = "hunter2-hunter2-hunter2"

    def __init__(self) -> None:
        """Start the server on a new port, with an empty bucket."""
        from moto.server import ThreadedMotoServer  # takes 0.3 s to import

        logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a line for each request
        self._make = ThreadedMotoServer
        self._port = 0
        self.start()
        request = urllib.request.Request(f"{self._url}/{self.bucket}", method="PUT")
        urllib.request.urlopen(request).close()

    def start(self) -> None:
        """Start the server on its port, with the objects that it had."""
        self._server = self._make(ip_address="127.0.0.1", port=self._port, verbose=False)
        self._server.start()
        _, self._port = self._server.get_host_and_port()

    def stop(self) -> None:
        """Stop the server; connections are refused."""
        self._server.stop()

    def accept(self, are_accepted: bool) -> None:
        """Accept all requests from now on, or refuse all because their key is unknown."""
        data = b"inf" if are_accepted else b"0"  # the number of requests that need no known key
        headers = {"Content-Type": "text/plain"}
        request = urllib.request.Request(f"{self._url}/moto-api/reset-auth", data, headers)
        urllib.request.urlopen(request).close()

    @property
    def _url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def environment(self) -> dict[str, str]:
        """The variables with which programs find the server and their key."""
        return {
            "AWS_ENDPOINT_URL": self._url,
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "tests",
            "AWS_SECRET_ACCESS_KEY": self.secret,
        }


@contextmanager
def s3_server() -> Iterator[S3Server]:
    """Run an S3 server in this process."""
    server = S3Server()
    try:
        yield server
    finally:
        server.accept(True)  # which is a setting of this process
        server.stop()
