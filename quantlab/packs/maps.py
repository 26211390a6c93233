"""Proximal maps of several trials, each with its own sharpness, in one call where possible."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from quantlab.backward_maps import BackwardMap, StraightThrough
from quantlab.optim.placed import WeightMap
from quantlab.packs.member import StackMember, runs
from quantlab.quantizers import Quantizer
from quantlab.remembering import remembering
from quantlab.schedules import StepFunction


class StackedMap:
    """The map from latents to proximal weights of adjacent rows of the stack."""

    def __init__(
        self,
        *,
        weight_map: WeightMap,
        latent: Tensor,
        learned: Tensor | None,
        proximal: Tensor,
        sharpness: Sequence[StepFunction],
        column: slice | None,
        random_numbers: Callable[[], AbstractContextManager[object]],
    ) -> None:
        """Create the map.

        Args:
            weight_map: map of all rows.
            latent: (rows, n) latents, or (rows, num_latents, n) in a lifted space.
            learned: (rows, m) learned numbers; None if the map has none.
            proximal: (rows, n) tensor that receives the result.
            sharpness: sharpness of each row as a function of the step.
            column: positions of the rows' sharpness among the numbers of a step; None for a map
                that accepts only a Python number.
            random_numbers: context of the trial's random numbers, for a random map of one row.
        """
        self._map = weight_map
        self._latent = latent
        self._learned = learned
        self._proximal = proximal
        self._sharpness = sharpness
        self._column = column
        self._random_numbers = random_numbers if weight_map.quantizer.random else nullcontext

    def __call__(self, step: int, numbers: Tensor) -> None:
        """Apply the map to the latent weights.

        Args:
            step: gradient step that uses the result.
            numbers: numbers of the step, on the device.
        """
        quantizer = self._map.at(self._latent, self._learned)
        if self._column is not None:
            column = as_column(numbers[self._column], self._latent)
            self._proximal.copy_(quantizer.weights(self._latent, column))
            return
        values = [sharpness(step) for sharpness in self._sharpness]
        assert len(set(values)) == 1
        with self._random_numbers():
            self._proximal.copy_(quantizer.weights(self._latent, values[0]))


class StackedBackward:
    """The backward map of adjacent rows of the stack."""

    def __init__(
        self,
        *,
        backward: BackwardMap,
        weight_map: WeightMap,
        latent: Tensor,
        proximal: Tensor,
        learned: Tensor | None,
        learned_gradient: Tensor | None,
        rows: slice,
        sharpness: Sequence[StepFunction],
        column: slice | None,
    ) -> None:
        """Create the map.

        Args:
            backward: backward map of all rows.
            weight_map: map of all rows.
            latent: latents of the rows; see `StackedMap`.
            proximal: proximal weights of the rows.
            learned: learned numbers of the rows; None if the map has none.
            learned_gradient: memory for their gradients.
            rows: positions of the rows among those of the gradients.
            sharpness: sharpness of each row as a function of the step.
            column: see `StackedMap`; without it, there is one row.
        """
        self._backward = backward
        self._map = weight_map
        self._latent = latent
        self._proximal = proximal
        self._learned = learned
        self._learned_gradient = learned_gradient
        self._rows = rows
        self._sharpness = sharpness
        self._column = column

    def __call__(self, gradients: Tensor, step: int, numbers: Tensor) -> Tensor:
        """Return the gradients of the latents, and write those of the learned numbers.

        Args:
            gradients: gradients of the weights of all rows of the stack.
            step: the gradient step.
            numbers: numbers of the step, on the device.
        """
        sharpness: float | Tensor = self._sharpness[0](step)
        if self._column is not None:
            sharpness = as_column(numbers[self._column], self._latent)
        here = self._map.at(self._latent, self._learned)
        of_weights = gradients[self._rows]
        back = self._backward.apply(of_weights, self._latent, sharpness, here)
        if self._learned is not None and self._learned_gradient is not None:
            self._learned_gradient.copy_(
                self._map.learned_gradient(
                    of_weights, back, self._latent, self._proximal, self._learned
                )
            )
        return back


class StackedPull:
    """The pull of the latents of adjacent rows towards their proximal points."""

    def __init__(
        self,
        *,
        quantizer: Quantizer,
        latent: Tensor,
        proximal: Tensor,
        share: slice | None,
        sharpness: Sequence[StepFunction],
        column: slice | None,
    ) -> None:
        """Create the pull.

        Args:
            quantizer: quantizer of all rows.
            latent: latents of the rows; see `StackedMap`.
            proximal: proximal weights of the rows.
            share: positions of the rows' theta_t among the numbers of a step; None if it is 1.
            sharpness: sharpness of each row, which is used in a lifted space only.
            column: positions of the rows' sharpness; without it, there is one row.
        """
        self._quantizer = quantizer
        self._latent = latent
        self._proximal = proximal
        self._share = share
        self._sharpness = sharpness
        self._column = column

    def __call__(self, step: int, numbers: Tensor) -> None:
        """Move the latents to the points that the step starts from.

        Args:
            step: the gradient step.
            numbers: numbers of the step, on the device.
        """
        pulled = self._proximal
        if self._quantizer.num_latents != 1:
            sharpness: float | Tensor = self._sharpness[0](step)
            if self._column is not None:
                sharpness = as_column(numbers[self._column], self._latent)
            pulled = self._quantizer.prox(self._latent, sharpness)
        if self._share is None:
            self._latent.copy_(pulled)
        else:
            self._latent.lerp_(pulled, as_column(numbers[self._share], self._latent))


def stacked_backwards(
    members: Sequence[StackMember],
    slot: int,
    latent: Tensor,
    proximal: Tensor,
    learned: tuple[Tensor, Tensor] | None,
    add_number: Callable[[StepFunction], int],
) -> list[StackedBackward]:
    """Return the backward maps of adjacent members, together for members with equal ones.

    Args:
        members: members whose base optimizer is the same.
        slot: position of the group of weights in each optimizer.
        latent: latents of the members; see `StackedMap`.
        proximal: proximal weights of the members.
        learned: learned numbers of the members and memory for their gradients; None without them.
        add_number: adds a function of the step to the numbers of a step, and returns its position.

    Returns:
        The maps, which cover all members; none if all maps are the identity and nothing is learned.
    """
    groups = [member.optimizer.groups[slot] for member in members]
    ways = [member.optimizer.backward for member in members]
    if learned is None and all(
        type(way) is StraightThrough and group.quantizer.num_latents == 1
        for way, group in zip(ways, groups, strict=True)
    ):
        return []
    keys = [
        (way, group.map, None if carries_a_column(way, group.quantizer) else row)
        for row, (way, group) in enumerate(zip(ways, groups, strict=True))
    ]
    found = []
    for rows in runs(keys):
        sharpness = [group.sharpness for group in groups[rows]]
        takes_numbers = keys[rows.start][-1] is not None
        found.append(
            StackedBackward(
                backward=ways[rows.start],
                weight_map=groups[rows.start].map,
                latent=latent[rows],
                proximal=proximal[rows],
                learned=None if learned is None else learned[0][rows],
                learned_gradient=None if learned is None else learned[1][rows],
                rows=rows,
                sharpness=sharpness,
                column=None if takes_numbers else _added(sharpness, add_number),
            )
        )
    return found


def stacked_pulls(
    members: Sequence[StackMember],
    slot: int,
    latent: Tensor,
    proximal: Tensor,
    add_number: Callable[[StepFunction], int],
) -> Iterator[StackedPull]:
    """Yield the pulls of adjacent members, together where it is possible.

    The arguments are those of `stacked_backwards`.
    """
    groups = [member.optimizer.groups[slot] for member in members]
    lifted = [group.quantizer if group.quantizer.num_latents > 1 else None for group in groups]
    alone = [own is not None and not takes_a_column(own) for own in lifted]
    kinds = [
        (member.pull_kind, lifted[row], row if alone[row] else None)
        for row, member in enumerate(members)
    ]
    for rows in runs(kinds):
        is_together = lifted[rows.start] is not None and not alone[rows.start]
        kind = members[rows.start].pull_kind
        if kind == 0:
            continue
        shares = [member.optimizer.pull_at for member in members[rows]]
        sharpness = [group.sharpness for group in groups[rows]]
        yield StackedPull(
            quantizer=groups[rows.start].quantizer,
            latent=latent[rows],
            proximal=proximal[rows],
            share=None if kind == 1 else _added(shares, add_number),
            sharpness=sharpness,
            column=_added(sharpness, add_number) if is_together else None,
        )


def _added(functions: Sequence[StepFunction], add_number: Callable[[StepFunction], int]) -> slice:
    places = [add_number(function) for function in functions]
    return slice(places[0], places[-1] + 1)


def after(sharpness: StepFunction) -> StepFunction:
    """Return the sharpness of the map at the end of a step, which is that of the next step."""
    return lambda step: sharpness(step + 1)


def as_column(numbers: Tensor, latent: Tensor) -> Tensor:
    """Return one number per row with the dtype of latents, and with axes to broadcast against."""
    return numbers.to(latent.dtype).view(-1, *[1] * (latent.dim() - 1))


@remembering(256)
@torch.no_grad()
def takes_a_column(quantizer: Quantizer) -> bool:
    """Whether the map accepts a column of sharpness values, one per row.

    Every elementwise map should. A map that compares its sharpness with a number, or that uses the
    mean of the weights, does not. The map is tried on two rows.
    """
    latent = _two_rows(quantizer)
    return _agrees(quantizer.weights, latent)


@remembering(256)
@torch.no_grad()
def carries_a_column(backward: BackwardMap, quantizer: Quantizer) -> bool:
    """Whether a backward map accepts a column of sharpness values; see `takes_a_column`."""
    latent = _two_rows(quantizer)
    gradient = torch.linspace(-1, 1, latent.shape[-1])

    def apply(latent: Tensor, sharpness: float | Tensor) -> Tensor:
        of_weights = gradient.expand(2, -1) if isinstance(sharpness, Tensor) else gradient
        return backward.apply(of_weights, latent, sharpness, quantizer)

    return _agrees(apply, latent)


def _two_rows(quantizer: Quantizer) -> Tensor:
    weights = (torch.linspace(-2, 2, 41), torch.linspace(-1, 4, 41))
    return torch.stack([quantizer.lift(row) for row in weights])


def _agrees(apply: Callable[[Tensor, float | Tensor], Tensor], latent: Tensor) -> bool:
    """Whether a map of two rows with a column equals the maps of the rows with numbers."""
    sharpness = [0.3, 1.7]
    try:
        expected = [apply(row, own) for row, own in zip(latent, sharpness, strict=True)]
        together = apply(latent, as_column(torch.tensor(sharpness), latent))
    except Exception:  # it may accept numbers
        return False
    return torch.allclose(together, torch.stack(expected), rtol=1e-4, atol=1e-5)
