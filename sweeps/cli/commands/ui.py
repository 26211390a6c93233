"""The command `sweeps ui`, which starts the MLflow UI on the results."""

import argparse
import os
import socket
import sqlite3
import sys
from typing import TYPE_CHECKING

from sweeps.cli.command_line import changed_options, command_line
from sweeps.cli.naming.remembered import refuse_name_of_file
from sweeps.cli.options import port, storage_folder, sweep_argument, tracking_uri

if TYPE_CHECKING:
    from sweeps.tracking.uri import TrackingServer

NAME = "ui"
HELP = "Start the MLflow UI on the results."


def add_options(command: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    sweep_argument(command, kinds=("sweep", "study"), default="")
    storage_folder(command)
    tracking_uri(command)
    command.add_argument(
        "--port", type=port, default=5000, metavar="N", help="port of the UI (default: %(default)s)"
    )


def run(options: argparse.Namespace) -> int:
    """Replace this process by the UI; links to the trials are printed when it answers.

    A server has its own UI, so none is started for it, and its links are printed at once.

    Args:
        options: the parsed command line.

    Returns:
        The exit code.

    Raises:
        ConfigurationError: there is no database yet, it cannot be used or has no runs of the
            sweep, or the port is in use.
    """
    from quantlab import ConfigurationError
    from sweeps.storage.folder import Storage
    from sweeps.terminal.server_links import print_once_it_answers
    from sweeps.tracking.artifacts import follow_storage
    from sweeps.tracking.uri import tracking_server

    storage = Storage(options.storage)
    server = tracking_server(options.tracking_uri, storage)
    address = server.identity if server.is_server else f"http://127.0.0.1:{options.port}"
    if server.is_embedded:
        if not (storage.root / "mlflow.db").exists():
            raise ConfigurationError(
                f"--storage {storage.root}: has no MLflow database yet; run `sweeps run` first"
            )
        try:
            follow_storage(storage)
        except sqlite3.OperationalError as error:
            raise ConfigurationError(
                f"{storage.root / 'mlflow.db'}: cannot be written to ({error}), but its paths must "
                "be updated, as the storage was moved"
            ) from error
    if not server.is_server:
        _require_free(options.port)
    asks = bool(options.sweep) or not server.is_server
    experiments = _experiments(server, options) if asks else {}
    links = _links(address, experiments)
    if server.is_server:
        print(links, end="")
        return 0
    print("sweeps: MLflow is starting; its links follow when it answers", file=sys.stderr)
    sys.stderr.flush()
    print_once_it_answers(links, options.port)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # only the links are the command's output
    command = [sys.executable, "-m", "mlflow", "ui"]
    command += ["--port", str(options.port), "--workers", "1"]
    environment = {
        # MLflow would start seven more processes for jobs, of which sweeps have none.
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        **os.environ,
        # The URI may hold a password, and other users of this machine can read a command line.
        "MLFLOW_BACKEND_STORE_URI": server.uri,
    }
    os.execve(sys.executable, command, environment)


def _require_free(number: int) -> None:
    """Refuse a port that another program uses; the UI would print a traceback."""
    from quantlab import ConfigurationError

    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", number))
        except OSError as error:
            raise ConfigurationError(
                f"--port {number}: cannot be used ({error.strerror}); give another port"
            ) from error


def _experiments(server: "TrackingServer", options: argparse.Namespace) -> dict[str, str]:
    """Return the experiment that the command line names as name -> id; without a name, all.

    Raises:
        ConfigurationError: the server cannot be used, or has no runs of the sweep.
    """
    from quantlab import ConfigurationError
    from sweeps.cli.chosen import meant_of
    from sweeps.loading import load_either
    from sweeps.loading.either import load_users_file
    from sweeps.tracking.shown_experiments import shown_experiments

    found = shown_experiments(server)
    name = options.sweep
    if not name:
        return found
    if name not in found:
        refuse_name_of_file(options)
        if name.endswith(".py"):
            spec = meant_of(load_users_file(name), options, chooses=False)
        else:
            spec = load_either(name)
        name = spec.experiment or spec.name
    if name not in found:
        others = ""
        if found:
            where = changed_options(options, "storage", "tracking_uri", "port")
            others = (
                f"; it has those of {', '.join(found)}: to see one of them, give its name, as in "
                f"`{command_line('ui', next(iter(found)), *where)}`"
            )
        raise ConfigurationError(
            f"{server.named}: has no runs of {name}, which `sweeps run` delivers{others}"
        )
    return {name: found[name]}


def _links(address: str, experiments: dict[str, str]) -> str:
    """Return the lines with the server's address, and with the page of each experiment."""
    from sweeps.tracking.views import TRIALS, link

    width = max(map(len, experiments), default=0)
    lines = [
        f"{name:{width}}  {link(address, experiment_id, TRIALS)}"
        for name, experiment_id in experiments.items()
    ]
    return "".join(f"{line}\n" for line in (address, *lines))
