"""A step as a CUDA graph: recorded once, then done again by the GPU without the CPU."""

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from quantlab.errors import ConfigurationError, first_line

Record = Callable[[Callable[[], None]], Callable[[], None]]
"""Takes a step, and gives what does its operations again, on the same tensors, with the numbers
that it was recorded with."""

WARM_UP_STEPS = 3
"""Steps that are done one operation at a time first: in them libraries choose what to call, and
optimizers make their state."""


@contextmanager
def _nothing_collected() -> Iterator[None]:
    """Leave garbage where it is: the end of an earlier graph would spoil a recording."""
    gc.collect()
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def record_on(stream: torch.cuda.Stream) -> Record:
    """Recording on the stream on which all steps before it were done.

    Raises:
        ConfigurationError: (by what it gives) the step does something that only the CPU can.
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
                f"Execution.graph = True: a step cannot be recorded ({first_line(error)}); "
                "compute it with --execution no-graph"
            ) from error
        return graph.replay

    return record
