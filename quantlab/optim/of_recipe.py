"""The optimizers of a recipe, for the parameters of a model."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from quantlab.backward_maps import BackwardMap
from quantlab.backward_maps.contract import (
    require_backward_contract,
    require_positive_sharpness,
)
from quantlab.errors import ConfigurationError
from quantlab.models.weights import layer_of
from quantlab.optim.bop import Bop
from quantlab.optim.latent_optimizer import ELEMENTWISE, LatentOptimizer
from quantlab.quantizers import Quantizer
from quantlab.quantizers.contract import require_contract
from quantlab.recipe import OptimizerSpec, Recipe
from quantlab.scales import Scale
from quantlab.scales.contract import require_scale_contract
from quantlab.schedules import Schedule, StepFunction
from quantlab.settings.step_functions import (
    AtStep,
    averaging_of,
    pull_of,
    require_end,
    sharpness_of,
)
from quantlab.update_rules import POST_TRAINING


def optimizer_of(recipe: Recipe, model: nn.Module, steps_per_epoch: int) -> LatentOptimizer:
    """Build the optimizer of the QUANTIZE stage, or of training in full precision.

    Args:
        recipe: recipe that says which weights are quantized, and how.
        model: network whose parameters the optimizer takes over.
        steps_per_epoch: number of gradient steps per epoch, for the schedules.

    Raises:
        ConfigurationError: if a name in the recipe matches no layer, if a quantizer or the
            backward map violates its contract (see `require_contract`, `require_backward_contract`
            and `require_scale_contract`), if a scale does not fit a weight (see
            `Scale.require_fits_weight`), if the optimizer does not fit (see
            `require_optimizer_fits`), if the sharpness after the last step is no number, if the
            pull exceeds 1 at the first step or after the last one, or if a stage has no parameters
            to train.
    """
    quantization = recipe.quantization
    require_optimizer_fits(recipe)
    if quantization is None:
        return plain_optimizer(recipe.optimizer, model)
    groups = quantization.groups
    annealing = {
        id(group): sharpness_of(quantization, group.quantizer, group.sharpness, steps_per_epoch)
        for group in groups
    }
    weights, own_sharpness, scales = {}, {}, {}
    for name, group in quantization.group_of_weights(model).items():
        parameter = model.get_parameter(name)
        if group is None:
            weights[name] = parameter, quantization.quantizer
        else:
            weights[name] = parameter, group.quantizer
            own_sharpness[name] = annealing[id(group)]
        if (scale := (group or quantization).scale) is not None:
            scale.require_fits_weight(parameter.shape, name, layer_of(model, name))
            scales[name] = scale
    members = {id(parameter) for parameter, _ in weights.values()}
    others = [p for p in model.parameters() if p.requires_grad and id(p) not in members]
    if recipe.batchnorm_epochs and not others:
        raise ConfigurationError(
            f"Recipe.batchnorm_epochs = {recipe.batchnorm_epochs}: must be 0, because all "
            f"parameters of {type(model).__name__} are quantized and none is left to train; set it "
            "to 0, add biases or normalization, or name a layer in quantization.exclude"
        )
    common = sharpness_of(quantization, quantization.quantizer, None, steps_per_epoch)
    num_steps = recipe.epochs * steps_per_epoch
    for sharpness in (common, *annealing.values()):
        require_end(sharpness, num_steps)
    require_maps(
        quantization.backward,
        zip(
            quantization.maps,
            [
                tuple(map(sharpness, (0, num_steps - 1)))
                for sharpness in (common, *annealing.values())
            ],
            strict=True,
        ),
        next(iter(weights.values()))[0].device,
    )
    return LatentOptimizer(
        weights,
        others,
        make_base=recipe.optimizer.build_fast,
        rule=quantization.rule,
        sharpness=common,
        own_sharpness=own_sharpness,
        latent_bound=quantization.latent_bound,
        averaging=averaging_of(quantization.averaging, steps_per_epoch, num_steps),
        # The final weights have the pull of the next step.
        pull=pull_of(quantization.pull, steps_per_epoch, num_steps),
        backward=quantization.backward,
        step_scale=step_scale_of(
            quantization.step_scale, recipe.optimizer.algorithm, steps_per_epoch
        ),
        own_options=_own_options(
            recipe.optimizer, model, [parameter for parameter, _ in weights.values()]
        ),
        scales=scales,
        clip_norm=recipe.optimizer.clip_norm,
        flat=recipe.optimizer.algorithm in ELEMENTWISE,
    )


def require_maps(
    backward: BackwardMap,
    maps: Iterable[tuple[tuple[Quantizer, Scale | None], tuple[float, ...]]],
    device: torch.device,
) -> None:
    """Check the contracts of all maps of a quantization.

    Args:
        backward: backward map of all weights.
        maps: each quantizer and its scale, with values of its sharpness.
        device: device of the weights.

    Raises:
        ConfigurationError: see `require_contract`, `require_backward_contract` and
            `require_scale_contract`.
    """
    maps = list(maps)
    for (quantizer, _), tried in maps:
        try:
            require_positive_sharpness(backward, quantizer, tried)
            require_contract(quantizer, tried, device=device)
            require_backward_contract(backward, quantizer, tried, device=device)
        except ConfigurationError as error:
            if error.__cause__ is None:
                raise
            raise error.__cause__ from None  # the map's own error is the most helpful one here
    for (quantizer, scale), _ in maps:
        if scale is not None:
            require_scale_contract(scale, quantizer.levels, device=device)


def require_optimizer_fits(recipe: Recipe) -> None:
    """Check that the base optimizer can train the quantized weights of a recipe.

    Raises:
        ConfigurationError: if it cannot; see `Bop.require_fits`.
    """
    if issubclass(recipe.optimizer.algorithm, Bop):
        recipe.optimizer.algorithm.require_fits(recipe.quantization)


def plain_optimizer(spec: OptimizerSpec, model: nn.Module) -> LatentOptimizer:
    """Build an optimizer of all parameters that require a gradient, without quantization.

    Raises:
        ConfigurationError: if no parameter requires a gradient.
    """
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not trained:
        raise ConfigurationError(
            f"{type(model).__name__} has no trainable parameter: must have at least one with "
            "requires_grad = True"
        )
    return LatentOptimizer(
        {},
        trained,
        make_base=spec.build_fast,
        rule=POST_TRAINING,
        sharpness=lambda step: 0.0,
        own_options=_own_options(spec, model),
        clip_norm=spec.clip_norm,
        flat=spec.algorithm in ELEMENTWISE,
    )


def learning_rate_of(spec: OptimizerSpec, steps_per_epoch: int) -> StepFunction:
    """Return the learning rate as a function of the gradient step."""
    return AtStep(spec.learning_rate, steps_per_epoch, "optimizer.learning_rate")


def step_scale_of(
    scale: Schedule | None, algorithm: type[Optimizer], steps_per_epoch: int
) -> StepFunction | None:
    """Return sigma_t.

    Args:
        scale: see `Quantization.step_scale`.
        algorithm: class of the base optimizer.
        steps_per_epoch: number of gradient steps per epoch.

    Raises:
        ConfigurationError: if steps of the base optimizer may not follow its learning rate.
    """
    if scale is None:
        return None
    if algorithm not in ELEMENTWISE:
        raise ConfigurationError(
            f"Quantization.step_scale = {scale!r}: OptimizerSpec.algorithm must be one of "
            f"{', '.join(known.__name__ for known in ELEMENTWISE)}, whose steps follow the "
            f"learning rate, but is {algorithm.__name__}"
        )
    return AtStep(scale, steps_per_epoch, "quantization.step_scale")


def _own_options(
    spec: OptimizerSpec, model: nn.Module, quantized: Sequence[nn.Parameter] = ()
) -> list[tuple[list[nn.Parameter], dict[str, Any]]]:
    """Return the parameters of each group with the options that torch's groups have for them.

    Args:
        spec: optimizer with its groups.
        model: network that the groups match.
        quantized: weights whose latents the optimizer updates.
    """
    members = spec.members_of_groups(model)
    own = [
        (parameters, group.own_options)
        for parameters, group in zip(members, spec.groups, strict=True)
    ]
    if not issubclass(spec.algorithm, Bop):
        return own
    latents = {id(parameter) for parameter in quantized}
    grouped = {id(parameter) for parameters in members for parameter in parameters}
    own.append(([one for one in quantized if id(one) not in grouped], {}))
    return [
        ([one for one in parameters if (id(one) in latents) == flips], options | extra)
        for parameters, options in own
        for flips, extra in ((True, dict(Bop.latent_options)), (False, {}))
    ]
