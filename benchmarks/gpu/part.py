"""A part of the command: named measurements, taken in a process of their own."""

import multiprocessing
import os
import signal
import time
import traceback
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu.report import Report

Tell = Callable[[Mapping[str, Any]], None]
"""Takes what a measurement has found so far."""


@dataclass(frozen=True)
class Settings:
    """What all measurements are told."""

    device: str
    data: Path
    """A file of CIFAR-10's images; it may be missing."""
    found: Mapping[str, Any]
    """Part -> measurements of the parts before."""
    until: float
    """When the part has to be over, as `time.time` counts."""

    @property
    def tiny(self) -> bool:
        """Whether this is a rehearsal, in which speed does not matter."""
        return self.device == "cpu"


@dataclass(frozen=True)
class Measurement:
    """One of a part."""

    name: str
    take: Callable[[Tell], Mapping[str, Any]]
    seconds: float = 60.0
    """It is given up after these."""


Part = Callable[[Settings], Iterable[Measurement]]

_RESTARTS = 8


def starting(device: str) -> Any:
    """How processes are started: by a fork, or afresh for a GPU.

    Forks of a process that has but asked whether there is a GPU cannot use it, and importing
    torch's compiler asks.
    """
    return multiprocessing.get_context("fork" if device == "cpu" else "spawn")


def run_part(name: str, part: Part, settings: Settings, report: Report) -> str:
    """Take all measurements of a part, as far as its time goes.

    They are taken in a process of their own, so that neither a crash nor a GPU that no longer
    answers ends more than one of them: the next process goes on behind it.

    Returns:
        How it ended.
    """
    done: set[str] = set()
    for _ in range(_RESTARTS):
        so_far = replace(settings, found={**settings.found, name: report.results(name)})
        ended = _run_process(name, part, so_far, report, done)
        if ended is not None:
            return ended
    return f"given up after {_RESTARTS} processes"


def _run_process(
    name: str, part: Part, settings: Settings, report: Report, done: set[str]
) -> str | None:
    context = starting(settings.device)
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(part, settings, frozenset(done), theirs))
    process.start()
    theirs.close()
    assert process.pid is not None
    with suppress(ProcessLookupError, PermissionError):
        os.setpgid(process.pid, process.pid)  # whoever of the two comes first
    current, given_up_at = "", settings.until
    try:
        while True:
            if not ours.poll(max(0.0, min(given_up_at, settings.until) - time.time())):
                why = "took too long" if time.time() < settings.until else "no time is left"
                if current:
                    before = report.results(name).get(current, {})
                    report.measured(name, current, {**before, "failed": why})
                return "out of time" if time.time() >= settings.until else None
            try:
                kind, *content = ours.recv()
            except EOFError:
                if current:
                    process.join(5)
                    why = f"its process ended with exit code {process.exitcode}"
                    before = report.results(name).get(current, {})
                    report.measured(name, current, {**before, "failed": why})
                    print(f"  {current}: {why}", flush=True)
                    return None
                return None if done else "its process ended at the start"
            if kind == "over":
                return "done"
            if kind == "begin":
                current, seconds = content
                given_up_at = time.time() + seconds
                done.add(current)
            elif kind == "found":
                report.measured(name, current, {**content[0], "unfinished": True})
            else:
                report.measured(name, current, content[0])
                print(f"  {current}: {_short(content[0])}", flush=True)
                current, given_up_at = "", settings.until
    finally:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)  # with what it started itself
        process.kill()  # if it was too young to be a group
        process.join()
        ours.close()


def _work(part: Part, settings: Settings, done: frozenset[str], parent: Connection) -> None:
    with suppress(PermissionError):
        os.setpgid(0, 0)
    torch.set_num_threads(1)
    for measurement in part(settings):
        if measurement.name in done:
            continue
        parent.send(("begin", measurement.name, measurement.seconds))
        started = time.time()
        try:
            found = dict(measurement.take(lambda so_far: parent.send(("found", dict(so_far)))))
        except Exception as error:
            traceback.print_exc()
            message = (str(error).strip() or type(error).__name__).splitlines()[0][:400]
            found = {"failed": message}
        parent.send(("end", {**found, "took_seconds": round(time.time() - started, 2)}))
        if "CUDA error" in found.get("failed", ""):
            os._exit(0)  # the next process starts afresh
    parent.send(("over",))


def _short(found: Mapping[str, Any]) -> str:
    """Its numbers and words, without tables."""
    items = [
        f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}"
        for key, value in found.items()
        if isinstance(value, int | float | str)
    ]
    return ", ".join(items)[:300]
