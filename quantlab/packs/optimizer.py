"""StackedOptimizer: the proximal optimizers of several trials, which take their steps together."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from quantlab.optim.latent_optimizer import LatentOptimizer
from quantlab.optim.torch_groups import is_scaled
from quantlab.optimizer_spec import factor_of, set_learning_rate
from quantlab.packs.averages import AveragedShare, StackedAverage
from quantlab.packs.maps import (
    StackedBackward,
    StackedMap,
    StackedPull,
    stacked_backwards,
    stacked_maps,
    stacked_placements,
    stacked_pulls,
)
from quantlab.packs.member import StackMember, runs
from quantlab.packs.rows.base_state import stacked_state
from quantlab.packs.rows.clipping import clip_rows
from quantlab.scales.placement import SMALLEST
from quantlab.schedules import StepFunction
from quantlab.update_rules import Point

RECORDABLE = (torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW, torch.optim.RMSprop)
"""Optimizers that accept a tensor as learning rate and count their steps on the device."""


class StackedOptimizer:
    """The optimizers of several trials, whose weights are the rows of common tensors.

    A tensor that an optimizer updates (all latents of a quantizer, or all other weights) becomes a
    row of a tensor of all members. The members' weights become views of these rows. `hand_back`
    must be called before the state of a member is read.
    """

    def __init__(
        self,
        members: Sequence[StackMember],
        names: Sequence[Sequence[str]],
        *,
        trial_step: int,
        rates_in_tensors: bool = False,
    ) -> None:
        """Move the members' weights to common tensors.

        Args:
            members: members at the same step, preferably in the order of `neighbours`.
            names: for each tensor that an optimizer updates, the names of its parameters.
            trial_step: gradient step over all stages, for the learning rates.
            rates_in_tensors: whether the base optimizers receive their learning rates as tensors
                with fixed memory, instead of as Python numbers.
        """
        self._members = members
        self._lead = trial_step - members[0].optimizer.num_steps
        """Number of steps of the earlier stage."""
        self.rates_in_tensors = rates_in_tensors
        self._functions: list[StepFunction] = []
        """Functions of the optimizer's step, one for each of a step's numbers."""
        self.num_steps = members[0].optimizer.num_steps
        self._names = names
        optimizers = [member.optimizer for member in members]
        self._shapes = [[source.shape for source in of.sources] for of in optimizers[0].moved]
        self._seen: list[Tensor] = []
        """For each tensor, the (K, size) weights that the forward pass uses."""
        self._hidden: list[Tensor | None] = []
        """For each tensor, the latents or proximal weights that the forward pass does not use; None
        without quantization. Latents have the shape (K, size), or (K, num_latents, size)."""
        self._placed_at: list[Tensor | None] = []
        """For each tensor, the latents for which kept levels were placed; see
        `stacked_placements`."""
        self._learned_slots: dict[int, int] = {}
        """Positions of groups of weights, with those of the tensors of their learned numbers."""
        states = []
        for together in zip(*(optimizer.moved for optimizer in optimizers), strict=True):
            states.append(
                [
                    optimizer.state.get(moved.target, {})
                    for optimizer, moved in zip(optimizers, together, strict=True)
                ]
            )
            seen = together[0].seen.new_empty(len(members), together[0].seen.numel())
            own = together[0].hidden
            hidden = None if own is None else own.new_empty(len(members), *own.shape)
            if (group := together[0].learned_of) is not None:
                self._learned_slots[optimizers[0].groups.index(group)] = len(self._seen)
            for row, moved in enumerate(together):
                moved.move(seen[row], None if hidden is None else hidden[row])
            self._seen.append(seen.requires_grad_())
            self._hidden.append(hidden)
            self._placed_at.append(stacked_placements([moved.group for moved in together]))
        self._blocks = [
            _Block(self, rows, states)
            for rows in runs([(m.optimizer.rule.gradient_at, m.kind) for m in members])
        ]
        self._maps = list(self._find_maps())
        self._shares = {
            row: AveragedShare(member.optimizer)
            for row, member in enumerate(members)
            if member.averages_in_place
        }
        self._averages = list(self._find_averages())

    @property
    def weights(self) -> dict[str, Tensor]:
        """Parameter names with tensors (K, *shape) that record gradients for `gradients`."""
        found: dict[str, Tensor] = {}
        for seen, names, shapes in zip(self._seen, self._names, self._shapes, strict=True):
            if not names:  # learned numbers, which no forward pass uses
                continue
            pieces = seen.split([shape.numel() for shape in shapes], dim=1)
            for name, piece, shape in zip(names, pieces, shapes, strict=True):
                found[name] = piece.view(len(piece), *shape)  # which may be (K,)
        return found

    def gradients(self, losses: Tensor) -> Sequence[Tensor]:
        """Return the gradients of the members' losses with respect to their own weights.

        Args:
            losses: (K,) loss of each member.

        Returns:
            One tensor (K, size) per tensor that the optimizers update, for `step`.
        """
        # Of a sum, because torch imports sympy if it is given gradients of several outputs.
        gradients: Sequence[Tensor] = torch.autograd.grad(
            losses.sum(), self._seen, materialize_grads=True
        )
        return gradients

    @property
    def is_recordable(self) -> bool:
        """Whether every step has the same operations, with all numbers taken from `numbers`."""
        return (
            all(prox.rows.is_recordable for prox in self._maps)
            and all(block.is_recordable for block in self._blocks)
            and all(
                member.optimizer.averaging is None or member.averages_in_place
                for member in self._members
            )
            and all(member.spec.algorithm in RECORDABLE for member in self._members)
        )

    def numbers(self, count: int) -> Tensor:
        """Return learning rates, sharpness and averaging shares of the next steps.

        Args:
            count: number of steps.

        Returns:
            (count, num_numbers) float64 on the CPU.
        """
        steps = range(self.num_steps, self.num_steps + count)
        rows = [[function(step) for function in self._functions] for step in steps]
        return torch.tensor(rows, dtype=torch.float64).view(count, len(self._functions))

    @property
    def latents(self) -> list[list[Tensor]]:
        """For each tensor that the optimizers update, its rows, in one or several tensors."""
        kinds = runs([member.optimizer.rule.gradient_at for member in self._members])
        slots = range(len(self._seen))
        return [[self._at(slot, rows, Point.LATENT) for rows in kinds] for slot in slots]

    def add_number(self, function: StepFunction) -> int:
        """Add a function of the step to `numbers`, and return its position."""
        self._functions.append(function)
        return len(self._functions) - 1

    def advance(self) -> None:
        """Count a step as done."""
        for share in self._shares.values():
            share.advance()
        self.num_steps += 1
        for member in self._members:
            member.optimizer.num_steps = self.num_steps

    @torch.no_grad()
    def step(self, gradients: Sequence[Tensor], numbers: Tensor) -> None:
        """Update all latent weights, and apply the proximal maps. Call `advance` afterwards.

        Args:
            gradients: what the method `gradients` returned.
            numbers: the step's row of `numbers`, on the device.
        """
        for member in self._members:
            if member.optimizer.averaging is not None and not member.averages_in_place:
                with member.random_numbers():
                    member.optimizer.average()
        for average in self._averages:
            average(numbers)
        for block in self._blocks:
            block.step(gradients, numbers, self.num_steps)
        for prox in self._maps:
            prox(self.num_steps + 1, numbers)

    @torch.no_grad()
    def set_aside(self, row: int) -> None:
        """Copy the weights of a member out of the stack. Its row is updated without it."""
        for moved in self._members[row].optimizer.moved:
            hidden = moved.hidden
            moved.move(
                torch.empty_like(moved.seen), None if hidden is None else torch.empty_like(hidden)
            )

    def hand_back(self) -> None:
        """Write the state of the stack back to the members' optimizers."""
        for block in self._blocks:
            block.hand_back(self.num_steps)
        for average in self._averages:
            average.hand_back()

    def _at(self, slot: int, rows: slice, point: Point) -> Tensor:
        """Return latents or proximal weights of adjacent rows with the same gradient point."""
        at_gradient = self._members[rows.start].optimizer.rule.gradient_at
        hidden = self._hidden[slot]
        tensor = self._seen[slot] if hidden is None or at_gradient is point else hidden
        return tensor.detach()[rows]

    def _learned(self, slot: int, rows: slice) -> Tensor | None:
        """Return the learned numbers of a group of weights, of some rows; None if it has none."""
        place = self._learned_slots.get(slot)
        return None if place is None else self._seen[place].detach()[rows]

    def _find_averages(self) -> Iterator[StackedAverage]:
        """Yield one average for adjacent members that take their gradient at the same point."""
        places = {row: self.add_number(share) for row, share in self._shares.items()}
        keys = [
            (member.optimizer.rule.gradient_at, row in places)
            for row, member in enumerate(self._members)
        ]
        for slot, hidden in enumerate(self._hidden):
            for rows in runs(keys):
                if hidden is not None and rows.start in places:
                    yield StackedAverage(
                        [member.optimizer for member in self._members[rows]],
                        slot,
                        self._at(slot, rows, Point.PROXIMAL),
                        [places[row] for row in range(rows.start, rows.stop)],
                    )

    def _find_maps(self) -> Iterator[StackedMap]:
        for slot, hidden in enumerate(self._hidden):
            if hidden is not None:
                yield from stacked_maps(
                    self._members,
                    slot,
                    partial(self._at, slot),
                    self._learned(slot, slice(None)),
                    self._placed_at[slot],
                    self.add_number,
                )


class _Block:
    """Adjacent members with the same base optimizer and the same gradient point."""

    def __init__(
        self,
        stack: StackedOptimizer,
        rows: slice,
        states: Sequence[Sequence[Mapping[str, object]]],
    ) -> None:
        self._rows = rows
        self._members = stack._members[rows]
        rate, lead = self._members[0].learning_rate, stack._lead
        self._learning_rate: StepFunction = lambda step: rate(step + lead)
        self._first = stack.num_steps
        self._targets = [
            nn.Parameter(stack._at(slot, rows, Point.LATENT)) for slot in range(len(stack._seen))
        ]
        first = self._members[0].optimizer
        self._base = self._members[0].spec.build_fast(first.parameter_groups(self._targets))
        self._rates = [self._rate_of(group, first) for group in self._base.param_groups]
        """Learning rate of each parameter group, as a function of the step."""
        self._places = [stack.add_number(of_group) for of_group in self._rates]
        self._held = self._held_rates() if stack.rates_in_tensors else []
        for target, of_slot in zip(self._targets, states, strict=True):
            together = stacked_state(of_slot[rows], target)
            if self._held and target.device.type != "cpu":
                for key, value in together.items():
                    if isinstance(value, Tensor):
                        together[key] = value.to(target.device)
            if together:
                self._base.state[target] = together
        self._backwards: dict[int, list[StackedBackward]] = {}
        """Backward maps of the rows, for the tensors that have any but the straight-through one."""
        self._learned: dict[int, tuple[Tensor, Tensor]] = {}
        """Learned numbers with their gradients, by their positions among the tensors."""
        self._pulls: list[StackedPull] = []
        self._bounds: list[tuple[Tensor, float]] = []
        """(latent, bound) of members whose latent weights are clipped."""
        for slot, hidden in enumerate(stack._hidden):
            if hidden is None:
                continue
            latent = stack._at(slot, rows, Point.LATENT)
            proximal = stack._at(slot, rows, Point.PROXIMAL)
            learned = stack._learned(slot, rows)
            if learned is not None:
                own = torch.zeros_like(learned)
                self._learned[stack._learned_slots[slot]] = learned, own
            backwards = stacked_backwards(
                self._members,
                slot,
                latent,
                proximal,
                None if learned is None else (learned, own),
                None if (placed_at := stack._placed_at[slot]) is None else placed_at[rows],
                stack.add_number,
            )
            if backwards:
                self._backwards[slot] = backwards
            self._pulls += stacked_pulls(self._members, slot, latent, proximal, stack.add_number)
            limits = [member.optimizer.latent_bound for member in self._members]
            for some in runs(limits):
                limit = limits[some.start]
                if limit is not None:
                    self._bounds.append((latent[some], limit))

    @property
    def is_recordable(self) -> bool:
        """Whether all maps take their numbers from tensors."""
        return all(own.rows.is_recordable for maps in self._backwards.values() for own in maps)

    def _rate_of(self, group: Mapping[str, Any], optimizer: LatentOptimizer) -> StepFunction:
        """Return the learning rate of a parameter group, as a function of the step."""
        factor, scale = factor_of(group), optimizer.step_scale
        if not is_scaled(group):
            return lambda step: self._learning_rate(step) * factor
        assert scale is not None
        return lambda step: self._learning_rate(step) * factor * scale(step)

    def _held_rates(self) -> list[Tensor]:
        """Create the tensors of the learning rates. Steps are then counted on the device, too."""
        device = self._targets[0].device
        # Fused kernels of a GPU read float32; the CPU's read Python's numbers exactly.
        dtype = torch.float64 if device.type == "cpu" else torch.float32
        rates = []
        for group in self._base.param_groups:
            group["lr"] = torch.zeros((), dtype=dtype, device=device)
            rates.append(group["lr"])
            if device.type != "cpu" and "capturable" in group:
                group["capturable"] = True
        self._base._warned_capturable_if_run_uncaptured = True  # no warning is due
        return rates

    def step(self, gradients: Sequence[Tensor], numbers: Tensor, num_steps: int) -> None:
        self._set_rates(numbers, num_steps)
        for slot, (target, gradient) in enumerate(zip(self._targets, gradients, strict=True)):
            own = gradient[self._rows]
            if slot in self._learned:  # the backward maps of earlier tensors have set it
                own = self._learned[slot][1]
            if slot in self._backwards:
                own = torch.cat([back(own, num_steps, numbers) for back in self._backwards[slot]])
            target.grad = own
        if (limit := self._members[0].spec.clip_norm) is not None:
            clip_rows([target.grad for target in self._targets], limit)
        for pull in self._pulls:
            pull(num_steps, numbers)
        self._base.step()
        for latent, bound in self._bounds:
            latent.clamp_(-bound, bound)
        for learned, _ in self._learned.values():
            learned.clamp_(min=SMALLEST)

    def _set_rates(self, numbers: Tensor, num_steps: int) -> None:
        """Set the learning rates of the step."""
        for held, place in zip(self._held, self._places, strict=bool(self._held)):
            held.copy_(numbers[place])
        if not self._held:
            for group, rate in zip(self._base.param_groups, self._rates, strict=True):
                group["lr"] = rate(num_steps)

    def hand_back(self, num_steps: int) -> None:
        for row, member in enumerate(self._members):
            if num_steps > self._first:
                rate = self._learning_rate(num_steps - 1)
                set_learning_rate(member.optimizer.param_groups, rate)
            for target, moved in zip(self._targets, member.optimizer.moved, strict=True):
                member.optimizer.state[moved.target] = {
                    key: value[row]
                    if isinstance(value, Tensor) and value.shape == target.shape
                    else value
                    for key, value in self._base.state.get(target, {}).items()
                }
