"""Chunk: what each of the next steps needs, made at once and lying on the device."""

from collections.abc import Sequence

import torch
from torch import Tensor

from quantlab.datasets.sending import ready_to_send


class Chunk:
    """Tables with one row a step, of which each step reads its own.

    The tables, and the tensor that says which row is next, stay where they are, so that steps can
    be recorded once (see `quantlab.packs.graph`) and done again with other rows. Nothing waits for
    the device.
    """

    def __init__(self, device: torch.device, capacity: int) -> None:
        """Hold nothing yet.

        Args:
            device: where steps are computed.
            capacity: most steps that it is filled for.
        """
        self.capacity = capacity
        self._device = device
        self._position = torch.zeros(1, dtype=torch.int64, device=device)
        self._tables: list[Tensor] = []

    def fill(self, rows: Sequence[Tensor]) -> None:
        """Hold other rows, the first of which is next.

        Args:
            rows: for each table (num_steps, ...), on the CPU or the device; always of the same
                shapes but for the number of steps.
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
        """This step's row of each table."""
        rows = [table.index_select(0, self._position)[0] for table in self._tables]
        self._position.add_(1)
        return rows
