"""What was spent, as lines and tables for the terminal and as JSON data."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.text import Text

from sweeps.printing.number_of import number_of
from sweeps.spending.spent import Command, Spending, Spent
from sweeps.terminal.duration import duration
from sweeps.terminal.table import Column, as_text, fitted

HOUR = 3600.0
_SHORT = 1.5 * HOUR


def hours(seconds: float) -> str:
    """Return a time that was spent, such as ``12 min`` or ``1,234 h``, but never in days."""
    if seconds < _SHORT:
        return duration(seconds)
    value = seconds / HOUR
    return f"{value:,.0f} h" if value >= 9.95 else f"{value:.2g} h"


def spent_line(spending: Spending, own: Spent | None = None) -> str:
    """Return what was spent in one line; empty if nothing was.

    Args:
        spending: what was spent on all trials.
        own: what this command has spent; None without one.
    """
    spent, unknown = spending.total, spending.unknown
    if not spent.attempts:
        return ""
    by = "" if own is None or own == spent else f"{_amount(own)} by this command, in all "
    parts = [f"spent: {by}{_amount(spent)} on {number_of(spent.trials, 'trial')}"]
    if spent.retries:
        parts.append(number_of(spent.retries, "retry", "retries"))
    if spent.lost_seconds >= 1:
        parts.append(f"{hours(spent.lost_seconds)} lost to failures")
    if unknown:
        has = "has" if unknown == 1 else "have"
        parts.append(f"{number_of(unknown, 'trial')} of an earlier release {has} no record of it")
    return "; ".join(parts)


def spending_tables(spending: Spending, width: int) -> str:
    """Return tables of what was spent on each block and by each command.

    There is no table with a single row, which would be that of `spent_line`.

    Args:
        spending: what was spent.
        width: letters of a line.
    """
    blocks = [(name, spent) for name, spent in spending.blocks.items() if spent.attempts]
    # In containers, two commands may have the same process number on machines of the same name.
    commands = [(_shown(command), spent) for command, spent in spending.commands.items()]
    tables = [
        _table(first, rows, width)
        for first, rows in (("block", blocks), ("command", commands))
        if len(rows) > 1
    ]
    return "\n\n".join(tables)


def spending_data(spending: Spending) -> dict[str, Any]:
    """Return what was spent as JSON data; see docs/json.md."""
    return {
        **asdict(spending.total),
        "blocks": [{"block": name, **asdict(spent)} for name, spent in spending.blocks.items()],
        "unknown": spending.unknown,
        "commands": [
            {**asdict(command), **asdict(spent)} for command, spent in spending.commands.items()
        ],
    }


def _table(first: str, rows: Sequence[tuple[str, Spent]], width: int) -> str:
    names, values = zip(*rows, strict=True)
    numbers = {
        "trials": [f"{spent.trials:,}" for spent in values],
        "slots": [hours(spent.slot_seconds) for spent in values],
        "GPUs": [hours(spent.gpu_seconds) for spent in values],
        "retries": [f"{spent.retries:,}" for spent in values],
        "lost": [hours(spent.lost_seconds) for spent in values],
    }
    if not any(spent.gpu_seconds for spent in values):
        del numbers["GPUs"]
    columns = [
        Column(first, list(map(Text, names)), is_text=True),
        *(Column(header, list(map(Text, cells))) for header, cells in numbers.items()),
    ]
    return as_text(fitted(columns, width), width)


def _shown(command: Command) -> str:
    if not command.command:
        return "a program of the user"
    user = f" of {command.user}" if command.user else ""
    job = f", {command.job}" if command.job else ""
    return f"`{command.command}`{user} on {command.host}, process {command.process}{job}"


def _amount(spent: Spent) -> str:
    gpus = f" and {hours(spent.gpu_seconds)} of GPUs" if spent.gpu_seconds else ""
    return f"{hours(spent.slot_seconds)} of slots{gpus}"
