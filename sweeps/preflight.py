"""What would make trials fail is found out before any of them starts."""

from pathlib import Path

from quantlab.initial_weights import TrialWeights
from quantlab.weights import group_of_weights
from sweeps import staging
from sweeps.sharing import require_writable
from sweeps.spec import Cell
from sweeps.storage import Storage, TrialState


def preflight(cells: list[Cell], storage: Storage, data_dir: Path) -> None:
    """Find out, before any trial starts, what would make trials fail.

    Raises:
        ConfigurationError: the storage cannot be written, data or initial weights are missing, or
            a pattern of layer names matches nothing.
    """
    for cell in cells:
        folder = storage.trial(cell.fingerprint)
        require_writable(folder.path, f"trial {cell.name!r}")
    for dataset in dict.fromkeys(cell.recipe.dataset for cell in cells):
        staging.check(dataset, data_dir)
    to_train = {cell.fingerprint for cell in cells}
    for weights in dict.fromkeys(cell.recipe.initial_weights for cell in cells):
        if isinstance(weights, TrialWeights):
            parent = storage.trial(weights.fingerprint)
            if weights.fingerprint in to_train or parent.state() is TrialState.DIVERGED:
                continue  # which the schedule sees to
        if weights is not None:
            weights.check(data_dir, lambda fingerprint: storage.trial(fingerprint).intact_weights())
    scopes = dict.fromkeys(
        (
            cell.recipe.model,
            cell.recipe.dataset.num_channels,
            cell.recipe.quantization.exclude,
            tuple(group.layers for group in cell.recipe.quantization.groups),
        )
        for cell in cells
        if cell.recipe.quantization is not None
    )
    for model, num_channels, exclude, groups in scopes:
        network = model.build(num_classes=2, num_channels=num_channels)
        group_of_weights(network, exclude, groups)
