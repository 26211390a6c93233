"""Notices: the user's commands that run when a sweep ends, or when its first trial fails."""

import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Self

from quantlab.errors import in_full, one_line
from sweeps.printing.secrets import hide

MOST_SECONDS = 60.0
"""After this time, a user's command is killed."""


class Notices:
    """Runs the commands of ``--on-end`` and ``--on-failure``.

    The shell gets the text of the user alone. Names and messages are in the environment, so that
    none of them is read as a part of a command. A context manager runs the command of the end also
    after an error or a signal. Whatever goes wrong is a warning.
    """

    def __init__(
        self,
        name: str,
        *,
        on_end: str | None,
        on_failure: str | None,
        facts: Callable[[], Mapping[str, object]],
    ) -> None:
        """Run nothing yet.

        Args:
            name: name of the sweep or study.
            on_end: shell command to run at the end; None for none.
            on_failure: shell command to run when the first trial has failed; None for none.
            facts: returns further facts, such as the number of trials in each state; each becomes
                a variable, ``QUANTLAB_`` and its name.
        """
        self._name = name
        self._on_end = on_end
        self._on_failure = on_failure
        self._facts = facts
        self._state = ""
        self._threads: list[threading.Thread] = []

    def failed(self, trial: str, reason: str) -> None:
        """Run the command of the first failure, beside the sweep; later failures run nothing.

        Args:
            trial: name of the trial.
            reason: why it failed.
        """
        if self._on_failure is None:
            return
        command, self._on_failure = self._on_failure, None
        # Other trials may be written to at this moment, and so they are counted here.
        variables = self._variables("FAILED", TRIAL=trial, ERROR=reason)
        thread = threading.Thread(
            target=_run, args=("--on-failure", command, variables), name="on-failure", daemon=True
        )
        thread.start()
        self._threads.append(thread)

    def ended(self, state: str) -> None:
        """Note how the sweep ended, for the command that runs at the end of the `with` block.

        Args:
            state: the word for it, such as ``COMPLETE``.
        """
        self._state = state

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for thread in self._threads:
            thread.join(MOST_SECONDS)
        if self._on_end is None:
            return
        state, reason = self._state, ""
        if isinstance(error, KeyboardInterrupt):
            state = "INTERRUPTED"
        elif error is not None:
            state, reason = "ERROR", hide(in_full(error))
        _run("--on-end", self._on_end, self._variables(state, ERROR=reason))

    def _variables(self, state: str, **further: object) -> dict[str, str]:
        facts: Mapping[str, object] = {}
        try:
            facts = self._facts()
        except Exception as error:  # the storage may be away, which is why the sweep ended
            _warn(f"the trials cannot be counted for a notice ({in_full(error)})")
        found = {"SWEEP": self._name, "STATE": state, **facts, **further}
        return {f"QUANTLAB_{name}": _value(value) for name, value in found.items()}


def _value(value: object) -> str:
    return one_line(str(value))


def _run(option: str, command: str, variables: Mapping[str, str]) -> None:
    """Run a user's command, in a session of its own so that Ctrl-C does not end it, and print it.

    What it prints is in a file meanwhile, because a process that it leaves behind would keep a pipe
    open.
    """
    try:
        with (
            tempfile.TemporaryFile() as output,
            subprocess.Popen(
                command,
                shell=True,
                env={**os.environ, **variables},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            ) as process,
        ):
            try:
                code = process.wait(MOST_SECONDS)
            except subprocess.TimeoutExpired:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                _warn(f"{option}: the command was killed, as it took more than {MOST_SECONDS:g} s")
                return
            output.seek(0)
            if said := output.read().decode(errors="replace").rstrip():
                print(said, file=sys.stderr, flush=True)
    except (OSError, ValueError) as error:
        _warn(f"{option}: the command cannot be started ({in_full(error)})")
        return
    if code:
        _warn(f"{option}: the command ended with exit code {code}")


def _warn(line: str) -> None:
    print(f"sweeps: warning: {line}", file=sys.stderr, flush=True)
