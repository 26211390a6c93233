"""ProxOptimizer: any torch optimizer on latent weights, the model seeing their proximal map."""

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
"""Optimizers whose update of an entry depends on that entry alone: they may see all tensors as one
flat one. (Matrix methods such as Muon and Adafactor may not.)"""


class ProxOptimizer(Optimizer):
    """One of the four update rules, over any torch optimizer.

    It behaves like a torch optimizer: `zero_grad`, `step` (with or without a closure),
    `state_dict`, `param_groups`, and learning-rate schedulers work on it. The model's quantized
    parameters become views of its buffers and always hold the weights at which the rule takes its
    gradient; write other values into the model only before it is built.

    One step is, with w* latent, w = P(w*) and the rule's two points::

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
            weights: name -> (parameter, its quantizer), each parameter once; may be empty.
            others: parameters that stay in full precision, optimized as they are.
            make_base: builds the torch optimizer over the given parameters.
            rule: the cell of the 2x2.
            sharpness: sharpness as a function of the gradient step, from 0.
            own_sharpness: name -> sharpness of the weights that do not follow the common one.
            latent_bound: clip latents to [-bound, bound] after each step, as BinaryConnect's code
                does; None for no clipping, as in the ProxConnect paper.
            averaging: weight eta_t >= 0 of the iterate w_t in the running average
                sum_t eta_t w_t / sum_t eta_t (equation (35); constant for the ergodic average of
                Corollary 4.2), which `harden` then projects; None for no averaging.
            flat: give `make_base` one flat tensor instead of many. Faster for small models; only
                for an elementwise optimizer (see `ELEMENTWISE`), and for models whose parameters
                all take part in every step: one that does not has a zero gradient, not none.

        Raises:
            ValueError: a parameter stands there twice.
        """
        others = list(others)
        _require_once([*(parameter for parameter, _ in weights.values()), *others])
        self.rule = rule
        self.sharpness = sharpness
        self.latent_bound = latent_bound
        self.averaging = averaging
        self.num_steps = 0
        self.averaged_weight = 0.0
        """Sum of the weights of what has been averaged."""
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
        # What the base optimizer moves, each with the model's parameters that bring its gradient.
        make_moved = flat_moved if flat else shaped_moved
        self.moved = list(make_moved(self.groups, others))
        self.base = make_base([moved.target for moved in self.moved])
        super().__init__(self.base.param_groups, self.base.defaults)
        self.param_groups = self.base.param_groups
        self.state = self.base.state
        self.refresh()

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of all parameters, quantized or not."""
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
        """One update of the latents, and the proximal map of the result.

        Args:
            closure: recomputes the loss and its gradients; it is always called with the model's
                weights at `rule.gradient_at`.

        Returns:
            The closure's loss, or None without one.
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
            starts: whether a step begins here; False if the base optimizer is within one.
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
        """Put the weights at another point into the model for the time of a `with` block."""
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

        They are the projection P_Q of what the rule hands from step to step: of w* or, where steps
        start from it, of w = P(w*); with averaging, of the average of the iterates. The parameters
        are detached from this optimizer, which must not be stepped again.
        """
        for group in self.groups:
            hard = self._at(group, Point.HARD)
            for parameter, view in zip(group.parameters, group.views(hard), strict=True):
                parameter.data = view
                parameter.grad = None
                parameter.requires_grad_(False)

    @torch.no_grad()
    def quantization_gap(self) -> float:
        """Root mean square of w less the hard weights: the distance yet to go to them."""
        squares, count = 0.0, 0
        for group in self.groups:
            difference = self._at(group, Point.PROXIMAL) - self._at(group, Point.HARD)
            squares += float(difference.square().sum())
            count += difference.numel()
        return (squares / count) ** 0.5 if count else 0.0

    @torch.no_grad()
    def weight_histogram(self) -> WeightHistogram | None:
        """How w is spread from the lowest to the highest level; None if nothing is quantized."""
        if not self.groups:
            return None
        return weight_histogram(
            (self._at(group, Point.PROXIMAL) for group in self.groups),
            low=min(group.quantizer.levels[0] for group in self.groups),
            high=max(group.quantizer.levels[-1] for group in self.groups),
        )

    def state_dict(self) -> dict[str, Any]:
        """Everything a bit-identical continuation needs; quantizers and rule are not in it."""
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
        """Restore what `state_dict` gave, of an optimizer built in the same way."""
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
        """Take this step's proximal weights w_t into the average: the first thing of a step."""
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
        """Bring the gradients of the model's parameters to what the base optimizer moves."""
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
                        "flat=True needs a gradient for every parameter at every step; "
                        f"{name} has none"
                    )
                gradient.copy_(source.grad)  # somebody had set it to None before

    def _at(self, group: QuantizedWeights, point: Point) -> Tensor:
        """The flat weights of a group at a point; a buffer of the group is not copied."""
        if point is Point.HARD:
            return group.quantizer.hard(self._iterate(group))
        if point is Point.LATENT:
            return group.latent
        if point is Point.AVERAGED:
            if group.average is None:
                raise ValueError("no iterate has been averaged yet")
            return group.average
        if self.rule.uses_prox:
            return group.proximal
        return group.quantizer.prox(group.latent, group.sharpness(self.num_steps))

    def _iterate(self, group: QuantizedWeights) -> Tensor:
        """What is projected in the end.

        Where steps start from w, the latent weights are a step on the way to the next w, and a map
        that draws, or moves weights past the middle of a gap, makes another network of them.
        """
        if group.average is not None:
            return group.average
        return group.proximal if self.rule.update_from is Point.PROXIMAL else group.latent


class _Evaluation:
    """A closure for the base optimizer, which may evaluate the loss more than once within a step.

    The gradient is taken at the rule's point each time. Where the base optimizer has moved the
    latents since the last evaluation, as a line search does, that point has moved with them.
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
            "a parameter stands there twice; one that layers share must be given under one name, "
            "and be quantized or stay in full precision"
        )
