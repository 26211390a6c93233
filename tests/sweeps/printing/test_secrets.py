"""No password or token of a URI or of the environment is in any file, log or line."""

import http.server
import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from quantlab import ConfigurationError
from sweeps.cli.command_line import command_line
from sweeps.printing import secrets
from sweeps.printing.secrets import hide, remember
from sweeps.storage import Storage
from sweeps.storage.optuna_database import open_storage
from sweeps.tracking.tracker import Tracker
from sweeps.tracking.uri import identity_of, tracking_server
from tests.conftest import Command
from tests.sweeps.sweep_files import TINY

SECRET = "ge-heim"
URIS = {
    f"http://me:{SECRET}@tracking:5000/mlflow/": "http://tracking:5000/mlflow",
    f"https://{SECRET}@tracking": "https://tracking",
    f"postgresql+psycopg2://me:{SECRET}@db:5432/mlflow": "postgresql://db:5432/mlflow",
    f"postgresql://me:%67{SECRET[1:]}@db/mlflow": "postgresql://db/mlflow",
    f"postgresql:///mlflow?host=db&password={SECRET}": "postgresql:///mlflow?host=db",
    f"mysql+pymysql://me:{SECRET}@db/mlflow?ssl_key={SECRET}": "mysql://db/mlflow",
}


@pytest.fixture(autouse=True)
def _forgetful(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secrets, "_known", set())


@pytest.mark.parametrize("uri", URIS)
def test_a_uri_is_hidden_whole_and_in_parts(uri: str, tmp_path: Path) -> None:
    assert SECRET not in hide(f"cannot connect to {uri}, that is '{uri}'")
    remember(uri)
    said = hide(f"the password {SECRET} of {uri} is wrong; a@{SECRET}")
    assert SECRET not in said
    assert "***" in said
    server = tracking_server(uri, Storage(tmp_path))
    assert SECRET not in server.named + server.identity
    assert server.identity == URIS[uri]
    assert identity_of(server.identity, Storage(tmp_path)) == server.identity


@pytest.mark.parametrize(
    "text",
    [
        "http://127.0.0.1:5000/#/experiments/1/runs/2",
        "http://127.0.0.1:5000/#/experiments/1/runs?viewStateShareKey=trials",
        "sqlite:////home/me@here/a:b/mlflow.db",
        "mysql://root@db/mlflow",
        "see https://mlflow.org or mail me@x.org",
        "monkey=1&keys=2?turkey=3",
    ],
)
def test_what_is_not_secret_stays(text: str) -> None:
    remember(text)
    assert hide(text) == text


def test_the_environments_secrets_are_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", SECRET)
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "to-ken-1")
    monkeypatch.setenv("PGPASSWORD", "post-gres")
    monkeypatch.setenv("PWD", "/not/secret")
    assert hide(f"{SECRET} to-ken-1 post-gres /not/secret") == "*** *** *** /not/secret"


def test_logs_and_tracebacks_are_hidden(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    hooks = sys.excepthook, threading.excepthook, logging.getLogRecordFactory()
    try:
        secrets.guard()
        secrets.guard()
        remember(f"http://me:{SECRET}@x")
        try:
            raise ValueError(f"no {SECRET} here")
        except ValueError as error:
            logging.getLogger("mlflow").error("with %s", SECRET, exc_info=True)
            sys.excepthook(type(error), error, error.__traceback__)
        thread = threading.Thread(target=lambda: 1 / len(SECRET[:0]))
        thread.start()
        thread.join()
    finally:
        sys.excepthook, threading.excepthook = hooks[:2]
        logging.setLogRecordFactory(hooks[2])
    printed = capsys.readouterr().err
    assert "ValueError: no *** here" in printed
    assert "ZeroDivisionError" in printed
    assert "with ***" in caplog.text
    assert SECRET not in printed + caplog.text


def test_how_to_go_on_is_said_without(capsys: pytest.CaptureFixture[str]) -> None:
    for uri in URIS:
        assert SECRET not in command_line("run", "x.py", "--tracking-uri", uri)


@contextmanager
def answering(status: int) -> Iterator[str]:
    """A server that refuses everything; yields where it is."""

    class Refusing(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(b"no")

        do_POST = do_GET  # noqa: N815

        def log_message(self, *arguments: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refusing)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    "uri",
    [
        f"http://me:{SECRET}@127.0.0.1:9",
        f"http://127.0.0.1:9/?token={SECRET}",
        f"postgresql+psycopg2://me:{SECRET}@127.0.0.1:9/mlflow",
        f"postgresql+psycopg2://me:{SECRET}@127.0.0.1:none/mlflow",
        f"postgresql+nothing://me:{SECRET}@127.0.0.1:9/mlflow",
        f"nothing://me:{SECRET}@127.0.0.1:9/mlflow",
        f"http://me:{SECRET}@[127",
        f"sqlite:////proc/none/x.db?password={SECRET}",
    ],
)
def test_a_server_that_cannot_be_used_is_one_line_without_its_password(
    uri: str, tmp_path: Path
) -> None:
    """What SQLAlchemy, requests and MLflow themselves say holds the URI."""
    with pytest.raises(ConfigurationError) as caught:
        Tracker("any", Storage(tmp_path), uri).connected()
    said = str(caught.value)
    assert said.startswith("--tracking-uri ")
    assert "cannot be used" in said
    assert "\n" not in said
    assert SECRET not in said
    if not uri.startswith("http"):
        with pytest.raises(ConfigurationError) as caught:
            open_storage(uri)
        assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("status", "advice"), [(401, "not accept the password in the URI"), (403, "ask for permission")]
)
def test_a_server_that_lets_nobody_in_says_what_to_do(
    status: int, advice: str, tmp_path: Path
) -> None:
    with (
        answering(status) as where,
        pytest.raises(ConfigurationError, match=advice) as caught,
    ):
        Tracker("any", Storage(tmp_path), f"http://me:{SECRET}@{where}").connected()
    assert SECRET not in str(caught.value)


def test_nothing_secret_is_left_anywhere(
    quick_command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Commands that fail on their way to a server, and whatever they wrote."""
    (tmp_path / "tiny.py").write_text(TINY)
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", f"env-{SECRET}")
    with answering(401) as where:
        uri = f"http://me:{SECRET}@{where}"
        for arguments in (
            ("report", "tiny.py", "--tracking-uri", uri),
            ("ui", "--tracking-uri", uri),
            ("status", "digits_quantizers", "--study-storage", uri.replace("http", "postgresql")),
        ):
            done = quick_command(tmp_path, *arguments)
            assert SECRET not in done.stdout + done.stderr
    assert not [
        path
        for path in tmp_path.rglob("*")
        if path.is_file() and SECRET.encode() in path.read_bytes()
    ]


def test_the_list_of_processes_shows_no_password() -> None:
    program = """
import sys
from pathlib import Path

from sweeps.printing.process_list import hide_in_process_list
from sweeps.printing.secrets import remember

remember(sys.argv[2])
hide_in_process_list()
print(Path("/proc/self/cmdline").read_text().split("\\0")[-4:], sys.argv[2])
"""
    uri = f"http://me:{SECRET}@tracking/mlflow"
    command = [sys.executable, "-c", program, "--tracking-uri", uri, "--storage"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    hidden = uri.replace(SECRET, "*" * len(SECRET))
    assert shown == f"{['--tracking-uri', hidden, '--storage', '']} {uri}\n"
