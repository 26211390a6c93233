"""Whether two trials ended alike, to the last bit."""

import hashlib
import json

import torch

from sweeps.storage import TrialFolder
from sweeps.storage.sealed_json import plain

NOT_RESULTS = (
    "seconds",
    "time",
    "git_commit",
    "weights_sha256",
    "command",
    "folder",
    "sources",
    "attempt",
    "job",
    "host",
    "memory_gib",
    "gpu_memory_gib",
)
"""When, where, in how much memory, and by which command and commit: two runs may well differ in
these; the weights are looked at."""


def trial_hash(folder: TrialFolder) -> str:
    """Of the final weights and statistics, every metric of every epoch, and the outcome."""
    digest = hashlib.sha256()
    for name, value in torch.load(folder.weights, weights_only=True).items():
        digest.update(name.encode() + value.numpy().tobytes())
    result = folder.result.read()
    assert result is not None
    for record in [*folder.read_history(), result]:
        kept = {key: value for key, value in plain(record).items() if key not in NOT_RESULTS}
        digest.update(json.dumps(kept, sort_keys=True).encode())
    assert not result.warning
    return digest.hexdigest()
