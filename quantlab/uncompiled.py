"""Optimizers of torch that are not compiled, and so do not import torch's compiler."""

import inspect
from functools import cache
from typing import Any

import torch
from torch.optim import Optimizer

_EXEMPT = ("add_param_group", "zero_grad", "state_dict", "load_state_dict")
"""Methods that torch exempts from compilation, for which it imports the compiler when they run."""


@cache
def uncompiled(algorithm: type[Optimizer]) -> type[Optimizer]:
    """Return an optimizer of torch that computes the same, and does not import torch's compiler.

    The import takes a second or two in each process. torch's optimizers need it only in a step that
    is compiled. Those of users stay as they are, because their methods may do anything.

    Args:
        algorithm: any optimizer.

    Returns:
        A subclass of it, or `algorithm` itself if it is none of torch's.
    """
    if not algorithm.__module__.startswith("torch.optim."):
        return algorithm
    plain = inspect.unwrap(algorithm.step)

    def step(self: Optimizer, *arguments: Any, **options: Any) -> Any:
        with torch.set_grad_enabled(self.defaults.get("differentiable", False)):
            return plain(self, *arguments, **options)

    methods = {name: inspect.unwrap(getattr(algorithm, name)) for name in _EXEMPT}
    names = {name: getattr(algorithm, name) for name in ("__module__", "__qualname__", "__doc__")}
    return type(algorithm.__name__, (algorithm,), {**names, **methods, "step": step})
