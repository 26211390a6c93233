"""The random numbers that a user's code draws from the generators of the process."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def kept_generators() -> Iterator[None]:
    """Restore the CPU generators of Python, NumPy and torch at the end of a `with` block."""
    python, numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)


def seed_generators(*numbers: int) -> None:
    """Seed the CPU generators of Python, NumPy and torch with a hash of whole numbers >= 0."""
    (seed,) = np.random.SeedSequence(list(numbers)).generate_state(1).tolist()
    random.seed(seed)
    np.random.seed(seed)
    torch.default_generator.manual_seed(seed)  # and no other device's
