"""Worker processes of a Ray of one command, which import libraries before they get a trial.

They do so while the driver imports its own. Otherwise they would start with the first trials, and
import torch for seconds while the driver has nothing to do.
"""

import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager

MODULES = ("torch", "ray.tune")
"""What takes long. They are none of ours, whose place the processes learn with the first trial."""

_VARIABLES_OF_TUNE = ("DEFAULT_ENV_VARS", "ENV_VARS_TO_PROPAGATE")


@contextmanager
def started(is_wanted: bool) -> Iterator[None]:
    """Let `ray.init` start worker processes, which wait for trials with those modules.

    Ray starts one for each of its CPUs, but not more than the machine has. A version of Ray without
    these settings starts none, and nothing else differs. What the user has set stays.

    Args:
        is_wanted: whether it shall start any.
    """
    settings = {
        "RAY_preload_python_modules": ",".join(MODULES),
        "RAY_prestart_worker_first_driver": "1",
    }
    is_set = any(os.environ.get(name, "0") != "0" for name in settings)
    if not is_wanted or is_set:
        yield
        return
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def used_by_tune() -> Iterator[None]:
    """Let Tune use these processes for its trials.

    It gives some variables of the driver's environment to processes of trials, such as keys of AWS,
    and one of its own for another library. The processes have the former already, as they are on
    the same machine. With either, Ray would start others in their place, as it does if a version of
    Tune keeps these variables elsewhere.
    """
    module = importlib.import_module("ray.tune.execution.class_cache")
    kept = {name: getattr(module, name) for name in _VARIABLES_OF_TUNE if hasattr(module, name)}
    for name, variables in kept.items():
        setattr(module, name, type(variables)())
    try:
        yield
    finally:
        for name, variables in kept.items():
            setattr(module, name, variables)
