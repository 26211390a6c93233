"""Whether two trials ended alike, to the last bit."""

import hashlib
import json

import torch

from sweeps.storage import TrialFolder

NOT_RESULTS = ("seconds", "time", "git_commit")
"""When, and from which commit: two runs may well differ in these."""


def trial_hash(folder: TrialFolder) -> str:
    """Of the final weights and statistics, every metric of every epoch, and the outcome."""
    digest = hashlib.sha256()
    for name, value in torch.load(folder.weights, weights_only=True).items():
        digest.update(name.encode() + value.numpy().tobytes())
    result = folder.read(folder.result)
    for record in [*folder.read_history(), result]:
        kept = {key: value for key, value in record.items() if key not in NOT_RESULTS}
        digest.update(json.dumps(kept, sort_keys=True).encode())
    assert "warning" not in result
    return digest.hexdigest()
