"""Signals that ask a command to end."""

import os
import signal
import subprocess
import sys
from contextlib import suppress

import pytest

from sweeps.connecting import signals


@pytest.mark.parametrize("number", signals.ENDING)
def test_all_signals_of_batch_systems_are_handled_alike(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    heard = []
    with signals.handled(lambda: heard.append("once")):
        os.kill(os.getpid(), number)
    assert heard == ["once"]
    assert signal.getsignal(number) is before


def test_what_nohup_ignores_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with signals.handled(signals.interrupt):
            os.kill(os.getpid(), signal.SIGHUP)
            with pytest.raises(KeyboardInterrupt):
                os.kill(os.getpid(), signal.SIGTERM)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_processes_that_are_started_meanwhile_take_no_notice() -> None:
    sleep = [sys.executable, "-c", "import time; print(flush=True); time.sleep(60)"]
    with signals.blocked_in_children():
        child = subprocess.Popen(sleep, stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()
    for number in signals.FOR_DRIVER:
        child.send_signal(number)
    with pytest.raises(subprocess.TimeoutExpired):
        child.wait(0.2)
    child.send_signal(signal.SIGKILL)
    assert child.wait(30) == -signal.SIGKILL
    child.stdout.close()


def fail_after_an_interrupt() -> None:
    with signals.interrupting([signal.SIGINT]):
        with suppress(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        raise ImportError("cannot load module more than once per process")


def fail() -> None:
    with signals.interrupting([signal.SIGINT]):
        raise ImportError("no such module")


def test_an_error_that_follows_a_swallowed_interrupt_is_one() -> None:
    """Such as that of a module whose import was interrupted within another library."""
    with pytest.raises(KeyboardInterrupt) as caught:
        fail_after_an_interrupt()
    assert isinstance(caught.value.__cause__, ImportError)
    with pytest.raises(ImportError):  # of the next command
        fail()
