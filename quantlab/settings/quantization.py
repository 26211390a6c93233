"""Quantization: how weights become quantized."""

from dataclasses import dataclass, field

from torch import nn

from quantlab.backward_maps import BackwardMap, StraightThrough
from quantlab.errors import ConfigurationError, brief
from quantlab.models.weights import full_precision_weights, group_of_weights
from quantlab.plain_values import (
    require_bool,
    require_count,
    require_instance,
    require_items,
    require_number,
)
from quantlab.quantizers import Quantizer
from quantlab.scales import Scale
from quantlab.schedules import Constant, Schedule, value_at
from quantlab.schedules.constant import set_schedule
from quantlab.update_rules import Point, UpdateRule


def _patterns(owner: object, name: str) -> None:
    """Check that a field is a sequence of layer patterns, and store it as a tuple."""
    require_items(owner, name, str, "a sequence of patterns")


@dataclass(frozen=True, kw_only=True)
class WeightGroup:
    """Layers with a quantizer of their own.

    A group is a factor of the product map (ProxConnect paper, Theorem 3.2, equation (10)).
    """

    layers: tuple[str, ...]
    """Module types (``"Linear"``) and shell-style patterns of layer names. Each must match at least
    one layer, or else names of quantized parameters (``"*.in_proj_weight"``)."""
    quantizer: Quantizer
    """Proximal map of the group's weights."""
    sharpness: Schedule | None = None
    """Sharpness rho_t of the group; None for that of `Quantization.sharpness`."""
    scale: Scale | None = None
    """Rule that places the levels of the group's weights; None for the levels of the set."""

    def __post_init__(self) -> None:
        require_instance(self, "quantizer", Quantizer)
        if self.scale is not None:
            require_instance(self, "scale", Scale, "AbsoluteMean()")
        if self.sharpness is not None:
            set_schedule(self, "sharpness")
        _patterns(self, "layers")
        if not self.layers:
            raise ConfigurationError("WeightGroup.layers = (): must name at least one layer")


@dataclass(frozen=True, kw_only=True)
class Averaging:
    """The running average sum_t eta_t w_t / sum_t eta_t of the proximal weights.

    Hard quantization then projects the average instead of the last iterate, and every hard accuracy
    is measured at the projected average. Source: ProxConnect paper, Corollary 5.2, equation (35),
    and Corollary 4.2.
    """

    weight: Schedule = field(default_factory=lambda: Constant(1.0))
    """Weight eta_t of the iterate w_t. The schedule of the learning rate gives equation (35). A
    constant gives the ergodic average, which is Corollary 4.2 for lambda_t = 1/(t + 1);
    ``Linear(1, period=1)`` gives that for lambda_t = 2/(t + 2)."""
    start_epoch: int = 0
    """First epoch, counted from 0, whose iterates are averaged: s of equation (35)."""

    def __post_init__(self) -> None:
        set_schedule(self, "weight")
        require_count(self, "start_epoch", 0)


@dataclass(frozen=True, kw_only=True)
class Quantization:
    """How weights become quantized: update rule, quantizer, annealing and scope."""

    rule: UpdateRule
    """Update rule, one of the four in `quantlab.update_rules`."""
    quantizer: Quantizer
    """Proximal map, with its quantization set."""
    sharpness: Schedule = field(default_factory=lambda: Constant(0.0))
    """Sharpness rho_t; a number is a constant sharpness. It has no effect if neither the quantizer
    nor the backward map is annealed. For a `MirrorMap` without `beta` it is the steepness, and must
    be set."""
    exclude: tuple[str, ...] = ()
    """Module types (``"Linear"``) and shell-style patterns of the names of layers whose weights
    stay in full precision."""
    latent_bound: float | None = None
    """Bound > 0 to whose range [-bound, bound] latent weights are clipped after each step; None for
    no clipping."""
    groups: tuple[WeightGroup, ...] = ()
    """Groups of layers with other quantizers. A layer in no group uses `quantizer` and
    `sharpness`."""
    averaging: Averaging | None = None
    """Average of the iterates, which is quantized in the end; None for the last iterate."""
    include: tuple[str, ...] = ()
    """Shell-style patterns of the names of further parameters that are quantized, such as
    ``"*.in_proj_weight"`` of attention, ``"embedding.weight"`` or ``"*.bias"``, or types of modules
    (``"Embedding"``); see `quantlab.models.weights.quantized_weights`."""
    reestimate_batchnorm: bool = False
    """Whether batch normalization's running statistics are recomputed from the training images when
    hard weights are evaluated and when the network is hardened. If False, the statistics of
    training are used, which belong to the weights at which gradients were taken."""
    pull: Schedule | None = None
    """Pull theta_t in [0, 1]: steps start from (1 - theta_t) w* + theta_t P(w*). A number is a
    constant pull. None for the point that the rule says, which is theta_t = 0 for w* and 1 for
    P(w*); with a pull, it must be w*."""
    backward: BackwardMap = field(default_factory=StraightThrough)
    """Map of the gradient at the weights to that of the latents."""
    step_scale: Schedule | None = None
    """Factor sigma_t of the steps of the latents; a number is a constant factor. With a `MirrorMap`
    of fixed steepness, an annealed beta gives mirror descent. None for 1."""
    scale: Scale | None = None
    """Rule that places the levels in each tensor, channel or block; None for the levels of the set.
    Groups have scales of their own."""

    def __post_init__(self) -> None:
        require_instance(self, "rule", UpdateRule, "PROX_CONNECT")
        require_instance(self, "quantizer", Quantizer, "PiecewiseLinear(TERNARY)")
        set_schedule(self, "sharpness")
        _patterns(self, "exclude")
        _patterns(self, "include")
        require_bool(self, "reestimate_batchnorm")
        if self.averaging is not None:
            require_instance(self, "averaging", Averaging)
        if self.scale is not None:
            require_instance(self, "scale", Scale, "AbsoluteMean()")
        require_items(self, "groups", WeightGroup, "a sequence of WeightGroup")
        if self.latent_bound is not None:
            bound = require_number(self, "latent_bound", exclusive=True)
            object.__setattr__(self, "latent_bound", bound)
        require_instance(self, "backward", BackwardMap, "StraightThrough()")
        for name, allowed in (("pull", "a number from 0 to 1"), ("step_scale", "a number >= 0")):
            if getattr(self, name) is not None:
                set_schedule(self, name, f"{allowed}, a Schedule, or None")
        self._require_consistent()

    def _require_consistent(self) -> None:
        if self.pull is not None and self.rule.update_from is not Point.LATENT:
            raise ConfigurationError(
                f"Quantization.pull = {self.pull!r}: must be None if rule.update_from is "
                "Point.PROXIMAL; use a rule with Point.LATENT, from which the pull starts"
            )
        if isinstance(self.pull, Constant) and self.pull.value > 1:
            raise ConfigurationError(
                f"Quantization.pull = {self.pull.value!r}: must be a number from 0 to 1"
            )
        at_latent = self.rule.gradient_at is Point.LATENT
        if at_latent and type(self.backward) is not StraightThrough:
            raise ConfigurationError(
                f"Quantization.backward = {self.backward!r}: must be StraightThrough() if "
                "rule.gradient_at is Point.LATENT, because the gradient is that of the latents"
            )
        for quantizer, _ in self.maps:
            self.backward.require_fits(quantizer)
            if at_latent and quantizer.num_latents != 1:
                raise ConfigurationError(
                    f"Quantization.rule.gradient_at = {self.rule.gradient_at}: must be "
                    f"Point.PROXIMAL for {type(quantizer).__name__}, whose latents are not weights"
                )
        for quantizer, scale in self.maps:
            if scale is not None:
                self._require_scale_fits(scale, quantizer)

    def _require_scale_fits(self, scale: Scale, quantizer: Quantizer) -> None:
        name, levels = type(scale).__name__, quantizer.levels
        if quantizer.num_latents != 1 or not quantizer.is_bounded:
            reason = "latents are not weights" if quantizer.is_bounded else "set is unbounded"
            raise ConfigurationError(
                f"Quantization.scale = {scale!r}: must be None for {type(quantizer).__name__}, "
                f"whose {reason}"
            )
        scale.require_fits(levels)
        scale.require_learns_in_every_step(levels)
        if scale.num_learned(levels) and self.rule.gradient_at is Point.LATENT:
            raise ConfigurationError(
                f"Quantization.scale = {scale!r}: {name} learns its numbers from the gradient at "
                "the quantized weights; rule.gradient_at must be Point.PROXIMAL"
            )

    @property
    def maps(self) -> tuple[tuple[Quantizer, Scale | None], ...]:
        """The quantizer with its scale of layers in no group, and those of the groups."""
        own = (self.quantizer, self.scale)
        return (own, *((group.quantizer, group.scale) for group in self.groups))

    @property
    def uses_prox(self) -> bool:
        """Whether a step needs the proximal weights, which is false for post-training only."""
        pulls = self.pull is not None and self.pull != Constant(0.0)
        return self.rule.uses_prox or pulls

    def group_of_weights(self, model: nn.Module) -> dict[str, WeightGroup | None]:
        """Return the quantized weights of a model with their groups.

        Returns:
            Parameter names with the weight group, or None for a weight in no group.

        Raises:
            ConfigurationError: see `quantlab.models.weights.group_of_weights`.
        """
        layers = [group.layers for group in self.groups]
        places = group_of_weights(model, self.exclude, layers, self.include)
        return {
            name: None if place is None else self.groups[place] for name, place in places.items()
        }

    def full_precision_weights(self, model: nn.Module) -> dict[str, nn.Parameter]:
        """Return the weights that stay in full precision; see `quantlab.models.weights`."""
        return full_precision_weights(model, self.exclude, self.include)


def pull_at(pull: Schedule, step: int, steps_per_epoch: int) -> float:
    """Return the pull theta_t of a step.

    Raises:
        ConfigurationError: see `value_at`. It is also raised if the value exceeds 1.
    """
    value = value_at(pull, step, steps_per_epoch, "quantization.pull")
    if value > 1:
        raise ConfigurationError(
            f"quantization.pull = {brief(pull)}: returned {value:g} at step {step}; must return a "
            "number from 0 to 1"
        )
    return value
