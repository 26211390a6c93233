"""Proximal maps of several trials, each with its own sharpness, in one call where possible."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from quantlab.backward_maps import BackwardMap, StraightThrough
from quantlab.optim.buffers import QuantizedWeights
from quantlab.optim.placed import KeptLevels, Placed, WeightMap
from quantlab.packs.member import StackMember, runs
from quantlab.quantizers import Quantizer
from quantlab.remembering import remembering
from quantlab.schedules import StepFunction
from quantlab.update_rules import Point


@dataclass(frozen=True)
class MappedRows:
    """Weights of adjacent rows of the stack that have the same map."""

    map: WeightMap
    """Map of all rows."""
    latent: Tensor
    """(rows, n) latents, or (rows, num_latents, n) in a lifted space."""
    proximal: Tensor
    """(rows, n) proximal weights."""
    sharpness: Sequence[StepFunction]
    """Sharpness of each row as a function of the step."""
    column: slice | None
    """Positions of the rows' sharpness among the numbers of a step; None for a map that accepts
    only a Python number."""
    learned: Tensor | None = None
    """(rows, m) learned numbers; None if the map has none."""
    kept: KeptLevels | None = None
    """Levels of all rows; None if they are placed in every step."""

    def quantizer(self) -> Quantizer:
        """Return the map with the levels of the rows."""
        return self.map.at(self.latent, self.learned) if self.kept is None else self.kept.quantizer

    def sharpness_at(self, step: int, numbers: Tensor) -> float | Tensor:
        """Return the sharpness of a step: a column, or the number that all rows have.

        Args:
            step: gradient step that uses the result.
            numbers: numbers of the step, on the device.
        """
        if self.column is not None:
            return as_column(numbers[self.column], self.latent)
        values = {sharpness(step) for sharpness in self.sharpness}
        assert len(values) == 1
        return values.pop()

    @property
    def is_recordable(self) -> bool:
        """Whether every step has the same operations."""
        return self.column is not None and self.kept is None


class StackedMap:
    """The map from latents to proximal weights of adjacent rows of the stack."""

    def __init__(
        self, rows: MappedRows, random_numbers: Callable[[], AbstractContextManager[object]]
    ) -> None:
        """Create the map.

        Args:
            rows: the weights.
            random_numbers: context of the trial's random numbers, for a random map of one row.
        """
        self.rows = rows
        self._random_numbers = random_numbers if rows.map.quantizer.random else nullcontext

    def __call__(self, step: int, numbers: Tensor) -> None:
        """Apply the map to the latent weights.

        Args:
            step: gradient step that uses the result.
            numbers: numbers of the step, on the device.
        """
        rows = self.rows
        if rows.kept is not None:
            rows.kept.place(rows.latent, step)
        quantizer, sharpness = rows.quantizer(), rows.sharpness_at(step, numbers)
        with self._random_numbers():
            rows.proximal.copy_(quantizer.weights(rows.latent, sharpness))


class StackedBackward:
    """The backward map of adjacent rows of the stack."""

    def __init__(
        self,
        backward: BackwardMap,
        rows: MappedRows,
        places: slice,
        learned_gradient: Tensor | None,
    ) -> None:
        """Create the map.

        Args:
            backward: backward map of all rows.
            rows: the weights.
            places: positions of the rows among those of the gradients.
            learned_gradient: memory for the gradients of the learned numbers.
        """
        self.rows = rows
        self._backward = backward
        self._places = places
        self._learned_gradient = learned_gradient

    def __call__(self, gradients: Tensor, step: int, numbers: Tensor) -> Tensor:
        """Return the gradients of the latents, and write those of the learned numbers.

        Args:
            gradients: gradients of the weights of all rows of the stack.
            step: the gradient step.
            numbers: numbers of the step, on the device.
        """
        rows, of_weights = self.rows, gradients[self._places]
        sharpness = rows.sharpness_at(step, numbers)
        here = rows.quantizer()
        back = self._backward.apply(of_weights, rows.latent, sharpness, here)
        if rows.learned is not None and self._learned_gradient is not None:
            assert isinstance(here, Placed)
            weights = here.moving(rows.latent, rows.proximal, sharpness)
            self._learned_gradient.copy_(
                rows.map.learned_gradient(of_weights, back, rows.latent, weights, rows.learned)
            )
        return back


class StackedPull:
    """The pull of the latents of adjacent rows towards their proximal points."""

    def __init__(self, rows: MappedRows, share: slice | None) -> None:
        """Create the pull.

        Args:
            rows: the weights, whose sharpness is used in a lifted space only.
            share: positions of the rows' theta_t among the numbers of a step; None if it is 1.
        """
        self._rows = rows
        self._share = share

    def __call__(self, step: int, numbers: Tensor) -> None:
        """Move the latents to the points that the step starts from.

        Args:
            step: the gradient step.
            numbers: numbers of the step, on the device.
        """
        rows, pulled = self._rows, self._rows.proximal
        quantizer = rows.map.quantizer
        if quantizer.num_latents != 1:
            pulled = quantizer.prox(rows.latent, rows.sharpness_at(step, numbers))
        if self._share is None:
            rows.latent.copy_(pulled)
        else:
            rows.latent.lerp_(pulled, as_column(numbers[self._share], rows.latent))


def stacked_backwards(
    members: Sequence[StackMember],
    slot: int,
    latent: Tensor,
    proximal: Tensor,
    learned: tuple[Tensor, Tensor] | None,
    placed_at: Tensor | None,
    add_number: Callable[[StepFunction], int],
) -> list[StackedBackward]:
    """Return the backward maps of adjacent members, together for members with equal ones.

    Args:
        members: members whose base optimizer is the same.
        slot: position of the group of weights in each optimizer.
        latent: latents of the members; see `MappedRows`.
        proximal: proximal weights of the members.
        learned: learned numbers of the members and memory for their gradients; None without them.
        placed_at: memory of `stacked_placements` for the members; None without it.
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
                ways[rows.start],
                MappedRows(
                    groups[rows.start].map,
                    latent[rows],
                    proximal[rows],
                    sharpness,
                    None if takes_numbers else _added(sharpness, add_number),
                    learned=None if learned is None else learned[0][rows],
                    kept=_kept(groups[rows.start].map, placed_at, rows),
                ),
                rows,
                None if learned is None else learned[1][rows],
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
        share = None if kind == 1 else _added(shares, add_number)
        column = _added(sharpness, add_number) if is_together else None
        weight_map = groups[rows.start].map
        yield StackedPull(
            MappedRows(weight_map, latent[rows], proximal[rows], sharpness, column), share
        )


def stacked_placements(groups: Sequence[QuantizedWeights | None]) -> Tensor | None:
    """Move the latents for which the members' levels were placed last to common memory.

    Args:
        groups: the same group of weights of each member, or None of all of them.

    Returns:
        (K, n) memory, of which the rows of members that keep no levels are not used; None if no
        member keeps them.
    """
    kept = [None if group is None else group.kept for group in groups]
    some = next((own for own in kept if own is not None), None)
    if some is None:
        return None
    memory = some.placed_at.new_zeros(len(groups), *some.placed_at.shape)
    for row, own in zip(memory, kept, strict=True):
        if own is not None:
            own.move(row)
    return memory


def stacked_maps(
    members: Sequence[StackMember],
    slot: int,
    at: Callable[[slice, Point], Tensor],
    learned: Tensor | None,
    placed_at: Tensor | None,
    add_number: Callable[[StepFunction], int],
) -> Iterator[StackedMap]:
    """Yield one map for adjacent members with the same quantizer, where it is possible.

    Args:
        members: all members of the stack.
        slot: position of the group of weights in each optimizer.
        at: returns latents or proximal weights of adjacent rows with the same gradient point.
        learned: learned numbers of the members; None without them.
        placed_at: memory of `stacked_placements`; None without it.
        add_number: see `stacked_backwards`.
    """
    groups = [member.optimizer.groups[slot] for member in members]
    keys = []
    for row, (member, group) in enumerate(zip(members, groups, strict=True)):
        optimizer, quantizer = member.optimizer, group.quantizer
        alone = quantizer.random or not takes_a_column(quantizer)
        point = optimizer.rule.gradient_at
        keys.append((point, optimizer.uses_prox, group.map, row if alone else None))
    for rows in runs(keys):
        if not members[rows.start].optimizer.uses_prox:
            continue
        sharpness = [group.sharpness for group in groups[rows]]
        column = None
        if keys[rows.start][-1] is None:
            column = _added([after(own) for own in sharpness], add_number)
        yield StackedMap(
            MappedRows(
                groups[rows.start].map,
                at(rows, Point.LATENT),
                at(rows, Point.PROXIMAL),
                sharpness,
                column,
                learned=None if learned is None else learned[rows],
                kept=_kept(groups[rows.start].map, placed_at, rows),
            ),
            members[rows.start].random_numbers,
        )


def _kept(weight_map: WeightMap, placed_at: Tensor | None, rows: slice) -> KeptLevels | None:
    if placed_at is None or not weight_map.keeps_levels:
        return None
    return KeptLevels(weight_map, placed_at[rows])


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
