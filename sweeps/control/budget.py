"""Budget: how much may be spent on a sweep in all, by all commands on its storage."""

import re
from dataclasses import dataclass
from typing import Self

from quantlab.errors import ConfigurationError
from sweeps.printing.number_of import number_of

_SECONDS = {"d": 86400.0, "h": 3600.0, "min": 60.0}
_TRIALS = "trials"
_FORM = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]*)")
_MOST = 1e9


@dataclass(frozen=True)
class Budget:
    """What may be spent on the trials of a sweep: time, or a number of finished trials."""

    seconds: float | None = None
    """Seconds of GPUs or, if trials have none, of slots; None for a number of trials."""
    trials: int | None = None
    """Number of finished trials; None for a time."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse ``200h``, ``5d``, ``90min`` or ``50trials``.

        Raises:
            ConfigurationError: the text is none of these.
        """
        found = _FORM.fullmatch(text.strip())
        unit = found[2] if found else ""
        number = float(found[1]) if found else 0.0
        is_whole = unit != _TRIALS or number.is_integer()
        if unit not in (*_SECONDS, _TRIALS) or not 0 < number <= _MOST or not is_whole:
            raise ConfigurationError(
                f"{text!r}: must be a number > 0 of days, hours, minutes or trials, such as 5d, "
                "200h, 90min or 50trials"
            )
        if unit == _TRIALS:
            return cls(trials=int(number))
        return cls(seconds=number * _SECONDS[unit])

    def __str__(self) -> str:
        if self.seconds is None:
            return number_of(self.trials or 0, "trial")
        return f"{hours(self.seconds)} h"


def hours(seconds: float) -> str:
    """Return a time in hours with as many digits as one reads."""
    return f"{seconds / 3600:.1f}" if seconds >= 36000 else f"{seconds / 3600:.3g}"
