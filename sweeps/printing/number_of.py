"""Numbers of things as text, such as ``1 trial`` and ``1,200 trials``."""


def number_of(count: int, one: str, many: str = "") -> str:
    """Return a number with the word for what is counted.

    Args:
        count: the number.
        one: the word for one thing.
        many: the word for another number of them; empty to append an s.
    """
    return f"{count:,} {one if count == 1 else many or f'{one}s'}"
