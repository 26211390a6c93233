"""Worker processes of a Ray of one command, which import libraries before they get a trial.

They do so while the driver imports its own. Otherwise the processes of the first trials would start
only then, and import torch for seconds while the driver has nothing to do.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

MODULES = ("torch", "ray.tune")
"""What takes long. They are none of ours, whose place the processes learn with the first trial."""


@contextmanager
def started(number: int) -> Iterator[None]:
    """Let `ray.init` start worker processes, which wait for trials with those modules.

    A version of Ray without these settings starts none, and nothing else differs.

    Args:
        number: how many; 0 for none.
    """
    settings = {
        "RAY_preload_python_modules": ",".join(MODULES),
        "RAY_prestart_worker_first_driver": "1",
        "RAY_num_prestart_python_workers": str(number),
    }
    before = {name: os.environ.get(name) for name in settings}
    if number:
        os.environ.update(settings)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
