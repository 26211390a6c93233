"""The page of `sweeps watch`: the progress of a sweep as lines for a terminal."""

import math
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from textwrap import wrap

from rich.text import Text

from quantlab.training.records import measured
from quantlab.update_rules import Point
from sweeps.spending.description import hours, spent_line
from sweeps.spending.spent import NOTHING, Spending, Spent, summed
from sweeps.storage.records import Running, TrialState
from sweeps.terminal.duration import duration
from sweeps.terminal.table import Column, as_text, fitted
from sweeps.watching.best_values import BestValues
from sweeps.watching.storage_reader import TrialView
from sweeps.watching.time_left import time_left

FEWEST = 3
"""How many rows each part of the page has at least, if a terminal is low."""

_SHOWN_STATES = (
    TrialState.RUNNING,
    TrialState.WAITING,
    TrialState.INTERRUPTED,
    TrialState.DIVERGED,
    TrialState.FAILED,
    TrialState.STOPPED,
)
_RECENT_SECONDS = 3600.0
_LEAST_TITLE = 8
"""Letters of the name that stand beside the time; a terminal with fewer has no time."""
_DOT = " · "


def page(
    name: str,
    views: Sequence[TrialView],
    *,
    width: int,
    height: int | None = None,
    storage: str = "",
    notes: Iterable[str] = (),
    now: float | None = None,
) -> list[str]:
    """Return the page as lines of text, none of which is wider than the terminal.

    Args:
        name: name of the sweep or study.
        views: its trials, as a look has found them.
        width: letters of a line.
        height: number of lines of the terminal, in which all parts have room with fewer rows if
            necessary; None for all rows.
        storage: the folder of the storage.
        notes: further lines; see `sweeps.watching.watched.Contents`.
        now: the time in seconds since 1970; None for that of the clock.
    """
    moment = time.time() if now is None else now
    unknown = sum(view.result is not None and not view.attempts for view in views)
    spending = summed((view.cell.block, view.attempts) for view in views)
    spending = replace(spending, unknown=unknown)
    told = [counts_line(views, moment), *filter(None, [spent_line(spending)]), *notes]
    head = [_title(name, storage, moment, width), _bar(views, width), *_wrapped(told, width)]
    parts = [
        _blocks(views, spending, width),
        _running(views, width),
        _wrapped(_failures(views), width),
        _wrapped(_commands(views), width),
    ]
    parts = [part for part in parts if part]
    if height is not None:
        # An empty line stands before each part, and the last line of the terminal is free.
        parts = _shortened(parts, height - len(head) - len(parts) - 1)
    lines = head + [line for part in parts for line in ("", *part)]
    return [_cut(line, width) for line in lines]  # a narrow one has no room for a table


def _title(name: str, storage: str, moment: float, width: int) -> str:
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(moment))
    where = f"{name} in {storage}" if storage else name
    room = width - len(when) - 2
    if room < _LEAST_TITLE:
        return where
    return f"{_cut(where, room):<{room}}  {when}"


def _bar(views: Sequence[TrialView], width: int) -> str:
    """Return a bar of the epochs that are finished among those of all trials."""
    size = min(width, 60)
    total = sum(view.all_epochs for view in views)
    ended = (
        view.all_epochs
        if view.state.is_finished or view.state is TrialState.STOPPED
        else view.epochs
        for view in views
    )
    full = math.floor(size * sum(ended) / total) if total else 0
    return "━" * full + "╌" * (size - full)


def counts_line(views: Sequence[TrialView], now: float | None = None) -> str:
    """Return the number of trials in each state, and how much time is left, in one line.

    Args:
        views: the trials.
        now: the time in seconds since 1970; None for that of the clock.
    """
    moment = time.time() if now is None else now
    counts = Counter(view.state for view in views)
    finished = counts[TrialState.COMPLETE] + counts[TrialState.DIVERGED]
    parts = [f"{finished:,}/{len(views):,} finished"]
    parts += [
        f"{counts[state]:,} {state.value.lower()}" for state in _SHOWN_STATES if counts[state]
    ]
    recent = sum(
        view.result is not None and 0 <= moment - view.result.time < _RECENT_SECONDS
        for view in views
    )
    if recent and counts[TrialState.RUNNING]:
        parts.append(f"{recent:,} in the last hour")
    left = time_left(views)
    if left and not math.isnan(left):
        parts.append(f"{duration(left)} left")
    return _DOT.join(parts)


def _blocks(views: Sequence[TrialView], spending: Spending, width: int) -> list[str]:
    """Return the states of the trials of each block, what was spent on it, and its best values."""
    blocks: dict[str, list[TrialView]] = defaultdict(list)
    for view in views:
        blocks[view.cell.block].append(view)
    names = list(blocks)
    counts = [Counter(view.state for view in blocks[name]) for name in names]
    states = [state for state in _SHOWN_STATES if any(count[state] for count in counts)]
    finished = [
        f"{count[TrialState.COMPLETE] + count[TrialState.DIVERGED]:,}/{len(blocks[name]):,}"
        for name, count in zip(names, counts, strict=True)
    ]
    columns = [Column("block", list(map(Text, names)), is_text=True)]
    columns += [Column("finished", list(map(Text, finished)))]
    columns += [
        Column(
            state.value.lower(),
            [Text(f"{count[state]:,}" if count[state] else "") for count in counts],
        )
        for state in states
    ]
    spent = [spending.blocks.get(name, NOTHING) for name in names]
    columns.append(Column("slots", [_time(one, one.slot_seconds) for one in spent]))
    if spending.total.gpu_seconds:
        columns.append(Column("GPUs", [_time(one, one.gpu_seconds) for one in spent]))
    best = [_best(blocks[name]) for name in names]
    columns.append(Column("best validation", list(map(Text, best))))
    return as_text(fitted(columns, width), width).splitlines()


def _time(spent: Spent, seconds: float) -> Text:
    """Return a time that was spent; a dash if nothing was recorded, as by an earlier release."""
    return Text(hours(seconds) if spent.attempts else "–")


def _best(views: Sequence[TrialView]) -> str:
    """Return the best value of a block; of several sets, that of each."""
    best = BestValues(view.cell for view in views)
    for view in views:
        best.consider(view.cell, view.result)
    return ", ".join(best.values())


def _running(views: Sequence[TrialView], width: int) -> list[str]:
    """Return the trials that run now: the epoch, the last value, and the machine."""
    running = [view for view in views if view.state is TrialState.RUNNING]
    if not running:
        return []
    attempts = [view.attempts[-1] if view.attempts else None for view in running]
    columns = [
        Column("running", [Text(view.cell.name) for view in running], is_text=True),
        Column(
            "epoch",
            [
                Text(f"{min(view.epochs + 1, view.all_epochs)}/{view.all_epochs}")
                for view in running
            ],
        ),
        Column("validation", [Text(_last_value(view)) for view in running]),
        Column("for", [Text("" if one is None else duration(one.seconds)) for one in attempts]),
        Column("on", [Text("" if one is None else one.machine) for one in attempts]),
    ]
    return as_text(fitted(columns, width), width).splitlines()


def _last_value(view: TrialView) -> str:
    """Return the main metric of the quantized network after the last epoch."""
    metric = view.cell.recipe.task.metrics[0]
    epoch = view.epoch
    value = None if epoch is None else epoch.validation.get(measured(metric.name, Point.HARD))
    return "" if value is None or math.isnan(value) else metric.shown(value)


def _failures(views: Sequence[TrialView]) -> list[str]:
    failed: dict[str, list[TrialView]] = defaultdict(list)
    for view in views:
        if view.state is TrialState.FAILED:
            failed[view.failure].append(view)
    lines = []
    for reason, those in failed.items():
        others = f" (and {len(those) - 1} more)" if len(those) > 1 else ""
        lines.append(f"failed: {those[0].cell.name}{others}: {reason}")
    return lines


def _commands(views: Sequence[TrialView]) -> list[str]:
    commands: Counter[Running | None] = Counter(
        view.running for view in views if view.state is TrialState.RUNNING
    )
    return [
        f"{count:,} RUNNING in {'a command that is unknown' if command is None else command}"
        for command, count in commands.items()
    ]


def _shortened(parts: Sequence[list[str]], room: int) -> list[list[str]]:
    """Leave out rows of the longest parts until all of them have room."""
    lengths = [len(part) for part in parts]
    while sum(lengths) > room and max(lengths) > FEWEST:
        lengths[lengths.index(max(lengths))] -= 1
    return [
        part if length == len(part) else [*part[: length - 1], f"and {len(part) - length + 1} more"]
        for part, length in zip(parts, lengths, strict=True)
    ]


def _wrapped(lines: Iterable[str], width: int) -> list[str]:
    """Continue lines that are too long on further lines, which are indented.

    A part between two dots stays in one piece.
    """
    found = []
    for line in lines:
        if _DOT in line:
            line = _DOT.join(part.replace(" ", "\xa0") for part in line.split(_DOT))
        found += wrap(line, width, subsequent_indent="  ")
    return [line.replace("\xa0", " ") for line in found]


def _cut(line: str, width: int) -> str:
    """Cut a line that is too wide, with a sign of it."""
    text = Text(line)
    if text.cell_len > width:
        text.truncate(width, overflow="ellipsis")
    return text.plain
