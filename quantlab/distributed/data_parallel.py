"""Replicas: the processes that train one recipe together, each on a share of every batch.

Every process is a replica: it holds the whole `TrainingRun`, with the same seed, the same order of
the images and the same augmentation. A gradient step is computed as follows:

1. Each replica takes its share of the batch (`quantlab.distributed.shared_batch`). The shares are
   contiguous and differ by at most one image. If a batch has fewer images than there are replicas,
   every replica computes the whole batch.
2. The loss of a share is weighted by its part of the batch, so that the sum over the replicas is
   the loss of the batch. The gradients of all parameters, the loss and the running statistics are
   summed over the replicas in one message (`quantlab.distributed.gradient_sum`).
3. Every replica takes the same step of the optimizer and applies the same proximal map, with the
   same random numbers. The weights of all replicas therefore stay equal in every bit. This is
   checked after every epoch.

The sum of the gradients is that of a single process, up to rounding. The batch statistics of batch
normalization are those of the whole batch, or of shards of it (`Recipe.batchnorm_shards`), whose
number belongs to the recipe and does not depend on the number of replicas
(`quantlab.distributed.batch_norm`). Random numbers that a network draws in its forward pass, as
dropout does, differ from those of a single process; they depend on the seed, the step and the
replica. Evaluation is shared, too: each replica evaluates every n-th batch.

The replica of rank 0 leads: it alone writes checkpoints, records and results, and decides at the
pauses of training whether to go on. When training begins, it sends its state to the others, so
that only the leader reads a checkpoint. All replicas find the same loss, so all of them raise the
same `NonFiniteLossError`. If a replica raises another error, it leaves a note for the others and
closes its connections, and all replicas raise the error. If a process is killed, its connections
break, and the others raise `LostProcessError`.

Messages are sent through torch.distributed: gloo on CPUs, NCCL on GPUs (and gloo for what is not
on a GPU). With gloo, the others notice at once that a process has died. With NCCL, a process may
wait in vain for a dead one, so the program that started the processes must watch them as well.
"""

import io
import json
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from types import TracebackType
from typing import Any, Self, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed import Store, TCPStore  # type: ignore[attr-defined]
from torch.distributed.distributed_c10d import _abort_process_group

from quantlab.errors import (
    ConfigurationError,
    LostProcessError,
    MemoryExhaustedError,
    first_line,
    in_full,
)

T = TypeVar("T")

TIMEOUT = timedelta(minutes=30)
"""How long a replica waits for the others, for example while the leader writes a checkpoint. A
process that dies is noticed earlier; see the module's docstring."""

_NOTE = "error"
"""Key of the note that a replica leaves for the others when it fails."""

_READY = "ready"
"""Beginning of the keys with which replicas say that they are about to connect."""
_POLL_SECONDS = 0.05

_ERRORS = {
    kind.__name__: kind for kind in (ConfigurationError, MemoryExhaustedError, LostProcessError)
}
"""Errors that the other replicas raise as what they are; others become `RuntimeError`."""


class Replicas:
    """The processes that train one recipe together, as one of them sees them.

    `leading` makes the replica of rank 0, and `following` each of the others. Both connect when
    training begins. As a context manager, it closes the connections at the end of the block::

        with Replicas.leading(2) as replicas:                    # in one process
            run = TrainingRun(recipe, execution=Execution(replicas=2), replicas=replicas)
            for record in run:
                ...
            print(run.outcome())

        with Replicas.following(address, rank=1, size=2) as replicas:     # in the other one
            follow(TrainingRun(recipe, execution=Execution(replicas=2), replicas=replicas))
    """

    def __init__(self, rank: int = 0, size: int = 1, store: Store | None = None) -> None:
        """Make one of several replicas; see `leading` and `following`.

        Args:
            rank: number of this replica, from 0.
            size: number of replicas.
            store: table that all replicas read and write; None for a single one.
        """
        self.rank = rank
        self.size = size
        self._store = store
        self._device: torch.device | None = None
        self._is_connected = False
        self._is_broken = False

    @classmethod
    def leading(cls, size: int, *, host: str = "127.0.0.1") -> "Replicas":
        """Make the replica of rank 0, which the others find at its `address`.

        Args:
            size: number of replicas.
            host: name or IP address under which the others reach this machine.
        """
        if size == 1:
            return cls()
        store = TCPStore(host, 0, is_master=True, wait_for_workers=False, timeout=TIMEOUT)
        return cls(0, size, store)

    @classmethod
    def following(cls, address: str, *, rank: int, size: int) -> "Replicas":
        """Make a replica of another rank.

        Args:
            address: `address` of the leading replica.
            rank: number of this replica, from 1.
            size: number of replicas.

        Raises:
            LostProcessError: if the leading replica cannot be reached.
        """
        host, _, port = address.rpartition(":")
        try:
            store = TCPStore(host, int(port), is_master=False, timeout=TIMEOUT)
        except RuntimeError as error:
            raise LostProcessError(
                f"the first process of the trial does not answer at {address} ({first_line(error)})"
            ) from error
        return cls(rank, size, store)

    @property
    def address(self) -> str:
        """Address of the leading replica, for `following`."""
        assert isinstance(self._store, TCPStore)
        return f"{self._store.host}:{self._store.port}"

    @property
    def is_leading(self) -> bool:
        """Whether this replica writes checkpoints and results. A single one does."""
        return self.rank == 0

    def connect(self, device: torch.device) -> None:
        """Wait for the other replicas, and connect to them.

        Args:
            device: device of the network.

        Raises:
            LostProcessError: if a replica does not connect within `TIMEOUT`.
            Exception: the error of a replica that has failed before.
        """
        if self.size == 1 or self._is_connected:
            return
        self._device = device
        backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
        with self._together():
            self._meet()
            dist.init_process_group(
                backend, store=self._store, rank=self.rank, world_size=self.size, timeout=TIMEOUT
            )
        self._is_connected = True

    def _meet(self) -> None:
        """Wait until all replicas are about to connect. To connect to one that has failed hangs.

        Raises:
            RuntimeError: a replica has left a note, or does not come within `TIMEOUT`.
        """
        assert self._store is not None
        self._store.set(f"{_READY}{self.rank}", "")
        ready = [f"{_READY}{rank}" for rank in range(self.size)]
        until = time.monotonic() + TIMEOUT.total_seconds()
        while not self._store.check(ready):
            if self._store.check([_NOTE]):
                raise RuntimeError("a replica has failed")
            if time.monotonic() > until:
                raise RuntimeError(f"not all processes have started within {TIMEOUT}")
            time.sleep(_POLL_SECONDS)

    def add(self, tensor: Tensor) -> None:
        """Add up a tensor over all replicas, in place. All get the same bits."""
        if self.size > 1:
            with self._together():
                dist.all_reduce(tensor)

    def gather(self, tensor: Tensor) -> Tensor:
        """Return the tensors of all replicas, in the order of their ranks, as (size, *shape)."""
        if self.size == 1:
            return tensor[None]
        gathered = [torch.empty_like(tensor) for _ in range(self.size)]
        with self._together():
            dist.all_gather(gathered, tensor)
        return torch.stack(gathered)

    def from_leader(self, value: Any) -> Any:
        """Return the value that the leading replica passes. Tensors in it are on the CPU.

        Args:
            value: tensors and plain values, in dictionaries, lists and tuples; ignored on the other
                replicas.
        """
        if self.size == 1:
            return value
        buffer = io.BytesIO()
        if self.is_leading:
            torch.save(value, buffer)
        content = torch.frombuffer(bytearray(buffer.getbuffer() or b"\0"), dtype=torch.uint8)
        size = torch.tensor([len(content)])
        with self._together():
            dist.broadcast(size, src=0)
            if not self.is_leading:
                content = torch.empty(int(size), dtype=torch.uint8)
            dist.broadcast(content, src=0)
        if self.is_leading:
            return value
        received = io.BytesIO(content.numpy().tobytes())
        return torch.load(received, map_location="cpu", weights_only=True)

    def in_step(self, records: Iterable[T]) -> Iterator[T]:
        """Yield records as long as the caller of the leading replica wants more.

        If that caller closes the iterator, the iterators of the other replicas end, too.

        Args:
            records: records or pauses of training, of which all replicas have as many.
        """
        for record in records:
            try:
                yield record
            except GeneratorExit:
                if self._is_connected and not self._is_broken:
                    with suppress(LostProcessError):
                        self._goes_on(False)
                raise
            if not self._goes_on(True):
                return

    def _goes_on(self, is_wanted: bool) -> bool:
        if self.size == 1:
            return is_wanted
        answer = torch.tensor([is_wanted], dtype=torch.uint8)
        with self._together():
            dist.broadcast(answer, src=0)
        return bool(answer)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close(error)

    def close(self, error: BaseException | None = None) -> None:
        """Close the connections. After an error, leave a note for the others before.

        Args:
            error: the error that ended the training of this replica; None if there is none.
        """
        if self.size == 1:
            return
        if isinstance(error, Exception) and not self._is_broken:
            note = {"rank": self.rank, "error": type(error).__name__, "says": in_full(error)}
            with suppress(RuntimeError):  # the leading process, which holds the notes, may be gone
                assert self._store is not None
                self._store.set(_NOTE, json.dumps(note))
                self._store.get(_NOTE)  # which returns after the note has been written
        if not self._is_connected:
            return
        self._is_connected = False
        is_on_gpu = self._device is not None and self._device.type == "cuda"
        if is_on_gpu and (error is not None or self._is_broken):
            # A kernel may wait for a process that is gone, and so would an orderly end.
            _abort_process_group()
        else:
            dist.destroy_process_group()

    @contextmanager
    def _together(self) -> Iterator[None]:
        """Translate the errors of torch.distributed for replicas that have failed or died."""
        try:
            yield
        except RuntimeError as error:
            if isinstance(error, torch.OutOfMemoryError | torch.AcceleratorError):
                raise
            raise self._reason(error) from error

    def _reason(self, error: RuntimeError) -> Exception:
        """Return the error of the replica that failed, from its note; else that one was lost."""
        self._is_broken = True
        with suppress(RuntimeError):
            assert self._store is not None
            if self._store.check([_NOTE]):
                note = json.loads(self._store.get(_NOTE))
                kind, text = note["error"], note["says"]
                if kind in _ERRORS:
                    return _ERRORS[kind](text)
                return RuntimeError(f"process {note['rank']} of the trial raised {kind}: {text}")
        return LostProcessError(f"a process of the trial was lost ({first_line(error)})")


ALONE = Replicas()
"""A single process."""
