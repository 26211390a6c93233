"""Gradient steps as a CUDA graph, which is recorded once and then replayed by the GPU."""

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from quantlab.errors import ConfigurationError, first_line

Record = Callable[[Callable[[], None]], Callable[[], None]]
"""A function that records a step and returns a function that replays its operations on the same
tensors."""

WARM_UP_STEPS = 3
"""Number of steps before the recording. In them, libraries choose their algorithms and optimizers
create their state."""


@contextmanager
def _nothing_collected() -> Iterator[None]:
    """Disable garbage collection for a `with` block.

    The destruction of an earlier graph during a recording would make the recording fail.
    """
    gc.collect()
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def record_on(stream: torch.cuda.Stream) -> Record:
    """Return a function that records steps on a stream.

    Args:
        stream: stream on which the earlier steps were computed. The returned function raises
            `ConfigurationError` if an operation of the step cannot be recorded.
    """

    def record(step: Callable[[], None]) -> Callable[[], None]:
        graph = torch.cuda.CUDAGraph()
        try:
            with _nothing_collected(), torch.cuda.graph(graph, stream=stream):
                step()
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            if isinstance(error.__context__, torch.OutOfMemoryError):
                raise error.__context__ from None
            raise ConfigurationError(
                f"Execution.graph = True: the step cannot be recorded as a CUDA graph "
                f"({first_line(error)}); switch it off with --execution no-graph"
            ) from error
        return graph.replay

    return record
