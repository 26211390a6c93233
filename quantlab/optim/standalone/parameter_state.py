"""The state of each parameter: what torch's optimizers keep, and the latent weights."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from quantlab.errors import ConfigurationError
from quantlab.optim.latent_optimizer import LatentOptimizer
from quantlab.optim.moved import Moved

OWN = ("latent", "proximal", "average", "learned", "placed_at")
"""Entries of a quantized parameter, in addition to those of the base optimizer."""
_OF_LEARNED = "learned."
"""Prefix of the base optimizer's entries for the learned numbers of the weights' scale."""


def own_tensors(moved: Moved) -> dict[str, Tensor]:
    """Return the entries `OWN` of a parameter, as views of the optimizer's memory.

    Args:
        moved: tensor of one parameter.
    """
    group = moved.group
    if group is None:
        return {}
    (parameter,) = moved.sources
    count = parameter.numel()
    end = moved.start + count
    found = {
        "latent": moved.target.data,
        "proximal": group.proximal[moved.start : end].view(parameter.shape),
    }
    if group.average is not None:
        found["average"] = group.average[moved.start : end].view(parameter.shape)
    if group.placed_at is not None:
        found["placed_at"] = group.placed_at[moved.start : end].view(parameter.shape)
    if group.learned is not None:
        found["learned"] = group.learned_part(group.learned.detach(), moved.start, count)
    return found


def base_entries(optimizer: LatentOptimizer, moved: Moved) -> dict[str, Any]:
    """Return the entries of the base optimizer for a parameter and its learned numbers."""
    found = dict(optimizer.base.state.get(moved.target, {}))
    if moved.group is not None and (learned := moved.group.learned) is not None:
        count = moved.sources[0].numel()
        for key, value in optimizer.base.state.get(learned, {}).items():
            is_of_each = isinstance(value, Tensor) and value.shape == learned.shape
            found[_OF_LEARNED + key] = (
                moved.group.learned_part(value, moved.start, count) if is_of_each else value
            )
    return found


def load_own_tensors(
    optimizer: LatentOptimizer,
    saved: Mapping[int, Mapping[str, Any]],
    name_of: Callable[[Tensor], str],
) -> None:
    """Copy saved entries `OWN` to the optimizer's memory, after all of them were checked.

    Args:
        optimizer: optimizer with one parameter for each tensor that moves.
        saved: ids of parameters with their entries.
        name_of: name of a parameter, for messages.

    Raises:
        ConfigurationError: if other parameters were quantized, or with other numbers of latents.
            Nothing was copied then.
    """
    entries_of = [
        (moved, saved.get(id(moved.sources[0]), {})) for moved in of_parameters(optimizer)
    ]
    averaged = {moved.group for moved, entries in entries_of if "average" in entries}
    for moved, entries in entries_of:
        (parameter,) = moved.sources
        name = name_of(parameter)
        if moved.group is None:
            if "latent" in entries:
                raise ConfigurationError(
                    f"state_dict: has latent weights of {name}, which is not quantized by this "
                    "optimizer; build it with the quantization with which the state was saved"
                )
            continue
        shapes = {key: own.shape for key, own in own_tensors(moved).items() if key != "average"}
        if moved.group in averaged:
            shapes["average"] = parameter.shape
        for key, shape in shapes.items():
            values = entries.get(key)
            if values is None or values.shape != shape:
                found = "none" if values is None else f"one of {tuple(values.shape)}"
                raise ConfigurationError(
                    f"state_dict: must have a tensor {key!r} of {tuple(shape)} for {name}, but "
                    f"has {found}; load the state of a ProxOptimizer with the same quantization"
                )
    for moved, entries in entries_of:
        if (group := moved.group) is None:
            continue
        if group not in averaged:  # the average had not begun
            group.average = None
        elif group.average is None:
            group.average = torch.zeros_like(group.proximal)
        for key, own in own_tensors(moved).items():
            own.copy_(entries[key])


def base_states(
    optimizer: LatentOptimizer, saved: Mapping[int, Mapping[str, Any]]
) -> dict[int, dict[str, Any]]:
    """Return saved entries of the base optimizer, by the position of the tensor that it updates.

    Args:
        optimizer: see `load_own_tensors`.
        saved: see `load_own_tensors`.
    """
    targets = [target for group in optimizer.base.param_groups for target in group["params"]]
    place = {id(target): position for position, target in enumerate(targets)}
    found: dict[int, dict[str, Any]] = {}
    parts: dict[int, list[Mapping[str, Any]]] = {}
    for moved in of_parameters(optimizer):
        entries = saved.get(id(moved.sources[0]), {})
        own = {
            key: value
            for key, value in entries.items()
            if moved.group is None or not (key in OWN or key.startswith(_OF_LEARNED))
        }
        if own:
            found[place[id(moved.target)]] = own
        if moved.group is not None and moved.group.learned is not None:
            of_learned = {
                key.removeprefix(_OF_LEARNED): value
                for key, value in entries.items()
                if key.startswith(_OF_LEARNED)
            }
            if of_learned:
                parts.setdefault(place[id(moved.group.learned)], []).append(of_learned)
    for position, of_rows in parts.items():
        found[position] = _joined(of_rows)
    return found


def of_parameters(optimizer: LatentOptimizer) -> Iterator[Moved]:
    """Yield the tensors that represent a parameter of the model."""
    return (moved for moved in optimizer.moved if moved.learned_of is None)


def _joined(of_rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Join the entries of learned numbers, which are of each number or of all of them."""
    return {
        key: torch.cat([part[key] for part in of_rows])
        if isinstance(value, Tensor) and value.dim() == 1
        else value
        for key, value in of_rows[0].items()
    }
