"""The command `sweeps ui`, which starts the MLflow UI on the results."""

import argparse
import os
import sys

from sweeps.cli.options import port, storage_folder, tracking_uri

NAME = "ui"
HELP = "Start the MLflow UI on the results."


def add_options(command: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    storage_folder(command)
    tracking_uri(command)
    command.add_argument(
        "--port", type=port, default=5000, metavar="N", help="port of the UI (default: %(default)s)"
    )


def run(options: argparse.Namespace) -> int:
    """Replace this process by the UI, or print the address of a server, which has its own.

    Args:
        options: the parsed command line.

    Returns:
        The exit code.

    Raises:
        ConfigurationError: there is no database yet.
    """
    from quantlab import ConfigurationError
    from sweeps.storage.folder import Storage
    from sweeps.tracking.artifacts import follow_storage
    from sweeps.tracking.uri import tracking_server

    storage = Storage(options.storage)
    server = tracking_server(options.tracking_uri, storage)
    if server.is_server:
        print(server.identity)  # the server has its own UI
        return 0
    if server.is_embedded:
        if not (storage.root / "mlflow.db").exists():
            raise ConfigurationError(
                f"--storage {storage.root}: has no MLflow database yet; run `sweeps run` first"
            )
        follow_storage(storage)
    command = [sys.executable, "-m", "mlflow", "ui"]
    command += ["--port", str(options.port), "--workers", "1"]
    print(f"http://127.0.0.1:{options.port}", flush=True)
    # The URI may hold a password, and other users of this machine can read a command line.
    os.execve(sys.executable, command, {**os.environ, "MLFLOW_BACKEND_STORE_URI": server.uri})
