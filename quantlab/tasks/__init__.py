"""Tasks: the loss that is minimized, and the metrics that networks are measured by."""

from quantlab.tasks.base import Metric, Task

__all__ = ["Metric", "Task"]
