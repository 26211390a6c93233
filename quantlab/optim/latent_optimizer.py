"""LatentOptimizer: a torch optimizer of latent weights, whose proximal map the model uses."""

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from quantlab.backward_maps import BackwardMap, StraightThrough
from quantlab.errors import ConfigurationError
from quantlab.optim.bop import Bop
from quantlab.optim.buffers import QuantizedWeights, grouped
from quantlab.optim.evaluation import Evaluation
from quantlab.optim.moved import Moved, flat_moved, shaped_moved
from quantlab.optim.torch_groups import (
    built_with_groups,
    require_once,
    scaled_rates,
    torch_groups,
)
from quantlab.quantizers import Quantizer
from quantlab.scales import Scale
from quantlab.schedules import StepFunction
from quantlab.update_rules import Point, UpdateRule

ELEMENTWISE = (
    torch.optim.SGD,
    torch.optim.Adam,
    torch.optim.AdamW,
    torch.optim.RMSprop,
    torch.optim.Adagrad,
    Bop,
)
"""Optimizers whose update of an entry depends on that entry only. They can update all tensors as
one flat tensor. Matrix methods such as Muon and Adafactor cannot."""


_STRAIGHT_THROUGH = StraightThrough()
_STATE = ("latent", "proximal", "learned", "placed_at")
"""Tensors of a group that a checkpoint has, apart from the average, which may begin later."""
_NO_DECAY = {"weight_decay": 0.0}
"""Options of the learned numbers of scales."""


class LatentOptimizer(Optimizer):
    """The step that all methods share, with any torch optimizer.

    It is used like a torch optimizer: `zero_grad`, `step` (with or without a closure),
    `state_dict`, `param_groups` and learning-rate schedulers work. The model's quantized parameters
    become views of its buffers. They always hold the weights at which the rule takes its gradient.
    Load weights into the model only before the optimizer is built.

    With latents z, proximal weights w = P(z; rho_t) and the pull theta_t, one step is::

        g_w = gradient of the loss at w, or at z        # rule.gradient_at
        g_z = B(g_w, z; rho_t)                          # backward map, the identity by default
        z0  = (1 - theta_t) z + theta_t P(z; rho_t)     # where the step starts
        z1  = base.step() from z0 with g_z              # any torch.optim
        z   = z0 + sigma_t (z1 - z0)                    # step scale, 1 by default
        w   = P(z; rho_{t+1})                           # what the next forward pass sees

    Source: ProxConnect paper, equations (2)-(7), (31), (36); mirror-descent paper, equations (4),
    (15), (20) and (23).
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
        pull: StepFunction | float | None = None,
        backward: BackwardMap = _STRAIGHT_THROUGH,
        step_scale: StepFunction | None = None,
        own_options: Sequence[tuple[Sequence[nn.Parameter], Mapping[str, Any]]] = (),
        scales: Mapping[str, Scale] | None = None,
        clip_norm: float | None = None,
        flat: bool = False,
    ) -> None:
        """Take over the quantized weights.

        Args:
            weights: names with the parameter and its quantizer. It may be empty.
            others: parameters that stay in full precision and are optimized directly.
            make_base: builds the torch optimizer of the given parameters. With a step scale or own
                options, it receives parameter groups of torch.
            rule: the update rule.
            sharpness: sharpness as a function of the gradient step, which is counted from 0.
            own_sharpness: names with the sharpness of weights that do not use the common one.
            latent_bound: bound to whose range [-bound, bound] latent weights are clipped after each
                step, as in BinaryConnect's code; None for no clipping, as in the ProxConnect paper.
            averaging: weight eta_t >= 0 of the iterate w_t in the running average
                sum_t eta_t w_t / sum_t eta_t (equation (35); constant for the ergodic average of
                Corollary 4.2), which `harden` then projects; None for no averaging.
            pull: theta_t in [0, 1] as a number or a function of the step: the share of the proximal
                point in the point that a step starts from; None for 0 or 1, as the rule says.
            backward: map of the gradients of the weights to those of the latents.
            step_scale: factor sigma_t >= 0 of the latents' steps; None for 1. It requires an
                optimizer whose step is proportional to its learning rate.
            own_options: parameters with options of the base optimizer of their own, as in torch's
                parameter groups. For quantized parameters, they hold for the latents.
            scales: names with the scale of weights whose levels do not stand where their set says.
                Learned numbers are updated by the base optimizer, without weight decay.
            clip_norm: largest norm of all gradients together that the base optimizer receives, with
                those of latents after the backward map, and those of learned numbers. Every
                evaluation within a step is clipped. None for no clipping.
            flat: whether `make_base` receives flat tensors instead of one per parameter. This is
                faster for small models. It requires an elementwise optimizer (see `ELEMENTWISE`)
                and a gradient of every parameter at every step, which may be zero.

        Raises:
            ValueError: if a parameter is given more than once, or if the gradient is taken at
                latents that are not weights.
            ConfigurationError: if `make_base` refuses groups of parameters, which learned numbers
                and options of their own need.
        """
        others = list(others)
        require_once([*(parameter for parameter, _ in weights.values()), *others])
        self.rule = rule
        self.pull = float(rule.update_from is Point.PROXIMAL) if pull is None else pull
        self.backward = backward
        self.step_scale = step_scale
        self.sharpness = sharpness
        self.latent_bound = latent_bound
        self.clip_norm = clip_norm
        self.averaging = averaging
        self.num_steps = 0
        self.averaged_weight = 0.0
        """Sum of the weights eta_t of the iterates that have been averaged."""
        self._names = {id(parameter): name for name, (parameter, _) in weights.items()}

        self._options = [*(options for _, options in own_options), _NO_DECAY]
        self._places = {
            id(parameter): place
            for place, (parameters, _) in enumerate(own_options)
            for parameter in parameters
        }
        self.groups = grouped(
            weights, rule.gradient_at, sharpness, own_sharpness or {}, scales or {}, self._places
        )
        # Tensors that the base optimizer updates, each with the parameters that have its gradient.
        make_moved = flat_moved if flat else shaped_moved
        self.moved = list(make_moved(self.groups, others, self._places))
        targets = self.parameter_groups([moved.target for moved in self.moved])
        learns = any(group.learned is not None for group in self.groups)
        self.base = built_with_groups(make_base, targets, learns=learns)
        super().__init__(self.base.param_groups, self.base.defaults)
        self.param_groups = self.base.param_groups
        self.state = self.base.state
        self.refresh()

    add_param_group = inspect.unwrap(Optimizer.add_param_group)
    """That of torch imports torch's compiler; see `quantlab.optimizer_spec.uncompiled`."""

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Reset the gradients of all parameters, quantized or not."""
        for moved in self.moved:
            if moved.gradients is not None:
                assert moved.gradient is not None
                moved.gradient.zero_()
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
            ConfigurationError: if a quantized weight has a sparse gradient.
        """
        return self.advance(closure)

    def advance(self, closure: Callable[[], float | Tensor] | None) -> float | Tensor | None:
        """Take a step without the hooks of torch's optimizers; see `step`."""
        self.average()
        loss: float | Tensor | None = None
        scale = 1.0 if self.step_scale is None else self.step_scale(self.num_steps)
        with scaled_rates(self.base.param_groups, scale):
            if closure is None:
                self.prepare_base()
                self.base.step()
            else:
                loss = self.base.step(Evaluation(self, closure))  # type: ignore[arg-type]
        for group in self.groups:
            group.clip(self.latent_bound)
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
        if self.clip_norm is not None:
            nn.utils.clip_grad_norm_([moved.target for moved in self.moved], self.clip_norm)
        if starts:
            for group in self.groups:
                group.pull(self.pull_at(self.num_steps), self.num_steps)

    @torch.no_grad()
    def refresh(self) -> None:
        """Recompute the proximal weights from the latents, at the current step's sharpness."""
        for group in self.groups if self.uses_prox else ():
            group.refresh(self.num_steps)

    @property
    def uses_prox(self) -> bool:
        """Whether a step needs the proximal weights, which is false for post-training only."""
        return self.rule.gradient_at is Point.PROXIMAL or self.pull != 0

    def pull_at(self, step: int) -> float:
        """Return the pull theta_t of a step."""
        return self.pull if isinstance(self.pull, float) else self.pull(step)

    def parameter_groups(self, targets: list[nn.Parameter]) -> list[Any]:
        """Return the tensors that a base optimizer updates, in groups if they differ in options.

        Args:
            targets: one tensor for each of `moved`.
        """
        kinds = [
            (
                self.step_scale is not None and of.group is not None,
                self._places.get(id(of.sources[0])) if of.sources else len(self._options) - 1,
            )
            for of in self.moved
        ]
        return torch_groups(targets, kinds, self._options)

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
        otherwise of the point that a step starts from. The parameters are detached from this
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
    def levels(self) -> dict[str, Tensor]:
        """Return the levels of each quantized weight's final values.

        Returns:
            Parameter names with the increasing levels of each row, (rows, number of levels), and no
            level of an unbounded set. Hard weights are levels of their row to the last bit.
        """
        pull = self.pull_at(self.num_steps)
        return {
            self._names[id(parameter)]: own
            for group in self.groups
            for parameter, own in group.levels(pull, self.num_steps)
        }

    def state_dict(self) -> dict[str, Any]:
        """Return all that a bit-identical continuation needs, except quantizers and rule."""
        return {
            "num_steps": self.num_steps,
            **{name: _copies(getattr(group, name) for group in self.groups) for name in _STATE},
            "averaged_weight": self.averaged_weight,
            "average": _copies(group.average for group in self.groups),
            "base": self.base.state_dict(),
        }

    @torch.no_grad()
    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Restore the state of an optimizer that was built in the same way."""
        self.num_steps = state_dict["num_steps"]
        for name in _STATE:
            tensors = [own for group in self.groups if (own := getattr(group, name)) is not None]
            for own, values in zip(tensors, state_dict.get(name, []), strict=True):
                own.copy_(values)
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

    def _gather_gradients(self) -> None:
        """Give the tensors of the base optimizer their gradients, carried back to the latents."""
        for moved in self.moved:
            gradient = moved.gathered(self._names)
            if moved.group is not None and gradient is None:
                moved.group.forget_learned_gradient(moved.start, moved.target.numel())
            if moved.group is not None and gradient is not None:
                if gradient.layout is not torch.strided:
                    self._refuse_sparse(moved)
                gradient = moved.group.carried_back(
                    gradient, moved.target.detach(), self.backward, self.num_steps, moved.start
                )
            moved.target.grad = gradient

    def _refuse_sparse(self, moved: Moved) -> None:
        name = self._names[id(moved.sources[0])]
        raise ConfigurationError(
            f"{name}: has a sparse gradient, but a quantized weight must have a dense one; build "
            "the layer with sparse=False, or leave the weight in full precision"
        )

    def _at(self, group: QuantizedWeights, point: Point) -> Tensor:
        """Return the flat weights of a group at a point. A buffer of the group is not copied."""
        if point is Point.HARD:
            return group.hard(self.pull_at(self.num_steps), self.num_steps)
        if point is Point.LATENT:
            return group.quantizer.collapse(group.latent)
        if point is Point.AVERAGED:
            if group.average is None:
                raise ValueError(
                    "Point.AVERAGED: no iterate has been averaged yet; take a step with a positive "
                    "averaging weight first"
                )
            return group.average
        if self.uses_prox:
            return group.proximal
        return group.weights(self.num_steps)


def _copies(tensors: Iterable[Tensor | None]) -> list[Tensor]:
    return [tensor.detach().clone() for tensor in tensors if tensor is not None]
