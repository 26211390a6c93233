"""Processes of Ray that a Ray of one command has no use for.

Each of them imports Ray, which takes a second of a processor, and all of them do so at the moment
at which the first trials start. Ray waits for that of the dashboard.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray

_STARTED_BY = (
    "start_monitor",  # the autoscaler, which asks a cloud for machines
    "start_api_server",  # the dashboard, which is started without its pages, too
    "start_log_monitor",  # sends what workers print to the driver, which does not show it
)
"""Methods of Ray's object of the processes on a machine."""


@contextmanager
def not_started() -> Iterator[None]:
    """Let `ray.init` start a Ray without them.

    If a version of Ray has other internals, it starts them, and nothing else differs.
    """
    node: Any = getattr(getattr(ray._private, "node", None), "Node", None)
    methods = {name: getattr(node, name) for name in _STARTED_BY if hasattr(node, name)}
    for name in methods:
        setattr(node, name, _start_nothing)
    try:
        yield
    finally:
        for name, method in methods.items():
            setattr(node, name, method)


def _start_nothing(*arguments: Any, **options: Any) -> None:
    pass
