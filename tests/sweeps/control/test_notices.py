"""The user's commands at the end of a sweep, and at its first failure."""

import os
from pathlib import Path

import pytest

from sweeps.control import notices
from sweeps.control.notices import Notices


def told(folder: Path, name: str = "told") -> dict[str, str]:
    """The variables that a command of `command` was given."""
    lines = (folder / name).read_text().split("\n")
    own = [line for line in lines if line.startswith("QUANTLAB_")]
    return dict(line.split("=", 1) for line in own if not line.startswith("QUANTLAB_REQUIRE_"))


def command(folder: Path, name: str = "told") -> str:
    return f"env >> '{folder / name}'"


def make(folder: Path, *, name: str = "s", on_failure: str | None = None) -> Notices:
    return Notices(
        name,
        on_end=command(folder),
        on_failure=on_failure,
        facts=lambda: {"TRIALS": 3, "COMPLETE": 2, "FAILED": 1},
    )


def test_the_command_of_the_end_is_told_how_the_sweep_ended(tmp_path: Path) -> None:
    with make(tmp_path) as own:
        own.ended("FAILED")
    assert told(tmp_path) == {
        "QUANTLAB_SWEEP": "s",
        "QUANTLAB_STATE": "FAILED",
        "QUANTLAB_TRIALS": "3",
        "QUANTLAB_COMPLETE": "2",
        "QUANTLAB_FAILED": "1",
        "QUANTLAB_ERROR": "",
    }


def test_it_also_runs_after_a_signal_and_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), make(tmp_path):
        raise KeyboardInterrupt
    assert told(tmp_path)["QUANTLAB_STATE"] == "INTERRUPTED"
    (tmp_path / "told").unlink()
    with pytest.raises(OSError, match="full"), make(tmp_path):
        raise OSError("the disk\nis full; see http://ann:geheim@host")
    assert told(tmp_path)["QUANTLAB_STATE"] == "ERROR"
    assert told(tmp_path)["QUANTLAB_ERROR"] == "the disk is full; see http://ann:***@host"


def test_the_command_of_a_failure_runs_once(tmp_path: Path) -> None:
    with make(tmp_path, on_failure=command(tmp_path, "failed")) as own:
        own.failed("PC seed=0", "RuntimeError: first")
        own.failed("PC seed=1", "RuntimeError: second")
        own.ended("FAILED")
    variables = told(tmp_path, "failed")
    assert variables["QUANTLAB_TRIAL"] == "PC seed=0"
    assert variables["QUANTLAB_ERROR"] == "RuntimeError: first"
    assert (tmp_path / "failed").read_text().count("QUANTLAB_TRIAL=") == 1


def test_names_are_no_code(tmp_path: Path) -> None:
    evil = f"$(touch {tmp_path / 'broken'}); `touch {tmp_path / 'broken'}` '\"\n; exit 9"
    with make(tmp_path, name=evil, on_failure=command(tmp_path, "failed")) as own:
        own.failed(evil, evil)
        own.ended("FAILED")
    assert not (tmp_path / "broken").exists()
    assert told(tmp_path)["QUANTLAB_SWEEP"].startswith("$(touch ")


def test_what_goes_wrong_is_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def end(text: str) -> str:
        with Notices("s", on_end=text, on_failure=None, facts=lambda: {}) as own:
            own.ended("COMPLETE")
        return capsys.readouterr().err

    assert end("echo sent; exit 7") == (
        "sent\nsweeps: warning: --on-end: the command ended with exit code 7\n"
    )
    assert "exit code 127" in end("no-such-program")
    assert end("echo 'all is well'") == "all is well\n"
    monkeypatch.setattr(notices, "MOST_SECONDS", 0.2)
    file = tmp_path / "pid"
    assert "was killed, as it took more than 0.2 s" in end(f"echo $$ > {file}; sleep 60; true")
    with pytest.raises(ProcessLookupError):
        os.kill(int(file.read_text()), 0)


def test_trials_that_cannot_be_counted_are_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> dict[str, object]:
        raise OSError("stale file handle")

    with Notices("s", on_end=command(tmp_path), on_failure=None, facts=fail) as own:
        own.ended("COMPLETE")
    assert told(tmp_path)["QUANTLAB_STATE"] == "COMPLETE"
    assert (
        "the trials cannot be counted for a notice (stale file handle)" in capsys.readouterr().err
    )
