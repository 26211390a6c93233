"""Loading of state dicts from files that various programs have written."""

import argparse
import pickle
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, TypeGuard

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from quantlab.errors import ConfigurationError, brief, first_line

_COMPILED = "_orig_mod."
"""Part of the parameter names of a module that torch.compile has wrapped."""


def load_weights(model: nn.Module, path: Path, entry: str = "", skip: Sequence[str] = ()) -> None:
    """Load a state dict from a file into a network.

    The file can be a safetensors file. Or it can contain the state dict itself, or a mapping with a
    state dict, as written by Lightning (``state_dict``), timm (``state_dict``, ``state_dict_ema``)
    and torchvision's references (``model``, ``model_ema``). Names may have a common prefix; see
    `fit_weights`. Only tensors and plain values are unpickled.

    Args:
        model: network that receives the weights.
        path: file of the weights.
        entry: key of the state dict in the file; "" for the only one that fits.
        skip: see `fit_weights`.

    Raises:
        ConfigurationError: if the file is missing, unreadable, or of another architecture, or if
            several of its state dicts fit.
    """
    source = f"weights file {path}"
    own = _own_entries(model, skip, source)
    state = _state_dict(model, _content(path, source), source, entry, own)
    _fit(model, state, source, own)


def fit_weights(
    model: nn.Module, state: Mapping[str, Tensor], source: str, skip: Sequence[str] = ()
) -> None:
    """Load a state dict into a network.

    All names must match after a common prefix is removed, such as ``module.`` of DataParallel,
    ``_orig_mod.`` of torch.compile, or ``model.`` of Lightning.

    Args:
        model: network that receives the weights.
        state: the state dict.
        source: name of the weights in messages.
        skip: shell-style patterns of the names of entries that the network keeps, such as those of
            a last layer for other classes. What the state dict has for them is not used.

    Raises:
        ConfigurationError: if a pattern matches nothing, or if the weights are of another
            architecture. The message names a parameter that does not fit.
    """
    _fit(model, state, source, _own_entries(model, skip, source))


def _own_entries(model: nn.Module, skip: Sequence[str], source: str) -> dict[str, Tensor]:
    """Return the entries of the network's state dict that it keeps."""
    state: dict[str, Tensor] = model.state_dict()
    kept: dict[str, Tensor] = {}
    for pattern in skip:
        matches = {name: state[name] for name in state if fnmatchcase(name, pattern)}
        if not matches:
            raise ConfigurationError(
                f"{source}: skip has {pattern!r}, which matches nothing in "
                f"{type(model).__name__}; must match one of {_listed(state)}"
            )
        kept |= matches
    return kept


def _fit(
    model: nn.Module, state: Mapping[str, Tensor], source: str, own: Mapping[str, Tensor]
) -> None:
    state = {**_without_prefix(model, state, own), **own}
    try:
        model.load_state_dict(dict(state))
    except RuntimeError as error:
        lines = str(error).splitlines()
        why = _misfit(model, state) or lines[min(1, len(lines) - 1)]
        raise ConfigurationError(f"{source}: does not fit {type(model).__name__}: {why}") from error


def _content(path: Path, source: str) -> object:
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with torch.serialization.safe_globals([argparse.Namespace]):  # it only holds options
            return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise ConfigurationError(f"{source}: the file does not exist") from error
    except pickle.UnpicklingError as error:
        if unsafe := _unsafe_classes(path):
            raise ConfigurationError(
                f"{source}: contains objects of {', '.join(unsafe[:3])}, which are not unpickled, "
                "because that may run arbitrary code; save the state dict alone with "
                "torch.save(model.state_dict(), FILE)"
            ) from error
        raise ConfigurationError(f"{source}: not a readable checkpoint") from error
    except Exception as error:  # torch raises many kinds for a damaged file
        raise ConfigurationError(
            f"{source}: not a readable checkpoint ({first_line(error)})"
        ) from error


def _unsafe_classes(path: Path) -> list[str]:
    try:
        found = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except Exception:  # of a damaged file, and for old formats
        return []
    return sorted(set(found) - {"argparse.Namespace"})


def _state_dict(
    model: nn.Module, content: object, source: str, entry: str, own: Mapping[str, Tensor]
) -> Mapping[str, Tensor]:
    """Return the state dict in the content of a file."""
    if not isinstance(content, Mapping):
        raise ConfigurationError(
            f"{source}: must contain a state dict, but contains a {type(content).__name__}; save "
            "the state dict alone with torch.save(model.state_dict(), FILE)"
        )
    if _is_state_dict(content) and not entry:
        return content
    found = {str(key): value for key, value in content.items() if _is_state_dict(value)}
    if entry:
        if entry not in found:
            raise ConfigurationError(
                f"{source}: has no state dict under the key {entry!r}; WeightsFile.entry must be "
                f"one of {_listed(found)}"
            )
        return found[entry]
    if not found:
        raise ConfigurationError(
            f"{source}: must contain a state dict, but contains {_listed(content)}; save the state "
            "dict alone with torch.save(model.state_dict(), FILE)"
        )
    fitting = [
        name
        for name, state in found.items()
        if not _misfit(model, {**_without_prefix(model, state, own), **own})
    ]
    if len(fitting) > 1:
        raise ConfigurationError(
            f"{source}: several state dicts fit ({_listed(fitting)}); choose one with "
            "WeightsFile.entry"
        )
    return found[fitting[0] if fitting else next(iter(found))]


def _is_state_dict(value: object) -> TypeGuard[Mapping[str, Tensor]]:
    return (
        isinstance(value, Mapping)
        and len(value) > 0
        and all(isinstance(item, Tensor) for item in value.values())
    )


def _listed(names: Any) -> str:
    listed = [brief(name) for name in names]
    others = f" and {len(listed) - 6} more" if len(listed) > 6 else ""
    return (", ".join(listed[:6]) or "nothing") + others


def _without_prefix(
    model: nn.Module, state: Mapping[str, Tensor], own: Mapping[str, Tensor]
) -> Mapping[str, Tensor]:
    """Return the state dict without a prefix that a wrapper has added to all names.

    It may lack entries of `own`, which the network keeps.
    """
    state = {str(name): value for name, value in state.items()}
    wanted = _names(model.state_dict())
    needed = wanted - own.keys()
    if needed <= _names(state) <= wanted:
        return state
    state = {name.replace(_COMPILED, ""): value for name, value in state.items()}
    # Of averaged models, torch keeps a count beside the weights.
    weights = {name: value for name, value in state.items() if name != "n_averaged"}
    some = next(iter(sorted(needed)), "")
    for name in weights:
        prefix = name.removesuffix(some)
        is_prefix = name.endswith(some) and prefix.endswith(".")
        if is_prefix and all(other.startswith(prefix) for other in weights):
            return {name.removeprefix(prefix): value for name, value in weights.items()}
    if all(name.startswith("module.") for name in weights):  # so that names can be compared
        return {name.removeprefix("module."): value for name, value in weights.items()}
    return state


def _names(state: Mapping[str, Tensor]) -> set[str]:
    """Return all names except those of batch counters, which old checkpoints do not have."""
    return {name for name in state if not name.endswith("num_batches_tracked")}


def _misfit(model: nn.Module, state: Mapping[str, Tensor]) -> str | None:
    """Return why a state dict does not fit; None if it does."""
    own = model.state_dict()
    missing = [name for name in own if name in _names(own) - state.keys()]
    unknown = [name for name in state if name not in own]
    faults = []
    if missing:
        faults.append(f"{_count(len(missing), 'key is', 'keys are')} missing, {missing[0]!r} first")
    if unknown:
        faults.append(f"{_count(len(unknown), 'key is', 'keys are')} unknown, {unknown[0]!r} first")
    for name, value in state.items():
        is_number = name in own and own[name].dim() == 0 and value.numel() == 1
        if name in own and own[name].shape != value.shape and not is_number:
            faults.append(
                f"{name!r} has shape {tuple(value.shape)}, must have {tuple(own[name].shape)}"
            )
            break
    return "; ".join(faults) or None


def _count(number: int, one: str, several: str) -> str:
    return f"{number} {one if number == 1 else several}"
