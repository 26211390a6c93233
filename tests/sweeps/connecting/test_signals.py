"""Signals that ask a command to end."""

import os
import signal
import subprocess
import sys

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
