"""What the terminal shows, and what a signal does."""

import io
import os
import re
import signal
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from sweeps.running.tune_hooks import SweepStopper
from sweeps.spec import Axis, Block, Cell, SweepSpec
from sweeps.storage import Storage, TrialState
from sweeps.storage.records import Running
from sweeps.watching.progress import Progress
from tests.quantlab.recipes import quantized, small_recipe
from tests.sweeps.trial_files import ended

SWEEP = SweepSpec(
    name="shown",
    base=small_recipe(),
    blocks=(Block("FP", axes=(Axis("batch", "batch_size", (10, 20)),)),),
    seeds=(0, 1),
)
METHODS = SweepSpec(
    name="methods",
    base=quantized(),
    blocks=(
        Block("FP", base=small_recipe()),
        Block("PC", axes=(Axis("rho0", "quantization.sharpness.rho0", (0.1, 0.2)),)),
    ),
    seeds=(0, 1),
)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def finish(storage: Storage, cell: Cell, accuracy: float) -> None:
    folder = storage.trial(cell.fingerprint)
    folder.path.mkdir(parents=True)
    folder.result.write(ended(validation_accuracy=accuracy))


def show(stream: io.StringIO, storage: Storage, *, quiet: bool = False) -> str:
    """One of four trials was finished before, one completes, one is interrupted, one diverges."""
    before, complete, interrupted, diverged = SWEEP.cells
    finish(storage, before, 0.5)
    finish(storage, complete, 0.75)
    progress = Progress(SWEEP.cells, storage, to_run=3, stream=stream, quiet=quiet, every_seconds=0)
    with progress:
        for cell in (complete, interrupted, diverged):
            progress.started(cell, waiting=0)
        progress.continued({diverged.fingerprint: 1})
        progress.ended(complete, TrialState.COMPLETE, waiting=0)
        progress.interrupted(interrupted)
        progress.ended(diverged, TrialState.DIVERGED, waiting=1)
    return stream.getvalue()


LAST = (
    r"3/4 finished · 0 running · 1 waiting · 1 diverged · 1 retried · \d+ trials/h · "
    r"[\d.]+ m?s left"
)


def test_plain_lines_in_a_file(tmp_path: Path) -> None:
    continued, first, running, best, last = show(io.StringIO(), Storage(tmp_path)).splitlines()
    assert continued == "FP batch=20 seed=1: continues after epoch 1 of 3"
    assert first.startswith("2/4 finished · 2 running · ")
    names = "FP batch=20 seed=0, epoch 1 of 3; FP batch=20 seed=1, epoch 2 of 3"
    assert running == f"  running: {names}"
    assert best == "  best validation: FP 75.00 %"
    assert re.fullmatch(LAST, last)


def test_the_best_of_each_method_and_set(tmp_path: Path) -> None:
    """A network in full precision is not the best of the quantized ones."""
    storage, stream = Storage(tmp_path), io.StringIO()
    first, second, low, high, worse, _ = METHODS.cells
    progress = Progress(METHODS.cells, storage, to_run=6, stream=stream, every_seconds=0)
    with progress:
        for cell, accuracy in ((low, 0.5), (first, 0.9), (high, 0.6), (worse, 0.55), (second, 0.9)):
            progress.started(cell, waiting=0)
            finish(storage, cell, accuracy)
            progress.ended(cell, TrialState.COMPLETE)
    lines = [line for line in stream.getvalue().splitlines() if "best" in line]
    assert lines == [
        "  best validation: PC ternary 50.00 %",
        "  best validation: FP 90.00 %",
        "  best validation: PC ternary 60.00 %",
    ]
    again = Terminal()
    with Progress(METHODS.cells, storage, to_run=1, stream=again):
        pass
    assert again.getvalue().splitlines()[-3:] == [
        "best validation:",
        "  FP  90.00 %",
        "  PC  ternary 60.00 %",
    ]


def test_where_trials_continue_and_how_far_they_are(tmp_path: Path) -> None:
    """No time is told before a trial has finished here."""
    storage, stream = Storage(tmp_path), io.StringIO()
    progress = Progress(METHODS.cells, storage, to_run=6, stream=stream, every_seconds=0)
    first, *others = METHODS.cells
    progress.started(first, waiting=0)
    progress.continued({first.fingerprint: 1})
    assert "left" not in stream.getvalue()
    progress.advanced({first.fingerprint: 2})
    lines = stream.getvalue().splitlines()
    assert lines[0] == "FP seed=0: continues after epoch 1 of 3"
    assert lines[1] == "0/6 finished · 1 running"
    assert lines[2] == "  running: FP seed=0, epoch 3 of 3"
    for cell in others:
        progress.started(cell, waiting=0)
    progress.continued({cell.fingerprint: 2 for cell in others})
    progress.advanced({first.fingerprint: 3})
    told = stream.getvalue().splitlines()[3:]
    assert told[:2] == [
        "FP seed=1: continues after epoch 2 of 3",
        "PC rho0=0.1 seed=0 and 3 more: continue after epoch 2 of 5",
    ]
    assert told[-1].endswith("; PC rho0=0.1 seed=0, epoch 3 of 5; 3 more")


def test_a_pause_and_what_was_not_trained_here_count_for_no_rate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A trial takes 99 s, with an hour's pause after a third of it."""
    clock = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    storage, stream = Storage(tmp_path), io.StringIO()
    failed, taken, cell, _ = SWEEP.cells
    progress = Progress(SWEEP.cells, storage, to_run=4, stream=stream, every_seconds=0)
    progress.started(failed, waiting=0)
    clock[0] += 1
    progress.ended(failed, TrialState.FAILED)
    progress.ended(taken, TrialState.COMPLETE)
    assert stream.getvalue().splitlines()[-1] == "1/4 finished · 0 running · 1 failed"
    progress.started(cell, waiting=0)
    clock[0] += 33
    progress.advanced({cell.fingerprint: 1})
    progress.left(cell)
    with progress.pause():
        clock[0] += 3600
    progress.started(cell, waiting=0)
    progress.continued({cell.fingerprint: 1})
    clock[0] += 66
    finish(storage, cell, 0.5)
    progress.ended(cell, TrialState.COMPLETE)
    (line,) = [one for one in stream.getvalue().splitlines() if one.startswith("2/4")]
    assert line == "2/4 finished · 0 running · 1 failed · 36 trials/h · 1.7 min left"


def test_a_trial_that_is_retried_counts_with_all_that_was_trained_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An epoch takes 33 s. The second trial continues after its last but one epoch."""
    clock = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    storage, stream = Storage(tmp_path), io.StringIO()
    first, second, *_ = SWEEP.cells
    progress = Progress(SWEEP.cells, storage, to_run=4, stream=stream, every_seconds=0)
    for cell in (first, second):
        progress.started(cell, waiting=0)
        clock[0] += 66
        progress.advanced({cell.fingerprint: 2})
        if cell is second:
            progress.interrupted(cell)
            progress.started(cell, waiting=0)
            progress.continued({cell.fingerprint: 2})
        clock[0] += 33
        finish(storage, cell, 0.5)
        progress.ended(cell, TrialState.COMPLETE)
    (line,) = [one for one in stream.getvalue().splitlines() if one.startswith("2/4")]
    assert line == "2/4 finished · 0 running · 1 retried · 36 trials/h · 3.3 min left"


def test_trials_outside_the_budget_are_not_counted(tmp_path: Path) -> None:
    storage, stream = Storage(tmp_path), io.StringIO()
    before, cell, *_ = SWEEP.cells
    finish(storage, before, 0.5)
    progress = Progress(SWEEP.cells, storage, to_run=1, outside=2, stream=stream, every_seconds=0)
    progress.started(cell, waiting=0)
    progress.advanced({cell.fingerprint: 1})
    finish(storage, cell, 0.5)
    progress.ended(cell, TrialState.COMPLETE)
    lines = [line for line in stream.getvalue().splitlines() if "finished" in line]
    assert lines[0].startswith("1/2 finished · 1 running · 2 outside the budget")
    assert lines[1].startswith("2/2 finished · 0 running · 2 outside the budget")


def test_a_display_on_a_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("TERM", "xterm")
    shown = show(Terminal(), Storage(tmp_path))
    assert "\x1b[" in shown  # drawn over
    last, *best = shown.splitlines()[-3:]
    assert re.fullmatch(LAST, last.rpartition("\x1b[2K")[2])
    assert best == ["best validation:", "  FP  75.00 %"]


def test_a_display_names_what_runs_and_counts_the_others(tmp_path: Path) -> None:
    sweep = replace(METHODS, seeds=tuple(range(5)))
    terminal = Terminal()
    with Progress(sweep.cells, Storage(tmp_path), to_run=15, stream=terminal) as progress:
        for cell in sweep.cells:
            progress.started(cell, waiting=0)
        progress.advanced({sweep.cells[0].fingerprint: 2})
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.getvalue())
    assert "  FP seed=0, epoch 3 of 3\n  FP seed=1, epoch 1 of 3\n" in shown
    assert "  PC rho0=0.1 seed=2, epoch 1 of 5\n  and 7 more\n" in shown


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
