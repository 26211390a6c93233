"""What `sweeps watch` reads of a storage, and the page that it shows."""

import fcntl
import os
import pty
import re
import shutil
import struct
import sys
import termios
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from quantlab import ConfigurationError
from quantlab.training.records import measured
from quantlab.update_rules import Point
from sweeps.cli import main
from sweeps.control.listener import listening
from sweeps.control.requests import PAUSE, Requests
from sweeps.spec import Axis, Block, Cell, SweepSpec
from sweeps.storage import Storage, TrialState
from sweeps.storage.records import Attempt, Failure, Origin, Running, Stopped
from sweeps.watching.last_epoch import END_BYTES, last_epoch
from sweeps.watching.page import counts_line, page
from sweeps.watching.screen import Screen
from sweeps.watching.storage_reader import StorageReader, TrialView
from sweeps.watching.time_left import time_left
from sweeps.watching.watched import Contents, Watched
from tests.conftest import Command, Ran
from tests.quantlab.recipes import quantized, small_recipe
from tests.sweeps.trial_files import ended, epoch

SWEEP = SweepSpec(
    name="shown",
    base=quantized(epochs=8, batchnorm_epochs=2),
    blocks=(
        Block("FP", base=replace(small_recipe(), epochs=10)),
        Block("PC", axes=(Axis("rho0", "quantization.sharpness.rho0", (0.1, 0.2, 0.3)),)),
    ),
    seeds=(0, 1),
)
NOW = 1_000_000.0
COMMAND = {"command": "sweeps run shown.py", "user": "ada", "host": "box", "process": 7}


def attempt(seconds: float, **details: Any) -> Attempt:
    settings = {"state": TrialState.COMPLETE, "cpus": 1.0, **COMMAND, **details}
    return Attempt(began=NOW - seconds, seconds=seconds, slot_seconds=seconds, **settings)


def finish(storage: Storage, cell: Cell, accuracy: float, seconds: float = 100.0) -> None:
    folder = storage.trial(cell.fingerprint)
    folder.make()
    folder.recipe.touch()
    folder.result.write(
        ended(validation_accuracy=accuracy, epochs=10, time=NOW - 60, attempt=attempt(seconds))
    )


def begin(storage: Storage, cell: Cell, epochs: int) -> None:
    """What a process leaves that dies within the next epoch, or has not died yet."""
    folder = storage.trial(cell.fingerprint)
    folder.make()
    folder.recipe.touch()
    for number in range(1, epochs + 1):
        folder.append_history(epoch(number, **{measured("validation_accuracy", Point.HARD): 0.25}))
    folder.running.write(
        Running(attempt=Attempt(began=time.time() - 75, machine="node3"), **COMMAND)  # type: ignore[arg-type]
    )


def fail(storage: Storage, cell: Cell, error: str) -> None:
    folder = storage.trial(cell.fingerprint)
    folder.make()
    folder.failure.write(Failure(error=error, time=NOW))


@contextmanager
def trained(storage: Storage, *cells: Cell) -> Iterator[None]:
    with ExitStack() as locks:
        for cell in cells:
            locks.enter_context(storage.trial(cell.fingerprint).locked())
        yield


def test_what_an_earlier_release_has_spent_is_a_dash(tmp_path: Path) -> None:
    storage, cells = Storage(tmp_path / "runs"), SWEEP.cells
    folder = storage.trial(cells[0].fingerprint)
    folder.make()
    folder.result.write(ended(validation_accuracy=0.9, epochs=10, time=NOW - 60))
    finish(storage, cells[2], 0.75)
    lines = page("shown", StorageReader(storage).look(cells), width=80, now=NOW)
    rows = [line.split()[:4] for line in lines]
    assert ["FP", "1/2", "1", "–"] in rows
    assert ["PC", "1/6", "5", "1.7"] in rows
    assert "1 trial of an earlier release has no record of it" in " ".join(map(str.strip, lines))


def test_a_page(tmp_path: Path) -> None:
    storage, cells = Storage(tmp_path / "runs"), SWEEP.cells
    finish(storage, cells[0], 0.9)
    finish(storage, cells[2], 0.75)
    begin(storage, cells[3], 4)
    begin(storage, cells[4], 0)
    fail(storage, cells[5], "the map is broken")
    fail(storage, cells[6], "the map is broken")
    with trained(storage, cells[3], cells[4]):
        views = StorageReader(storage).look(cells)
        lines = page("shown", views, width=80, storage=str(storage.root), now=NOW)
    text = "\n".join(lines)
    assert max(map(len, lines)) <= 80
    assert lines[0].startswith("shown in ")
    assert lines[1].count("━") == 60 * 24 // 80  # epochs
    assert lines[2] == "2/8 finished · 2 running · 2 waiting · 2 failed · 2 in the last hour ·"
    assert lines[3] == "  3 min left"
    assert re.fullmatch(r"spent: [\d.]+ min of slots on 4 trials", lines[4])
    rows = [line.split() for line in lines]
    assert ["FP", "1/2", "1", "1.7", "min", "90.00", "%"] in rows
    head = next(row for row in rows if row[:1] == ["block"])
    assert head[:5] == ["block", "finished", "running", "waiting", "failed"]
    first = next(row for row in rows if row[:3] == ["PC", "rho0=0.1", "seed=1"])
    assert first[3:6] == ["5/10", "25.00", "%"]
    assert first[-1] == "node3"
    assert "failed: PC rho0=0.2 seed=1 (and 1 more): the map is broken" in lines
    assert "2 RUNNING in `sweeps run shown.py` of ada on box, process 7" in text


def test_a_narrow_terminal_has_what_it_has_room_for(tmp_path: Path) -> None:
    storage, cells = Storage(tmp_path / "runs"), SWEEP.cells
    finish(storage, cells[0], 0.9)
    begin(storage, cells[1], 4)
    fail(storage, cells[2], "the map is broken")
    with trained(storage, cells[1]):
        views = StorageReader(storage).look(cells)
        for width in range(1, 31):
            for height in (None, 1, 12):
                lines = page("shown", views, width=width, height=height, notes=["a note"], now=NOW)
                assert max(map(len, lines)) <= width
                assert lines[0].startswith("shown"[: width - 1]), width
                assert ("1970" in lines[0]) == (width > 28)


def test_a_low_terminal_has_a_part_of_every_list(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    cells = replace(SWEEP, seeds=tuple(range(20))).cells
    for cell in cells[:40]:
        begin(storage, cell, 1)
    for place, cell in enumerate(cells[40:]):
        fail(storage, cell, f"reason {place}")
    with trained(storage, *cells[:40]):
        views = StorageReader(storage).look(cells)
        whole = page("shown", views, width=80, now=NOW)
        low = page("shown", views, width=80, height=24, now=NOW)
    assert len(low) <= 24 < len(whole)
    assert sum(line.startswith("and ") and line.endswith(" more") for line in low) == 2
    for beginning in ("FP ", "failed: ", "running ", "40 RUNNING"):
        assert any(line.startswith(beginning) for line in low), beginning


def test_a_look_reads_what_has_changed(tmp_path: Path) -> None:
    storage, cells = Storage(tmp_path), SWEEP.cells
    reader = StorageReader(storage)
    assert {view.state for view in reader.look(cells)} == {TrialState.WAITING}
    finish(storage, cells[0], 0.5)
    fail(storage, cells[1], "broken")
    begin(storage, cells[2], 1)
    states = [view.state for view in reader.look(cells)]
    expected = [TrialState.COMPLETE, TrialState.FAILED, TrialState.INTERRUPTED]
    assert (states[:3], reader.num_read) == (expected, 3)
    reader.look(cells)
    assert reader.num_read == 1  # the trial that has not ended
    finish(storage, cells[0], 0.75)
    shutil.rmtree(storage.trial(cells[1].fingerprint).path)
    first, second, *_ = reader.look(cells)
    assert reader.num_read == 2
    assert first.result is not None
    assert first.result.validation_accuracy == 0.75
    assert second == TrialView(cells[1])


def test_a_look_at_many_trials(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    cells = replace(SWEEP, seeds=tuple(range(20))).cells
    for place, cell in enumerate(cells):
        finish(storage, cell, place / len(cells))
    found = StorageReader(storage).look(cells)
    values = [view.result and view.result.validation_accuracy for view in found]
    assert values == [place / len(cells) for place in range(len(cells))]


def test_the_last_epoch_of_a_long_history(tmp_path: Path) -> None:
    folder = Storage(tmp_path).trial("0" * 16)
    folder.make()
    assert last_epoch(folder) is None
    for number in range(1, 400):
        folder.append_history(epoch(number))
    assert folder.history.stat().st_size > END_BYTES
    with folder.history.open("a") as file:
        file.write('{"digest": "cut')
    found = last_epoch(folder)
    assert found is not None
    assert found.epoch == 399


def view(place: int, state: TrialState, **details: Any) -> TrialView:
    return TrialView(SWEEP.cells[place], state, **details)


def test_the_time_that_is_left() -> None:
    done = ended(epochs=10)
    lost = attempt(30, lost_seconds=20, state=TrialState.INTERRUPTED, died=True)
    finished = view(2, TrialState.COMPLETE, result=done, attempts=[lost, attempt(90, number=2)])
    running = view(3, TrialState.RUNNING, epoch=epoch(6), attempts=[attempt(50)])
    waiting = view(4, TrialState.WAITING)
    failed = view(5, TrialState.FAILED)
    assert time_left([finished, failed]) == 0
    assert time_left([finished, waiting]) != time_left([finished, waiting])  # NaN: nothing runs
    # 10 s an epoch, 4 and 10 epochs of two trials, one at a time and then two at once
    assert time_left([finished, running, waiting, failed]) == pytest.approx(140)
    both = [running, replace(running, cell=SWEEP.cells[4]), waiting]
    assert time_left([finished, *both]) == pytest.approx(100)  # the longest one
    in_pack = replace(running, attempts=[attempt(50, pack=3)])
    assert time_left([in_pack]) == pytest.approx(4 * 1.0 * 3)  # no trial has ended


def test_a_study_has_notes_and_is_over_when_its_budget_is(tmp_path: Path) -> None:
    contents = Contents(SWEEP.cells[:1], ["best: configuration 3"], is_over=False)
    watched = Watched("study", Storage(tmp_path), lambda: contents)
    assert watched.page(80)[1].startswith("reading trials")
    assert (watched.summary, watched.is_over) == ("", False)
    finish(Storage(tmp_path), SWEEP.cells[0], 0.5)
    watched.look()
    assert "best: configuration 3" in watched.page(80)
    assert watched.summary == "study: 1/1 finished"
    assert not watched.is_over
    assert Watched("sweep", Storage(tmp_path), lambda: Contents(SWEEP.cells[:1])).is_over is False


def test_states_that_end_a_trial(tmp_path: Path) -> None:
    storage, cell = Storage(tmp_path), SWEEP.cells[0]
    folder = storage.trial(cell.fingerprint)
    folder.make()
    folder.stopped.write(Stopped(by="study s", time=NOW))
    watched = Watched("s", storage, lambda: Contents([cell]))
    watched.look()
    assert watched.is_over
    assert counts_line(StorageReader(storage).look([cell])) == "0/1 finished · 1 stopped"


def test_who_has_paused_trials_is_on_the_page(tiny_copy: Path, quick_command: Command) -> None:
    assert "PAUSED" not in quick_command(tiny_copy, "watch", "tiny.py").stdout
    Requests(Storage(tiny_copy / "runs"), "tiny").add(PAUSE, None)
    shown = quick_command(tiny_copy, "watch", "tiny.py").stdout
    assert re.search(r"^PAUSED: all trials, by \S+ on \S+ at ", shown, re.M)


def test_a_command_that_trains_no_trial_yet_is_on_the_page(
    tiny_copy: Path, quick_command: Command
) -> None:
    storage = Storage(tiny_copy / "runs")
    with listening(storage, "tiny", Origin(command="sweeps run tiny.py")):
        shown = quick_command(tiny_copy, "watch", "tiny.py").stdout
    assert re.search(r"^`sweeps run tiny.py` .*process \d+ trains\s+no\s+trial\s+now$", shown, re.M)
    assert "trains" not in quick_command(tiny_copy, "watch", "tiny.py").stdout


class Terminal:
    """A pseudo-terminal of 40 columns and 10 rows, whose inner end the program has."""

    def __init__(self) -> None:
        self.outer, self.inner = pty.openpty()
        fcntl.ioctl(self.inner, termios.TIOCSWINSZ, struct.pack("HHHH", 10, 40, 0, 0))
        self.shown = ""
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        try:
            while data := os.read(self.outer, 4096):
                self.shown += data.decode()
        except OSError:  # closed
            pass

    def wait_for(self, text: str) -> None:
        deadline = time.monotonic() + 30
        while text not in self.shown:
            assert time.monotonic() < deadline, self.shown
            time.sleep(0.01)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    for name in ("COLUMNS", "LINES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    made = Terminal()
    with open(made.inner, "r+b", buffering=0, closefd=False) as file, open(file.fileno()) as keys:
        monkeypatch.setattr(sys, "stdin", keys)
        yield made
    os.close(made.outer)


def test_a_screen_is_drawn_until_q_is_pressed(
    terminal: Terminal, capsys: pytest.CaptureFixture[str]
) -> None:
    """An error of the file system is shown, and the next look tries again."""
    before = termios.tcgetattr(terminal.inner)
    looks: list[int] = []

    def look() -> None:
        looks.append(1)
        if len(looks) == 1:
            print("sweeps: warning: a file is damaged", file=sys.stderr)
            raise OSError("the server is away")

    def draw(width: int, height: int) -> list[str]:
        return [f"{width} x {height}, look {len(looks)}", *("x" * 100 for _ in range(50))]

    def quit_after_the_second_look() -> None:
        terminal.wait_for("the storage cannot be read now (the")
        terminal.wait_for("look 2")
        os.write(terminal.outer, b"q")

    user = threading.Thread(target=quit_after_the_second_look)
    user.start()
    with open(terminal.inner, "w", closefd=False) as stream:
        Screen(look, draw, seconds=lambda: 0.3, stream=stream).run()
    user.join()
    assert termios.tcgetattr(terminal.inner) == before
    assert "\x1b[?1049h" in terminal.shown
    terminal.wait_for("\x1b[?1049l")  # the screen is as before
    assert "40 x 7, look 1" in terminal.shown  # two lines of trouble, and that of the keys
    assert "40 x 8, look 2" in terminal.shown
    assert capsys.readouterr().err == "sweeps: warning: a file is damaged\n"


def test_arrow_keys_and_the_wheel_of_a_mouse_do_not_end_a_screen(terminal: Terminal) -> None:
    """A terminal sends Escape, which ends it, as the first letter of such keys."""
    looks: list[int] = []

    def scroll_and_press_escape() -> None:
        terminal.wait_for("look 1")
        os.write(terminal.outer, b"\x1b[A\x1bOB\x1b[1;5C")
        terminal.wait_for("look 3")
        os.write(terminal.outer, b"\x1b")

    user = threading.Thread(target=scroll_and_press_escape)
    user.start()
    with open(terminal.inner, "w", closefd=False) as stream:
        Screen(
            lambda: looks.append(1),
            lambda width, height: [f"look {len(looks)}"],
            seconds=lambda: 0.3,
            stream=stream,
        ).run()
    assert len(looks) >= 3
    user.join()


def test_an_error_of_the_user_ends_a_screen(terminal: Terminal) -> None:
    def look() -> None:
        raise ConfigurationError("a later version wrote the file")

    with (
        open(terminal.inner, "w", closefd=False) as stream,
        pytest.raises(ConfigurationError, match="a later version"),
    ):
        Screen(look, lambda *size: [], seconds=lambda: 9.0, stream=stream).run()


def test_the_command_shows_the_page_on_a_terminal(
    tiny: Ran, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends with the number of trials in each state, which stays on the terminal."""

    def quit_at_the_page() -> None:
        terminal.wait_for("best validation")
        os.write(terminal.outer, b"q")

    monkeypatch.chdir(tiny.folder)
    user = threading.Thread(target=quit_at_the_page)
    user.start()
    with open(terminal.inner, "w", closefd=False) as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        code = main(["watch", "tiny.py"])
        monkeypatch.undo()
    user.join()
    terminal.wait_for("tiny: 6/6 finished\r\n")
    assert code == 0
    assert terminal.shown.rindex("tiny: 6/6 finished") > terminal.shown.index("\x1b[?1049l")


def test_without_a_terminal_the_command_prints_the_page_once(
    tiny: Ran, quick_command: Command
) -> None:
    for options in ((), ("--once",)):
        done = quick_command(tiny.folder, "watch", "tiny.py", *options)
        assert (done.returncode, done.stderr) == (0, "")
        lines = done.stdout.splitlines()
        assert lines[2].startswith("6/6 finished")
        assert "\x1b" not in done.stdout
    part = quick_command(tiny.folder, "watch", "tiny.py", "--once", "--seeds", "7")
    assert part.returncode == 1
    assert "0/3 finished · 3 waiting" in part.stdout
