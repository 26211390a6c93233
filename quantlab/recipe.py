"""Recipe: everything that determines a trial's result, and nothing else."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from torch import nn

from quantlab.backward_maps import BackwardMap, StraightThrough
from quantlab.datasets import DatasetSpec
from quantlab.errors import ConfigurationError, brief
from quantlab.initial_weights import InitialWeights
from quantlab.models import ModelSpec
from quantlab.models.weights import full_precision_weights, group_of_weights
from quantlab.optimizer_spec import OptimizerSpec, ParameterGroup
from quantlab.plain_values import (
    finite_number,
    require_bool,
    require_count,
    require_instance,
    require_items,
    require_number,
)
from quantlab.quantizers import Quantizer
from quantlab.scales import Scale
from quantlab.schedules import Constant, Cosine, Schedule, value_at
from quantlab.update_rules import Point, UpdateRule

__all__ = [
    "Averaging",
    "OptimizerSpec",
    "ParameterGroup",
    "Quantization",
    "Recipe",
    "WeightGroup",
    "override",
    "pull_at",
]

T = TypeVar("T")


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
    one layer."""
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
            require_instance(self, "sharpness", Schedule)
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
        require_instance(self, "weight", Schedule)
        require_count(self, "start_epoch", 0)


@dataclass(frozen=True, kw_only=True)
class Quantization:
    """How weights become quantized: update rule, quantizer, annealing and scope."""

    rule: UpdateRule
    """Update rule, one of the four in `quantlab.update_rules`."""
    quantizer: Quantizer
    """Proximal map, with its quantization set."""
    sharpness: Schedule = field(default_factory=lambda: Constant(0.0))
    """Sharpness rho_t. It has no effect if neither the quantizer nor the backward map is annealed.
    For a `MirrorMap` without `beta` it is the steepness, and must be set."""
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
    ``"*.in_proj_weight"`` of attention, ``"embedding.weight"`` or ``"*.bias"``; see
    `quantlab.models.weights.quantized_weights`."""
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
        require_instance(self, "sharpness", Schedule, "Linear(0.01)")
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
            value = getattr(self, name)
            if (number := finite_number(value)) is not None and number >= 0:
                object.__setattr__(self, name, Constant(number))
            elif not (value is None or isinstance(value, Schedule)):
                raise ConfigurationError(
                    f"Quantization.{name} = {brief(value)}: must be {allowed}, a Schedule, or None"
                )
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


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The complete description of one training run.

    It does not contain the device, the number of workers, paths or the log level. These do not
    determine the result.
    """

    model: ModelSpec
    dataset: DatasetSpec
    optimizer: OptimizerSpec
    quantization: Quantization | None = None
    """How weights are quantized; None to train the network in full precision."""
    epochs: int
    """Number of epochs of the QUANTIZE stage, >= 1. In full precision there is no other stage."""
    batchnorm_epochs: int = 0
    """Number of epochs after hard quantization, in which the parameters that are not quantized are
    trained."""
    batch_size: int = 128
    """Number of images per gradient step, >= 1. The last batch of an epoch may be smaller."""
    seed: int = 0
    """Seed of the initial weights, the data order and the augmentation, >= 0."""
    initial_weights: InitialWeights | None = None
    """Weights that training starts from; None for random weights drawn with `seed`."""
    select: str = "last"
    """Which network is evaluated and stored in the end: ``"last"`` for that of the last epoch, or
    ``"best"`` for that of the epoch with the highest accuracy on the validation images, the first
    of several. The accuracy is that of hard weights, so that the network is quantized in the end
    (Mirror Descent View for Neural Network Quantization, B.4). The epochs of both stages count."""
    batchnorm_shards: int = 1
    """Number of equal parts of a batch, each of which batch normalization normalizes by its own
    statistics, from 1 to `batch_size`; 1 for the statistics of the whole batch. It does not depend
    on the number of processes or GPUs that train the network together. With 8, one process computes
    what 8 processes without synchronized statistics do."""
    accumulation: int = 1
    """Number of equal parts of a batch whose gradients are computed one after another and added up,
    from 1 to `batch_size`. Without batch normalization, the result is that of the whole batch, up
    to rounding; with it, that of as many `batchnorm_shards`, which must then be 1."""

    def __post_init__(self) -> None:
        require_instance(self, "model", ModelSpec)
        require_instance(self, "dataset", DatasetSpec)
        require_instance(self, "optimizer", OptimizerSpec)
        if self.quantization is not None:
            require_instance(self, "quantization", Quantization)
        if self.initial_weights is not None:
            require_instance(self, "initial_weights", InitialWeights)
        require_count(self, "epochs", 1)
        require_count(self, "batchnorm_epochs", 0)
        require_count(self, "batch_size", 1)
        require_count(self, "seed", 0)
        for name in ("batchnorm_shards", "accumulation"):
            require_count(self, name, 1)
            if getattr(self, name) > self.batch_size:
                raise ConfigurationError(
                    f"Recipe.{name} = {getattr(self, name)}: must be at most "
                    f"Recipe.batch_size = {self.batch_size}, so that no part of a batch is empty"
                )
        if min(self.accumulation, self.batchnorm_shards) > 1:
            raise ConfigurationError(
                f"Recipe.batchnorm_shards = {self.batchnorm_shards}: must be 1 if "
                f"Recipe.accumulation = {self.accumulation}, whose parts are shards themselves"
            )
        if self.select not in ("last", "best"):
            raise ConfigurationError(
                f"Recipe.select = {brief(self.select)}: must be 'last' or 'best'"
            )
        if self.select == "best" and not self.dataset.has_validation_images:
            raise ConfigurationError(
                "Recipe.select = 'best': must be 'last', because "
                f"{type(self.dataset).__name__}.validation_images is 0; hold out validation images "
                "to choose the epoch"
            )
        rate, epochs = self.optimizer.learning_rate, self.epochs + self.batchnorm_epochs
        if isinstance(rate, Cosine) and rate.epochs < epochs:
            raise ConfigurationError(
                f"Cosine.epochs = {rate.epochs}: must be at least {epochs}, the epochs of the "
                "recipe over both stages, because the learning rate is 0 afterwards"
            )
        averaging = self.quantization and self.quantization.averaging
        if averaging and averaging.start_epoch >= self.epochs:
            raise ConfigurationError(
                f"Averaging.start_epoch = {averaging.start_epoch}: must be less than Recipe.epochs "
                f"= {self.epochs}, otherwise no iterate is averaged"
            )
        if self.quantization is None and self.batchnorm_epochs:
            raise ConfigurationError(
                f"Recipe.batchnorm_epochs = {self.batchnorm_epochs}: must be 0 if "
                "Recipe.quantization is None, because no weights are frozen in full precision"
            )


def override(value: T, path: str, new: object) -> T:
    """Return a copy of a (nested) dataclass with one field replaced.

    Args:
        value: a recipe, or any dataclass; it is not changed.
        path: dotted field names, such as ``"quantization.sharpness.rho0"``. An item of a mapping is
            named by its key (``"optimizer.options.momentum"``), an item of a tuple by its position
            (``"quantization.groups.0.quantizer"``).
        new: the field's new value.

    Raises:
        ConfigurationError: if a name on the path is not a field (the message lists the fields), or
            if the value is not allowed.
    """
    changed: T = _override(value, path.split("."), new, path)
    return changed


def _override(value: Any, names: list[str], new: object, path: str) -> Any:
    if not names:
        return new
    name, *rest = names
    if isinstance(value, Mapping):
        return {**value, name: _override(value.get(name), rest, new, path)}
    if isinstance(value, tuple):
        position = int(name) if name.isascii() and name.isdigit() and len(name) < 9 else -1
        if not 0 <= position < len(value):
            raise ConfigurationError(
                f"path {path!r}: {name!r} must be a whole number >= 0 and < {len(value)}, the "
                f"number of items of {brief(value)}"
            )
        changed = _override(value[position], rest, new, path)
        return (*value[:position], changed, *value[position + 1 :])
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        raise ConfigurationError(
            f"path {path!r}: {brief(value)} has no field {name!r}; only dataclasses, mappings and "
            "tuples can be followed"
        )
    known = [item.name for item in dataclasses.fields(value)]
    if name not in known:
        raise ConfigurationError(
            f"path {path!r}: {type(value).__name__} has no field {name!r}; "
            f"its fields are {', '.join(known)}"
        )
    changed = _override(getattr(value, name), rest, new, path)
    try:
        return dataclasses.replace(value, **{name: changed})
    except ConfigurationError:
        raise
    except (TypeError, ValueError) as error:
        raise ConfigurationError(
            f"path {path!r}: the value {brief(new)} is not allowed ({error})"
        ) from error
