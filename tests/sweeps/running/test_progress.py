"""What the terminal shows, and what a signal does."""

import io
import os
import re
import signal
from contextlib import ExitStack
from pathlib import Path

import pytest

from sweeps.running.progress import Progress
from sweeps.running.tune_hooks import SweepStopper
from sweeps.spec import Axis, Block, SweepSpec
from sweeps.storage import Storage, TrialState
from sweeps.storage.records import Running
from tests.quantlab.recipes import small_recipe
from tests.sweeps.trial_files import ended

SWEEP = SweepSpec(
    name="shown",
    base=small_recipe(),
    blocks=(Block("FP", axes=(Axis("batch", "batch_size", (10, 20)),)),),
    seeds=(0, 1),
)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def show(stream: io.StringIO, storage: Storage, *, quiet: bool = False) -> str:
    """One of four trials was finished before, one completes, one is interrupted, one diverges."""
    before, complete, interrupted, diverged = SWEEP.cells
    for cell, score in ((before, 0.5), (complete, 0.75)):
        folder = storage.trial(cell.fingerprint)
        folder.path.mkdir(parents=True)
        folder.result.write(ended(validation_accuracy=score))
    progress = Progress(SWEEP.cells, storage, to_run=3, stream=stream, quiet=quiet, every_seconds=0)
    with progress:
        for cell in (complete, interrupted, diverged):
            progress.started(cell, waiting=0)
        progress.ended(complete, TrialState.COMPLETE, waiting=0)
        progress.interrupted(interrupted)
        progress.ended(diverged, TrialState.DIVERGED, waiting=1)
    return stream.getvalue()


LAST = (
    r"3/4 finished · 0 running · 1 waiting · 1 diverged · 1 retried · \d+ trials/h · "
    r"0:0\d left · best validation 75\.00 % \(FP batch=10 seed=1\)"
)


def test_plain_lines_in_a_file(tmp_path: Path) -> None:
    first, last = show(io.StringIO(), Storage(tmp_path)).splitlines()
    assert first.startswith("2/4 finished · 2 running · ")
    assert re.fullmatch(LAST, last)


def test_a_display_on_a_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("TERM", "xterm")
    shown = show(Terminal(), Storage(tmp_path))
    assert "\x1b[" in shown  # drawn over
    assert re.fullmatch(LAST, shown.splitlines()[-1].rpartition("\x1b[2K")[2])


def test_a_narrow_terminal_shows_the_whole_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm")
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", show(Terminal(), Storage(tmp_path)))
    lines = [line.rstrip() for line in shown.splitlines()]
    bars = [place for place, line in enumerate(lines) if "━" in line]
    assert bars
    for place in bars:
        assert set(lines[place]) <= set("━╸╺ "), lines[place]
        assert re.match(r"\d+/\d+ finished", lines[place + 1])


def test_it_says_once_for_which_commands_it_waits(tmp_path: Path) -> None:
    storage, stream, cells = Storage(tmp_path), io.StringIO(), SWEEP.cells[:2]
    progress = Progress(SWEEP.cells, storage, to_run=2, stream=stream)
    with ExitStack() as locks:
        for cell, name in zip(cells, ("one", "other"), strict=True):
            folder = storage.trial(cell.fingerprint)
            folder.make()
            folder.recipe.touch()
            locks.enter_context(folder.locked())
            running = Running(command=f"sweeps run {name}", host="box", process=7)
            folder.running.write(running)
        for _ in range(2):
            progress.waits_for(cells)
    progress.waits_for(cells)  # both have stopped, and nobody trains these trials now
    (line,) = stream.getvalue().splitlines()
    assert line == (
        "waiting for 2 trials of `sweeps run one` on box, process 7 and `sweeps run other` on "
        "box, process 7"
    )


def test_nothing_if_quiet(tmp_path: Path) -> None:
    assert show(Terminal(), Storage(tmp_path), quiet=True) == ""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_asks_and_the_second_insists(
    number: signal.Signals, capsys: pytest.CaptureFixture[str]
) -> None:
    before = signal.getsignal(number)
    stop = SweepStopper()
    with stop.on_signals():
        assert not stop.stop_all()
        os.kill(os.getpid(), number)
        assert stop.stop_all()
        assert "running trials save their state" in capsys.readouterr().err
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
    assert signal.getsignal(number) is before
