"""ProxOptimizer: a torch optimizer of latent weights, whose proximal map the model uses."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from quantlab.optim.buffers import QuantizedWeights, flat_moved, shaped_moved
from quantlab.optim.histogram import WeightHistogram, weight_histogram
from quantlab.quantizers import Quantizer
from quantlab.remembering import are_equal
from quantlab.schedules import StepFunction
from quantlab.update_rules import Point, UpdateRule

ELEMENTWISE = (
    torch.optim.SGD,
    torch.optim.Adam,
    torch.optim.AdamW,
    torch.optim.RMSprop,
    torch.optim.Adagrad,
)
"""Optimizers whose update of an entry depends on that entry only. They can update all tensors as
one flat tensor. Matrix methods such as Muon and Adafactor cannot."""


class ProxOptimizer(Optimizer):
    """One of the four update rules with any torch optimizer.

    It is used like a torch optimizer: `zero_grad`, `step` (with or without a closure),
    `state_dict`, `param_groups` and learning-rate schedulers work. The model's quantized parameters
    become views of its buffers. They always hold the weights at which the rule takes its gradient.
    Load weights into the model only before the optimizer is built.

    With latent weights w*, proximal weights w = P(w*) and the rule's two points, one step is::

        gradient of the model's parameters           # taken at rule.gradient_at
        latent   <- latent or proximal               # rule.update_from
        base.step()                                  # any torch.optim, on the latents
        proximal <- prox(latent, sharpness(t + 1))   # what the next forward pass sees

    Source: ProxConnect paper, equations (2)-(7), (31), (36).
    """

    def __init__(
        self,
        weights: Mapping[str, tuple[nn.Parameter, Quantizer]],
        others: Iterable[nn.Parameter],
        *,
        make_base: Callable[[list[nn.Parameter]], Optimizer],
        rule: UpdateRule,
        sharpness: StepFunction,
        own_sharpness: Mapping[str, StepFunction] | None = None,
        latent_bound: float | None = None,
        averaging: StepFunction | None = None,
        flat: bool = False,
    ) -> None:
        """Take over the quantized weights.

        Args:
            weights: names with the parameter and its quantizer. It may be empty.
            others: parameters that stay in full precision and are optimized directly.
            make_base: builds the torch optimizer of the given parameters.
            rule: the update rule.
            sharpness: sharpness as a function of the gradient step, which is counted from 0.
            own_sharpness: names with the sharpness of weights that do not use the common one.
            latent_bound: bound to whose range [-bound, bound] latent weights are clipped after each
                step, as in BinaryConnect's code; None for no clipping, as in the ProxConnect paper.
            averaging: weight eta_t >= 0 of the iterate w_t in the running average
                sum_t eta_t w_t / sum_t eta_t (equation (35); constant for the ergodic average of
                Corollary 4.2), which `harden` then projects; None for no averaging.
            flat: whether `make_base` receives flat tensors instead of one per parameter. This is
                faster for small models. It requires an elementwise optimizer (see `ELEMENTWISE`)
                and a gradient of every parameter at every step, which may be zero.

        Raises:
            ValueError: if a parameter is given more than once.
        """
        others = list(others)
        _require_once([*(parameter for parameter, _ in weights.values()), *others])
        self.rule = rule
        self.sharpness = sharpness
        self.latent_bound = latent_bound
        self.averaging = averaging
        self.num_steps = 0
        self.averaged_weight = 0.0
        """Sum of the weights eta_t of the iterates that have been averaged."""
        self._names = {id(parameter): name for name, (parameter, _) in weights.items()}

        own = own_sharpness or {}
        members: list[
            tuple[
                tuple[Quantizer, StepFunction, torch.dtype, torch.device],
                list[nn.Parameter],
            ]
        ] = []
        for name, (parameter, quantizer) in weights.items():
            key = (quantizer, own.get(name, sharpness), parameter.dtype, parameter.device)
            for known, parameters in members:
                if are_equal(known, key):  # a quantizer need not be hashable
                    parameters.append(parameter)
                    break
            else:
                members.append((key, [parameter]))
        self.groups = [
            QuantizedWeights(quantizer, annealing, parameters, rule.gradient_at)
            for (quantizer, annealing, _, _), parameters in members
        ]
        # Tensors that the base optimizer updates, each with the parameters that have its gradient.
        make_moved = flat_moved if flat else shaped_moved
        self.moved = list(make_moved(self.groups, others))
        self.base = make_base([moved.target for moved in self.moved])
        super().__init__(self.base.param_groups, self.base.defaults)
        self.param_groups = self.base.param_groups
        self.state = self.base.state
        self.refresh()

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Reset the gradients of all parameters, quantized or not."""
        for moved in self.moved:
            if moved.gradients is not None:
                assert moved.target.grad is not None
                moved.target.grad.zero_()
                for source, gradient in zip(moved.sources, moved.gradients, strict=True):
                    source.grad = gradient
                continue
            for source in moved.sources:
                if set_to_none or source.grad is None:
                    source.grad = None
                else:
                    source.grad.zero_()

    @torch.no_grad()
    def step(  # type: ignore[override]
        self, closure: Callable[[], float | Tensor] | None = None
    ) -> float | Tensor | None:
        """Update the latent weights, and apply the proximal map to the result.

        Args:
            closure: function that recomputes the loss and its gradients. It is always called with
                the model's weights at `rule.gradient_at`.

        Returns:
            The loss that the closure returned, or None without a closure.

        Raises:
            ValueError: if the optimizer is flat and a parameter has no gradient.
        """
        self.average()
        loss: float | Tensor | None = None
        if closure is None:
            self.prepare_base()
            self.base.step()
        else:
            loss = self.base.step(_Evaluation(self, closure))  # type: ignore[arg-type]
        self._clip_latents()
        self.num_steps += 1
        self.refresh()
        return loss

    def prepare_base(self, *, starts: bool = True) -> None:
        """Give the base optimizer the model's gradients and the weights that its step starts from.

        Args:
            starts: whether a step begins; False if the base optimizer evaluates the loss again
                within a step.
        """
        self._gather_gradients()
        if starts and self.rule.update_from is Point.PROXIMAL:
            for group in self.groups:
                group.latent.copy_(group.proximal)

    @torch.no_grad()
    def refresh(self) -> None:
        """Recompute the proximal weights from the latents, at the current step's sharpness."""
        if not (self.groups and self.rule.uses_prox):
            return
        for group in self.groups:
            sharpness = group.sharpness(self.num_steps)
            group.proximal.copy_(group.quantizer.prox(group.latent, sharpness))

    @contextmanager
    def weights_at(self, point: Point) -> Iterator[None]:
        """Set the model to the weights at another point for a `with` block.

        Raises:
            ValueError: if `point` is AVERAGED and no iterate has been averaged.
        """
        kept = []
        with torch.no_grad():
            for group in self.groups:
                there = self._at(group, point)
                if there is not group.evaluation:
                    kept.append((group, group.evaluation.clone()))
                    group.evaluation.copy_(there)
        try:
            yield
        finally:
            with torch.no_grad():
                for group, values in kept:
                    group.evaluation.copy_(values)

    @torch.no_grad()
    def harden(self) -> None:
        """Quantize for good: write the hard weights into the model's parameters and freeze them.

        The hard weights are the projection P_Q of the average of the iterates if one is kept,
        otherwise of w if steps start from w, otherwise of w*. The parameters are detached from this
        optimizer, which must not be stepped again.
        """
        for group in self.groups:
            hard = self._at(group, Point.HARD)
            for parameter, view in zip(group.parameters, group.views(hard), strict=True):
                parameter.data = view
                parameter.grad = None
                parameter.requires_grad_(False)

    @torch.no_grad()
    def quantization_gap(self) -> float:
        """Return the root mean square of w minus the hard weights; 0 if nothing is quantized."""
        squares, count = 0.0, 0
        for group in self.groups:
            difference = self._at(group, Point.PROXIMAL) - self._at(group, Point.HARD)
            squares += float(difference.square().sum())
            count += difference.numel()
        return (squares / count) ** 0.5 if count else 0.0

    @torch.no_grad()
    def weight_histogram(self) -> WeightHistogram | None:
        """Return the histogram of w, from the lowest to the highest level; None without weights."""
        if not self.groups:
            return None
        return weight_histogram(
            (self._at(group, Point.PROXIMAL) for group in self.groups),
            low=min(group.quantizer.levels[0] for group in self.groups),
            high=max(group.quantizer.levels[-1] for group in self.groups),
        )

    def state_dict(self) -> dict[str, Any]:
        """Return all that a bit-identical continuation needs, except quantizers and rule."""
        return {
            "num_steps": self.num_steps,
            "latent": [group.latent.clone() for group in self.groups],
            "proximal": [group.proximal.clone() for group in self.groups],
            "averaged_weight": self.averaged_weight,
            "average": [
                group.average.clone() for group in self.groups if group.average is not None
            ],
            "base": self.base.state_dict(),
        }

    @torch.no_grad()
    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Restore the state of an optimizer that was built in the same way."""
        self.num_steps = state_dict["num_steps"]
        for group, latent, proximal in zip(
            self.groups, state_dict["latent"], state_dict["proximal"], strict=True
        ):
            group.latent.copy_(latent)
            group.proximal.copy_(proximal)
        self.averaged_weight = state_dict["averaged_weight"]
        averages = state_dict["average"] or [None] * len(self.groups)
        for group, average in zip(self.groups, averages, strict=True):
            group.average = None if average is None else average.to(group.latent, copy=True)
        self.base.load_state_dict(state_dict["base"])
        self.param_groups = self.base.param_groups
        self.state = self.base.state

    def average(self) -> None:
        """Add the proximal weights w_t of this step to the running average."""
        weight = 0.0 if self.averaging is None else self.averaging(self.num_steps)
        if weight == 0:
            return
        self.averaged_weight += weight
        for group in self.groups:
            iterate = self._at(group, Point.PROXIMAL)
            if group.average is None:
                group.average = iterate.clone()
            else:
                group.average.lerp_(iterate, weight / self.averaged_weight)

    def _clip_latents(self) -> None:
        if self.latent_bound is not None:
            for group in self.groups:
                group.latent.clamp_(-self.latent_bound, self.latent_bound)

    def _gather_gradients(self) -> None:
        """Copy the gradients of the model's parameters to the tensors of the base optimizer."""
        for moved in self.moved:
            if moved.gradients is None:
                (source,) = moved.sources
                moved.target.grad = source.grad
                continue
            for source, gradient in zip(moved.sources, moved.gradients, strict=True):
                if source.grad is gradient:
                    continue
                if source.grad is None:
                    name = self._names.get(id(source), "a full-precision parameter")
                    raise ValueError(
                        "flat=True needs a gradient for every parameter at every step, but "
                        f"{name} has none; build the optimizer with flat=False"
                    )
                gradient.copy_(source.grad)  # the caller had set the gradient to None

    def _at(self, group: QuantizedWeights, point: Point) -> Tensor:
        """Return the flat weights of a group at a point. A buffer of the group is not copied."""
        if point is Point.HARD:
            return group.quantizer.hard(self._iterate(group))
        if point is Point.LATENT:
            return group.latent
        if point is Point.AVERAGED:
            if group.average is None:
                raise ValueError(
                    "Point.AVERAGED: no iterate has been averaged yet; take a step with a positive "
                    "averaging weight first"
                )
            return group.average
        if self.rule.uses_prox:
            return group.proximal
        return group.quantizer.prox(group.latent, group.sharpness(self.num_steps))

    def _iterate(self, group: QuantizedWeights) -> Tensor:
        """Return the weights whose projection is the final network.

        If steps start from w, the latent weights are only an intermediate result of a step. A map
        that is random, or that moves weights past the middle of a gap, then gives a network that
        differs from the projection of the latent weights.
        """
        if group.average is not None:
            return group.average
        return group.proximal if self.rule.update_from is Point.PROXIMAL else group.latent


class _Evaluation:
    """The closure of the base optimizer, which may evaluate the loss several times per step.

    Each evaluation takes the gradient at the rule's point. If the base optimizer has moved the
    latent weights since the last evaluation, as in a line search, the point is recomputed first.
    """

    def __init__(self, optimizer: ProxOptimizer, closure: Callable[[], float | Tensor]) -> None:
        self._optimizer = optimizer
        self._closure = closure
        self._is_first = True

    def __call__(self) -> float | Tensor:
        if not self._is_first:
            self._optimizer.refresh()
        with torch.enable_grad():
            loss = self._closure()
        self._optimizer.prepare_base(starts=self._is_first)
        self._is_first = False
        return loss


def _require_once(parameters: Sequence[nn.Parameter]) -> None:
    if len({id(parameter) for parameter in parameters}) < len(parameters):
        raise ValueError(
            "weights, others: a parameter is given more than once; give a parameter that layers "
            "share under one name, either in weights or in others"
        )
