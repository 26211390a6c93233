"""Time limits of jobs, in the notation of SLURM."""

import re

from quantlab import ConfigurationError

START_SECONDS = 120
"""Time that a job has to start Ray, import torch and read its data, and to train something."""
SLACK_SECONDS = 60
"""SLURM may send a signal up to this time earlier than it was asked to."""

_FORMS = (
    re.compile(r"(?P<minutes>\d+)"),
    re.compile(r"(?P<minutes>\d+):(?P<seconds>\d+)"),
    re.compile(r"(?P<hours>\d+):(?P<minutes>\d+):(?P<seconds>\d+)"),
    re.compile(r"(?P<days>\d+)-(?P<hours>\d+)(:(?P<minutes>\d+)(:(?P<seconds>\d+))?)?"),
)
_UNITS = {"days": 86400, "hours": 3600, "minutes": 60, "seconds": 1}


def seconds_of(text: str) -> int:
    """Return a time limit in seconds.

    Args:
        text: minutes, minutes:seconds, hours:minutes:seconds, days-hours, days-hours:minutes or
            days-hours:minutes:seconds.

    Raises:
        ConfigurationError: the text has another form, or is no time > 0.
    """
    found = next((match for form in _FORMS if (match := form.fullmatch(text))), None)
    parts = {} if found is None else found.groupdict()
    total = sum(_UNITS[unit] * int(number or 0) for unit, number in parts.items())
    if total == 0:
        raise ConfigurationError(
            f"--time {text}: must be a time > 0 as SLURM writes it: minutes, hours:minutes:seconds "
            "or days-hours:minutes:seconds, such as 90, 4:00:00 or 2-12:00:00"
        )
    return total


def least_seconds(stop_before: int) -> int:
    """Return the shortest time limit with which a job can train, in seconds.

    Args:
        stop_before: how many seconds before the limit the sweep is told to stop.
    """
    return START_SECONDS + SLACK_SECONDS + stop_before


def require_long_enough(text: str, stop_before: int) -> None:
    """Refuse a time limit after which a job would go back into the queue without having trained.

    Args:
        text: the time limit; see `seconds_of`.
        stop_before: how many seconds before the limit the sweep is told to stop.

    Raises:
        ConfigurationError: see `seconds_of`; or the limit is too short.
    """
    least = least_seconds(stop_before)
    if seconds_of(text) < least:
        raise ConfigurationError(
            f"--time {text}: leaves no time to train; must be at least {-(-least // 60)} minutes "
            f"with --stop-before {stop_before}, as the start takes up to {START_SECONDS} s and "
            f"SLURM may tell a job to stop {SLACK_SECONDS} s early"
        )
