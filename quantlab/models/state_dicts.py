"""State dicts in files, as programs of all kinds leave them, and how they get into a network."""

import argparse
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn

from quantlab.errors import ConfigurationError, brief, first_line

_COMPILED = "_orig_mod."
"""Stands in the names of a module that torch.compile has wrapped, wherever that module is."""


def load_weights(model: nn.Module, path: Path, entry: str = "") -> None:
    """Load a state dict from a file, as public checkpoints come.

    The file may hold the state dict itself, or among other things, as Lightning (``state_dict``),
    timm (``state_dict``, ``state_dict_ema``) and torchvision's references (``model``,
    ``model_ema``) leave it. The names may begin with what a wrapper has put before all of them; see
    `fit_weights`. Nothing but tensors and plain values is unpickled.

    Args:
        model: what the weights are for.
        path: of the file.
        entry: under which the file holds the state dict; "" for the only one that fits.

    Raises:
        ConfigurationError: the file is missing, unreadable, or of another architecture, or several
            of its entries fit.
    """
    source = f"weights file {path}"
    fit_weights(model, _state_dict(model, _content(path, source), source, entry), source)


def fit_weights(model: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Load a state dict, of which every name must match, less one prefix that all of them have.

    Such as ``module.`` of DataParallel, ``_orig_mod.`` of torch.compile, ``model.`` of Lightning.

    Args:
        model: what the weights are for.
        state: names and values.
        source: how the message calls the weights.

    Raises:
        ConfigurationError: they are of another architecture; the message has a name.
    """
    state = _without_prefix(model, state)
    try:
        model.load_state_dict(dict(state))
    except RuntimeError as error:
        lines = str(error).splitlines()
        why = _misfit(model, state) or lines[min(1, len(lines) - 1)]
        raise ConfigurationError(f"{source}: does not fit {type(model).__name__}: {why}") from error


def _content(path: Path, source: str) -> object:
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):  # which is but a mapping
            return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise ConfigurationError(f"{source}: no such file") from error
    except pickle.UnpicklingError as error:
        if unsafe := _unsafe_classes(path):
            raise ConfigurationError(
                f"{source}: holds objects of {', '.join(unsafe[:3])}, which are not unpickled, as "
                "that may run any code; save the state dict alone: "
                "torch.save(model.state_dict(), FILE)"
            ) from error
        raise ConfigurationError(f"{source}: not a readable checkpoint") from error
    except Exception as error:  # torch raises many kinds for a damaged file
        hint = ""
        if path.suffix == ".safetensors":
            hint = "; of a safetensors file, save with torch.save what its load_file gives"
        raise ConfigurationError(
            f"{source}: not a readable checkpoint ({first_line(error)}){hint}"
        ) from error


def _unsafe_classes(path: Path) -> list[str]:
    try:
        found = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except Exception:  # of a damaged file, and for old formats
        return []
    return sorted(set(found) - {"argparse.Namespace"})


def _state_dict(model: nn.Module, content: object, source: str, entry: str) -> Mapping[str, Tensor]:
    """The state dict within what a file holds."""
    if not isinstance(content, Mapping):
        raise ConfigurationError(
            f"{source}: holds no state dict, but a {type(content).__name__}; save the state dict "
            "alone: torch.save(model.state_dict(), FILE)"
        )
    if _is_state_dict(content) and not entry:
        return content
    found = {str(key): value for key, value in content.items() if _is_state_dict(value)}
    if entry:
        if entry not in found:
            raise ConfigurationError(
                f"{source}: holds no state dict as {entry!r}, but as {_listed(found)}"
            )
        return found[entry]
    if not found:
        raise ConfigurationError(
            f"{source}: holds no state dict, but {_listed(content)}; save the state dict alone: "
            "torch.save(model.state_dict(), FILE)"
        )
    fitting = [
        name for name, state in found.items() if not _misfit(model, _without_prefix(model, state))
    ]
    if len(fitting) > 1:
        raise ConfigurationError(
            f"{source}: its entries {_listed(fitting)} fit alike; name the one that is meant in "
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
    return (", ".join(listed[:6]) or "none at all") + others


def _without_prefix(model: nn.Module, state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """A state dict without what a wrapper has added to all names; as it is if there is no such."""
    state = {str(name): value for name, value in state.items()}
    wanted = _names(model.state_dict())
    if _names(state) == wanted:
        return state
    state = {name.replace(_COMPILED, ""): value for name, value in state.items()}
    # Of averaged models, torch keeps a count beside the weights.
    weights = {name: value for name, value in state.items() if name != "n_averaged"}
    some = next(iter(sorted(wanted)), "")
    for name in weights:
        prefix = name.removesuffix(some)
        is_prefix = name.endswith(some) and prefix.endswith(".")
        if is_prefix and {prefix + other for other in wanted} == _names(weights):
            return {name.removeprefix(prefix): value for name, value in weights.items()}
    if all(name.startswith("module.") for name in weights):  # so that names can be compared
        return {name.removeprefix("module."): value for name, value in weights.items()}
    return state


def _names(state: Mapping[str, Tensor]) -> set[str]:
    """Names, less those of counts of batches, which old checkpoints lack."""
    return {name for name in state if not name.endswith("num_batches_tracked")}


def _misfit(model: nn.Module, state: Mapping[str, Tensor]) -> str | None:
    """Why a state dict does not fit; None if it does."""
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
            faults.append(f"{name!r} is {tuple(value.shape)}, must be {tuple(own[name].shape)}")
            break
    return "; ".join(faults) or None


def _count(number: int, one: str, several: str) -> str:
    return f"{number} {one if number == 1 else several}"
