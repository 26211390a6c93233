"""Batches that are read from files or other datasets, in loader processes if wanted."""

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from quantlab.errors import ConfigurationError, LostProcessError

Batch: TypeAlias = tuple[Tensor, Tensor]
"""Inputs and targets of the examples of a batch, on the CPU."""


def loaded_batches(
    read: Callable[[list[int]], Batch],
    batches: Sequence[list[int]],
    *,
    device: torch.device,
    workers: int,
) -> Iterator[Batch]:
    """Yield batches in their order, in pinned memory if they go to a GPU.

    Args:
        read: reads the examples at some positions as a batch. It is called in a loader process,
            which has a copy of it.
        batches: positions of the examples of each batch.
        device: device to which the caller copies the batches.
        workers: number of loader processes; 0 to read in this process.

    Raises:
        ConfigurationError: the error of `read`.
        LostProcessError: if a loader process was killed.
    """
    loader = DataLoader(
        _Reading(read),
        batch_sampler=batches,
        num_workers=workers,
        pin_memory=device.type == "cuda",
        collate_fn=_as_it_is,
        generator=torch.Generator(),  # else it would draw a seed from the default one
    )
    try:
        for batch in _iterate(loader):
            if isinstance(batch, ConfigurationError):
                raise batch
            yield batch
    except (RuntimeError, ConnectionError, EOFError) as error:
        # The connection to a process that has just died may break before torch looks at it.
        if isinstance(error, RuntimeError) and "DataLoader worker" not in str(error):
            raise
        raise LostProcessError(f"a loader process was killed ({error})") from error


def positions_of_batches(count: int, batch_size: int, order: Tensor | None) -> list[list[int]]:
    """Return the positions of the examples of each batch.

    Args:
        count: number of examples.
        batch_size: number of examples per batch. The last batch may be smaller.
        order: positions in the order of the batches; None for all examples in their order.
    """
    positions = list(range(count)) if order is None else order.tolist()
    return [positions[start : start + batch_size] for start in range(0, len(positions), batch_size)]


_Read: TypeAlias = Batch | ConfigurationError
"""A batch, or the error of an example. Errors are returned as values, because a loader process
replaces the message of an exception by its whole traceback."""


class _Reading(Dataset[_Read]):
    """Batches of examples, as torch's loader asks for them."""

    def __init__(self, read: Callable[[list[int]], Batch]) -> None:
        self._read = read

    def __getitems__(self, positions: list[int]) -> _Read:
        try:
            return self._read(positions)
        except ConfigurationError as error:
            return error


def _as_it_is(batch: Any) -> Any:
    """Return what `_Reading` has read, which is a batch already."""
    return batch


def _iterate(loader: DataLoader[_Read]) -> Iterator[_Read]:
    """Iterate over the loader without torch's signal handler.

    The handler raises the loss of a process in arbitrary code of the main thread, and repeatedly.
    The loader itself notices the loss within seconds.
    """
    if threading.current_thread() is not threading.main_thread():  # where torch installs none
        return iter(loader)
    before = signal.getsignal(signal.SIGCHLD)
    batches = iter(loader)
    if before is not None:
        signal.signal(signal.SIGCHLD, before)
    return batches
