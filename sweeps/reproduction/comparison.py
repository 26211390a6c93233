"""Compare two trainings of a trial: bit by bit, and by what they were computed with."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from sweeps.storage.folder import TrialFolder
from sweeps.storage.records import Computed, Epoch, Result, TrialState, values_of
from sweeps.storage.sealed_json import plain

_TIMES = ("seconds", "time")
_CIRCUMSTANCES = {
    "device": "device",
    "processor": "processor",
    "host": "machine",
    "execution": "execution",
    "pack": "trials in the pack",
    "pack_members": "members of the pack",
    "git_commit": "commit",
    "data_content": "hash of the data",
}
"""Fields of a result that may explain a difference -> what a reader knows them as."""
_MEASURED = ("memory_gib", "gpu_memory_gib")
_NOT_RESULTS = (
    *(*_TIMES, *_CIRCUMSTANCES, *_MEASURED),
    *(item.name for item in fields(Computed)),
)
_MAY_BE_EMPTY = ("error", "last_finite_loss", "selected_epoch")
"""Fields that may be empty in every release. Others are empty where an older one lacks them."""
_OF_WEIGHTS = "weights_sha256"
"""Digest of the file; the tensors in it are compared instead."""


@dataclass(frozen=True)
class Comparison:
    """How a reproduction differs from the original. Empty texts and mappings mean equality."""

    weights: str
    """How the weights differ, in a few words."""
    history: str
    """How the learning curves differ."""
    result: str
    """How the results differ."""
    tensors: int
    """Number of tensors of the original network; 0 if it has none, as it diverged."""
    epochs: int
    """Number of epochs of the original history."""
    circumstances: Mapping[str, tuple[str, str]]
    """What the trainings were computed with, if it differs: name -> (original, reproduction)."""

    @property
    def is_identical(self) -> bool:
        """Whether weights, history and result are equal to the last bit."""
        return not (self.weights or self.history or self.result)


def compare(original: TrialFolder, again: TrialFolder) -> Comparison:
    """Compare two finished trainings of the same recipe.

    Args:
        original: the folder of the original.
        again: the folder of the reproduction.

    Raises:
        ConfigurationError: one of the networks is damaged.
    """
    before, after = original.result.read(), again.result.read()
    assert before is not None, original.path
    assert after is not None, again.path
    networks = _tensors(original), _tensors(again)
    histories = [
        [_results_of(epoch) for epoch in folder.read_history()] for folder in (original, again)
    ]
    return Comparison(
        weights=_missing_weights(original, before, after) or _different_weights(*networks),
        history=_different_history(histories[0], histories[1], before.epochs),
        result=_different_result(before, after),
        tensors=len(networks[0]),
        epochs=len(histories[0]),
        circumstances=_different_circumstances(before, after),
    )


def _tensors(folder: TrialFolder) -> Mapping[str, Tensor]:
    path = folder.intact_weights()
    if not path.exists():
        return {}
    tensors: Mapping[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    return tensors


def _missing_weights(original: TrialFolder, before: Result, after: Result) -> str:
    """Say that the network of the original was removed; empty if it was not."""
    if before.state is not TrialState.COMPLETE or original.weights.exists():
        return ""
    digest = before.weights_sha256
    if digest and digest == after.weights_sha256:
        return "the original's network is missing; that of the new training has its SHA-256"
    return "the original's network is missing, so that they cannot be compared"


def _different_weights(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> str:
    if before.keys() != after.keys():
        return f"{len(after)} tensors instead of {len(before)}, or others"
    different = [name for name, tensor in before.items() if not _is_equal(tensor, after[name])]
    if not different:
        return ""
    text = f"{len(different)} of {len(before)} tensors differ"
    distances = [
        (before[name].double() - after[name].double()).abs().max().item()
        for name in different
        if before[name].shape == after[name].shape and before[name].numel()
    ]
    return text + (f", by up to {max(distances):.2g}" if distances else "")


def _is_equal(before: Tensor, after: Tensor) -> bool:
    """Return whether two tensors have the same bits, also those of NaN and of negative zeros."""
    if before.dtype != after.dtype or before.shape != after.shape:
        return False
    return _bytes(before) == _bytes(after)


def _bytes(tensor: Tensor) -> bytes:
    return tensor.contiguous().view(-1).view(torch.uint8).numpy().tobytes()


def _different_history(
    before: list[dict[str, Any]], after: list[dict[str, Any]], num_epochs: int
) -> str:
    """Say how histories differ; `num_epochs` is the number that the original had."""
    found = {epoch["epoch"]: epoch for epoch in after}
    for old in before:
        new = found.get(old["epoch"])
        if new is None:
            continue
        for name in _different(old, new):
            values = _was(name, old[name], new.get(name))
            return f"differs from epoch {old['epoch']} on: {values}"
    if len(before) < num_epochs:
        return (
            f"{num_epochs - len(before)} of {num_epochs} epochs of the original are missing, so "
            "that they cannot be compared"
        )
    if len(before) != len(after):
        return f"has {len(after)} epochs instead of {len(before)}"
    return ""


def _different_result(before: Result, after: Result) -> str:
    old, new = _results_of(before), _results_of(after)
    return "; ".join(_was(name, old[name], new.get(name)) for name in _different(old, new))


def _results_of(record: Epoch | Result) -> dict[str, Any]:
    """Return the values of a record that only the recipe should determine."""
    left_out = (*_NOT_RESULTS, _OF_WEIGHTS)
    return {name: value for name, value in values_of(record).items() if name not in left_out}


def _different(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Return the names of values that differ, of those that the original has.

    A release that did not record a value tells nothing of it.
    """
    return [
        name
        for name, value in old.items()
        if value != new.get(name) and (value not in (None, "") or name in _MAY_BE_EMPTY)
    ]


def _different_circumstances(before: Result, after: Result) -> dict[str, tuple[str, str]]:
    old, new = plain(before), plain(after)
    found = {
        text: (_shown(old[name]), _shown(new[name]))
        for name, text in _CIRCUMSTANCES.items()
        if old[name] != new[name] and old[name]  # older results lack some of them
    }
    versions = [json.loads(result.packages or "{}") for result in (before, after)]
    for name in versions[0]:
        if versions[0][name] != versions[1].get(name):
            found[name] = versions[0][name], versions[1].get(name, "none")
    return found


def _was(name: str, before: object, after: object) -> str:
    return f"{name} was {_shown(before)}, is {_shown(after)}"


def _shown(value: object) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= 60 else f"{text[:59]}…"
