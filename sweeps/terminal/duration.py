"""Durations in the unit that a person would choose."""

UNITS = (("ms", 0.001, 0.1), ("s", 1.0, 90.0), ("min", 60.0, 5400.0), ("h", 3600.0, 172_800.0))
"""Name of each unit, its seconds, and the duration in seconds below which it is chosen."""
DAY = 86_400.0


def duration(seconds: float) -> str:
    """Return a duration with two digits or more, such as ``1.9 s``, ``12 min`` or ``48 days``.

    Args:
        seconds: the duration in seconds, >= 0.
    """
    if seconds == 0:
        return "0 s"
    for name, unit, below in UNITS:
        if seconds < below:
            return f"{_two_digits(seconds / unit)} {name}"
    return f"{_two_digits(seconds / DAY)} days"


def _two_digits(value: float) -> str:
    """Format a number > 0 with two digits, or without decimals if it has more before the point."""
    return f"{value:.0f}" if value >= 9.95 else f"{value:.2g}"
