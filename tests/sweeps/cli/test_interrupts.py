"""Ctrl-C at moments at which no trial is trained."""

import subprocess
import sys
from pathlib import Path

from tests.conftest import Command

SWALLOWED = """
import signal

try:
    signal.raise_signal(signal.SIGINT)
except KeyboardInterrupt:
    pass
raise ImportError("cannot load module more than once per process")
"""
EARLY = """
import signal
import sys

class Finder:
    def find_spec(self, name, path, target=None):
        if name == "sweeps.cli.command":
            signal.raise_signal(signal.SIGINT)

sys.meta_path.insert(0, Finder())
from sweeps.__main__ import main
sys.exit(main())
"""


def test_an_error_after_an_interrupt_that_a_library_swallows_has_no_traceback(
    tmp_path: Path, quick_command: Command
) -> None:
    """As torch does while it imports NumPy, which cannot be imported again."""
    (tmp_path / "mine.py").write_text(SWALLOWED)
    for command in ("status", "run"):
        done = quick_command(tmp_path, command, "mine.py")
        assert done.returncode == 130
        assert done.stderr.startswith("\nsweeps: stopped (mine.py, line 8: ImportError: cannot ")
        assert f" {command} mine.py\n" in done.stderr


def test_an_interrupt_while_the_command_is_imported_has_no_traceback() -> None:
    done = subprocess.run(
        [sys.executable, "-c", EARLY, "list"], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (130, "\nsweeps: stopped\n")
