"""Seeds as text, such as ``0-9`` or ``0,2,5-7``."""

import re

from quantlab.errors import ConfigurationError
from sweeps.plain_values import MOST_SEED, MOST_VALUES, seeds_of


def parse_seeds(text: str) -> tuple[int, ...]:
    """Parse seeds.

    Args:
        text: numbers, and ranges that include their ends, separated by commas.

    Raises:
        ConfigurationError: the text has another form, a range is reversed, a seed is too large or
            occurs twice, or there are too many seeds.
    """
    seeds: list[int] = []
    for part in text.split(","):
        found = re.fullmatch(r"\s*([0-9]{1,19})\s*(?:-\s*([0-9]{1,19})\s*)?", part)
        first, last = (int(found[1]), int(found[2] or found[1])) if found else (1, 0)
        if found and last < first:
            raise ConfigurationError(
                f"--seeds {text}: the range {part.strip()!r} is reversed; give {last}-{first}"
            )
        if not first <= last <= MOST_SEED or last - first >= MOST_VALUES:
            raise ConfigurationError(
                f"--seeds {text}: {part.strip()!r} must be a seed or a range of seeds, such as 0-9 "
                f"or 0,2,5-7, with at most {MOST_VALUES:,} seeds"
            )
        seeds += range(first, last + 1)
    return seeds_of(seeds, f"--seeds {text}")
