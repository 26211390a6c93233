"""Training of one recipe: epochs, evaluation, records and checkpoints."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from quantlab.training.run import TrainingRun

__all__ = ["TrainingRun"]


def __getattr__(name: str) -> Any:
    """Import `TrainingRun` when it is used: records of trials are read without torch."""
    if name == "TrainingRun":
        from quantlab.training.run import TrainingRun

        return TrainingRun
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
