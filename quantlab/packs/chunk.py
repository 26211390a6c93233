"""Chunk: the inputs of the next steps, prepared together and stored on the device."""

from collections.abc import Sequence

import torch
from torch import Tensor

from quantlab.datasets.loading.sending import ready_to_send


class Chunk:
    """Tables with one row per step.

    The tables and the tensor with the position of the next row keep their memory. A step can
    therefore be recorded once (see `quantlab.packs.graph`) and replayed with other rows. The CPU
    does not wait for the device.
    """

    def __init__(self, device: torch.device, capacity: int) -> None:
        """Create an empty chunk.

        Args:
            device: device that computes the steps.
            capacity: largest number of steps that it is filled for.
        """
        self.capacity = capacity
        self._device = device
        self._position = torch.zeros(1, dtype=torch.int64, device=device)
        self._tables: list[Tensor] = []

    def fill(self, rows: Sequence[Tensor]) -> None:
        """Replace the rows. The first of them is the next one.

        Args:
            rows: for each table a tensor (num_steps, ...), on the CPU or the device. Apart from the
                number of steps, the shapes are the same in every call.
        """
        if not self._tables:
            self._tables = [
                torch.zeros(self.capacity, *table.shape[1:], dtype=table.dtype, device=self._device)
                for table in rows
            ]
        for table, new in zip(self._tables, rows, strict=True):
            table[: len(new)].copy_(ready_to_send(new, self._device), non_blocking=True)
        self._position.zero_()

    def next(self) -> list[Tensor]:
        """Return the current row of each table, and advance by one step."""
        rows = [table.index_select(0, self._position)[0] for table in self._tables]
        self._position.add_(1)
        return rows
