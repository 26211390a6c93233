"""Recipe: everything that determines a trial's result, and nothing else."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import nn
from torch.optim import Optimizer

from quantlab.datasets import DatasetSpec
from quantlab.errors import ConfigurationError, brief
from quantlab.initial_weights import InitialWeights
from quantlab.models import ModelSpec
from quantlab.models.weights import full_precision_weights, group_of_weights
from quantlab.plain_values import plain, require_count
from quantlab.quantizers import Quantizer
from quantlab.schedules import Constant, Schedule, value_at
from quantlab.update_rules import UpdateRule

FUSED = (torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW)
"""Optimizers that torch has as a single kernel, for the CPU too; on one flat tensor it is the
fastest of their implementations. The result differs by rounding."""

T = TypeVar("T")


def _check_type(owner: object, name: str, kind: type) -> None:
    value = getattr(owner, name)
    if not isinstance(value, kind):
        raise ConfigurationError(
            f"{type(owner).__name__}.{name} = {brief(value)}: must be a {kind.__name__}"
        )


@dataclass(frozen=True, kw_only=True)
class OptimizerSpec:
    """A torch optimizer with its settings."""

    algorithm: type[Optimizer] = torch.optim.SGD
    """Any `torch.optim.Optimizer` class."""
    learning_rate: Schedule
    """The learning rate of every step."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Further keyword arguments of the class, such as momentum; never changed."""

    def __post_init__(self) -> None:
        _check_type(self, "learning_rate", Schedule)
        if not (isinstance(self.algorithm, type) and issubclass(self.algorithm, Optimizer)):
            raise ConfigurationError(
                f"OptimizerSpec.algorithm = {brief(self.algorithm)}: must be a torch.optim class"
            )
        if not isinstance(self.options, Mapping) or not all(
            isinstance(k, str) for k in self.options
        ):
            raise ConfigurationError(
                f"OptimizerSpec.options = {brief(self.options)}: must be a mapping, such as "
                "{'momentum': 0.9}"
            )
        object.__setattr__(self, "options", plain(dict(self.options)))
        try:
            self.build([nn.Parameter(torch.zeros(1))])
        except ConfigurationError:
            raise
        except Exception as error:  # which torch's and users' optimizers raise in many kinds
            raise ConfigurationError(
                f"OptimizerSpec.options = {brief(self.options)}: {self.algorithm.__name__} "
                f"refuses them ({error})"
            ) from error

    def build(self, parameters: Sequence[nn.Parameter], **execution: bool) -> Optimizer:
        """The optimizer, at the learning rate of step 0.

        Args:
            parameters: what it moves.
            execution: keyword arguments that say how to compute, such as ``fused``; those of
                `options` go before.
        """
        rate = value_at(self.learning_rate, 0, 1, "optimizer.learning_rate")
        settings = {"lr": rate, **execution, **self.options}
        return self.algorithm(parameters, **settings)

    def build_fast(self, parameters: Sequence[nn.Parameter]) -> Optimizer:
        """The optimizer as a single kernel, where torch has one and `options` choose no other."""
        chosen = self.options.keys() & {"fused", "foreach", "differentiable"}
        if self.algorithm in FUSED and not chosen:
            return self.build(parameters, fused=True)
        return self.build(parameters)


def _patterns(owner: object, name: str) -> None:
    """Make a tuple of a field of layer patterns."""
    _items(owner, name, str, "a sequence of patterns")


def _items(owner: object, name: str, kind: type, allowed: str) -> None:
    """Make a tuple of a field whose items are all of one kind."""
    value = getattr(owner, name)
    sequence = isinstance(value, Sequence) and not isinstance(value, str)
    if not sequence or not all(isinstance(item, kind) for item in value):
        raise ConfigurationError(
            f"{type(owner).__name__}.{name} = {brief(value)}: must be {allowed}"
        )
    object.__setattr__(owner, name, tuple(value))


@dataclass(frozen=True, kw_only=True)
class WeightGroup:
    """Layers with a quantizer of their own: a factor of the product map (Theorem 3.2, (10))."""

    layers: tuple[str, ...]
    """Module types (``"Linear"``) and shell-style name patterns; each must match some layer."""
    quantizer: Quantizer
    """Their proximal map."""
    sharpness: Schedule | None = None
    """Their rho_t; None for the common one."""

    def __post_init__(self) -> None:
        _check_type(self, "quantizer", Quantizer)
        if self.sharpness is not None:
            _check_type(self, "sharpness", Schedule)
        _patterns(self, "layers")
        if not self.layers:
            raise ConfigurationError("WeightGroup.layers = (): must name at least one layer")


@dataclass(frozen=True, kw_only=True)
class Averaging:
    """The running average sum_t eta_t w_t / sum_t eta_t of the proximal weights.

    Hard quantization then projects the average instead of the last latents, and every hard
    accuracy is that of the projected average. Source: ProxConnect paper, Corollary 5.2, (35), and
    Corollary 4.2.
    """

    weight: Schedule = field(default_factory=lambda: Constant(1.0))
    """eta_t. The learning rate's schedule gives (35); a constant the ergodic average, which is
    Corollary 4.2 for lambda_t = 1/(t + 1); ``Linear(1, period=1)`` that for 2/(t + 2)."""
    start_epoch: int = 0
    """The first epoch (from 0) whose iterates count: s of (35)."""

    def __post_init__(self) -> None:
        _check_type(self, "weight", Schedule)
        require_count(self, "start_epoch", 0)


@dataclass(frozen=True, kw_only=True)
class Quantization:
    """How weights become quantized: update rule, quantizer, annealing and scope."""

    rule: UpdateRule
    """The cell of the 2x2."""
    quantizer: Quantizer
    """The proximal map, with its quantization set."""
    sharpness: Schedule = field(default_factory=lambda: Constant(0.0))
    """rho_t; without effect where the quantizer has no sharpness."""
    exclude: tuple[str, ...] = ()
    """Module types (``"Linear"``) and shell-style name patterns of layers whose weights stay in
    full precision."""
    latent_bound: float | None = None
    """Clip latent weights to [-bound, bound] after each step; None for no clipping."""
    groups: tuple[WeightGroup, ...] = ()
    """Layers with other quantizers; a layer in none of them takes `quantizer` and `sharpness`."""
    averaging: Averaging | None = None
    """Keep the average of the iterates and quantize that in the end; None for the last iterate."""
    include: tuple[str, ...] = ()
    """Shell-style patterns of the names of further parameters, of two or more dimensions, to
    quantize: ``"*.in_proj_weight"`` of attention, ``"embedding.weight"``."""
    reestimate_batchnorm: bool = False
    """Take batch normalization's running statistics anew, over the training images, wherever hard
    weights are evaluated or the network is hardened; False for those of the training so far, which
    belong to the weights at which the gradient was taken."""

    def __post_init__(self) -> None:
        _check_type(self, "rule", UpdateRule)
        _check_type(self, "quantizer", Quantizer)
        _check_type(self, "sharpness", Schedule)
        _patterns(self, "exclude")
        _patterns(self, "include")
        if not isinstance(self.reestimate_batchnorm, bool):
            raise ConfigurationError(
                f"Quantization.reestimate_batchnorm = {self.reestimate_batchnorm!r}: must be True "
                "or False"
            )
        if self.averaging is not None:
            _check_type(self, "averaging", Averaging)
        _items(self, "groups", WeightGroup, "a sequence of WeightGroup")
        bound = plain(self.latent_bound)
        is_number = isinstance(bound, int | float) and not isinstance(bound, bool)
        if bound is not None and not (is_number and math.isfinite(bound) and bound > 0):
            raise ConfigurationError(
                f"Quantization.latent_bound = {bound!r}: must be a number > 0, or None"
            )
        object.__setattr__(self, "latent_bound", bound)

    def group_of_weights(self, model: nn.Module) -> dict[str, WeightGroup | None]:
        """Name of each weight of a model that is quantized -> its group, None if it is in none.

        Raises:
            ConfigurationError: see `quantlab.models.weights.group_of_weights`.
        """
        layers = [group.layers for group in self.groups]
        places = group_of_weights(model, self.exclude, layers, self.include)
        return {
            name: None if place is None else self.groups[place] for name, place in places.items()
        }

    def full_precision_weights(self, model: nn.Module) -> dict[str, nn.Parameter]:
        """Weights of a model that stay in full precision; see `quantlab.models.weights`."""
        return full_precision_weights(model, self.exclude, self.include)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One training run, completely: what runs is what is stored.

    Device, number of workers, paths and log level are not in it.
    """

    model: ModelSpec
    dataset: DatasetSpec
    optimizer: OptimizerSpec
    quantization: Quantization | None = None
    """None trains the network in full precision."""
    epochs: int
    """Epochs of the QUANTIZE stage (of all training, in full precision), >= 1."""
    batchnorm_epochs: int = 0
    """Epochs after hard quantization, in which only what was never quantized is trained."""
    batch_size: int = 128
    """Images a gradient step, >= 1; the last batch of an epoch may be smaller."""
    seed: int = 0
    """Seed of the initial weights, the data order and the augmentation, >= 0."""
    initial_weights: InitialWeights | None = None
    """Where training starts from; None for random weights of the trial's seed."""

    def __post_init__(self) -> None:
        _check_type(self, "model", ModelSpec)
        _check_type(self, "dataset", DatasetSpec)
        _check_type(self, "optimizer", OptimizerSpec)
        if self.quantization is not None:
            _check_type(self, "quantization", Quantization)
        if self.initial_weights is not None:
            _check_type(self, "initial_weights", InitialWeights)
        require_count(self, "epochs", 1)
        require_count(self, "batchnorm_epochs", 0)
        require_count(self, "batch_size", 1)
        require_count(self, "seed", 0)
        averaging = self.quantization and self.quantization.averaging
        if averaging and averaging.start_epoch >= self.epochs:
            raise ConfigurationError(
                f"Averaging.start_epoch = {averaging.start_epoch}: must be less than Recipe.epochs "
                f"= {self.epochs}, or nothing is ever averaged"
            )
        if self.quantization is None and self.batchnorm_epochs:
            raise ConfigurationError(
                f"Recipe.batchnorm_epochs = {self.batchnorm_epochs}: must be 0 without "
                "quantization, as nothing is ever frozen"
            )


def override(value: T, path: str, new: object) -> T:
    """A copy of a (nested) dataclass with one field replaced.

    Args:
        value: a recipe, or any dataclass; it is not changed.
        path: dotted field names, such as ``"quantization.sharpness.rho0"``; mappings on the way
            (``"optimizer.options.momentum"``) are keyed by name, tuples
            (``"quantization.groups.0.quantizer"``) by position.
        new: the field's new value.

    Raises:
        ConfigurationError: a name on the path is not a field (the message lists those that are), or
            the value is not allowed.
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
                f"path {path!r}: {name!r} must be a position of {brief(value)}, which has "
                f"{len(value)} items, the first at 0"
            )
        changed = _override(value[position], rest, new, path)
        return (*value[:position], changed, *value[position + 1 :])
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        raise ConfigurationError(
            f"path {path!r}: {value!r} has no field {name!r}, because it is no dataclass"
        )
    known = [item.name for item in dataclasses.fields(value)]
    if name not in known:
        raise ConfigurationError(
            f"path {path!r}: {type(value).__name__} has no field {name!r}; "
            f"fields: {', '.join(known)}"
        )
    changed = _override(getattr(value, name), rest, new, path)
    try:
        return dataclasses.replace(value, **{name: changed})
    except ConfigurationError:
        raise
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"path {path!r}: {new!r} is not allowed ({error})") from error
