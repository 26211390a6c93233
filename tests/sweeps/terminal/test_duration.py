"""Durations in the unit that a person would choose."""

import pytest

from sweeps.terminal.duration import duration


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.0034, "3.4 ms"),
        (1.98, "2 s"),
        (9.96, "10 s"),
        (43.2, "43 s"),
        (95, "1.6 min"),
        (3600, "60 min"),
        (1.5 * 3600, "1.5 h"),
        (40 * 3600, "40 h"),
        (1165.5 * 3600, "49 days"),
    ],
)
def test_two_digits_and_a_unit(seconds: float, text: str) -> None:
    assert duration(seconds) == text
