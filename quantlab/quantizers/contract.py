"""Checks of the contract of a quantizer on a few numbers."""

import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from quantlab.errors import OF_DEVICES, ConfigurationError, ElsewhereError, brief, described
from quantlab.quantizers.base import Quantizer
from quantlab.random_numbers import RandomNumbers
from quantlab.remembering import remembering

SHARPNESSES = (0.0, 0.1, 1.0, 100.0)
"""Values of the sharpness at which a map is checked by default."""


_Map = Callable[[Tensor], Tensor]


@remembering(64)
def require_contract(
    quantizer: Quantizer,
    sharpnesses: Iterable[float] = SHARPNESSES,
    *,
    device: torch.device | str = "cpu",
) -> None:
    """Check that a quantizer fulfils the contract of `Quantizer`.

    `prox` and `hard` must return finite tensors of the shape and dtype of the weights, must not
    change the weights, and must be pure unless the quantizer is `random`. Their values must be
    nondecreasing (for a random map, in the mean), because a map is proximal if and only if it is
    monotone (ProxConnect paper, Theorem 3.1), unless the quantizer says that it is not. In a lifted
    space the weights are checked along latents that `lift` returns, `spread` must be the transpose
    of `collapse`, and all methods must accept a leading axis. `hard` must return levels only: on an
    unbounded set, numbers that it maps to themselves, such as `some_levels`. The
    check takes about a millisecond and does not change torch's generators.

    Args:
        quantizer: quantizer to check.
        sharpnesses: values of the sharpness at which the map is checked.
        device: device of the weights.

    Raises:
        ConfigurationError: if the contract is violated. The message names the class and the fault.
        ElsewhereError: if a map raises an error that it might not raise on another device.
    """
    name = type(quantizer).__name__
    random_numbers = RandomNumbers(torch.device(device), seed=0, default_seed=0)
    with random_numbers.in_use(), torch.no_grad():
        try:
            levels = torch.tensor(quantizer.some_levels, device=device)
            is_random, is_annealed = bool(quantizer.random), bool(quantizer.annealed)
            num_latents: object = quantizer.num_latents
            is_monotone = bool(quantizer.is_monotone)
        except Exception as error:
            raise ConfigurationError(f"{name}: raised {described(error)}") from error
        if type(num_latents) is not int or num_latents < 1:
            raise ConfigurationError(
                f"{name}.num_latents = {brief(num_latents)}: must be a whole number >= 1"
            )
        is_lifted = num_latents > 1
        if is_lifted and is_random:
            raise ConfigurationError(
                f"{name}.random = True: must be False with {num_latents} latents per weight, whose "
                "map is applied more than once in a step"
            )
        weights, latent = trial_latents(quantizer, device)
        _require_adjoint(quantizer, weights, latent)
        span = float(levels[-1] - levels[0])
        for sharpness in sharpnesses if is_annealed else (0.0,):
            what = f"{name}.prox" + (f" at sharpness {sharpness:.4g}" if is_annealed else "")

            def prox(weights: Tensor, sharpness: float = sharpness) -> Tensor:
                return quantizer.prox(weights, sharpness)

            if is_random:
                require_image(prox, latent, what)
                _require_monotone_mean(prox, latent[:: len(latent) // 32], what, span)
                continue
            image = _pure_image(prox, latent, what)
            if is_lifted:
                _require_leading_axis(prox, latent, image, what)
                image = require_image(quantizer.collapse, image, f"{name}.collapse", like=weights)
            if is_monotone:
                _require_monotone(weights, image, what, span)
        hard = _pure_image(quantizer.hard, latent, f"{name}.hard", like=weights)
        _require_monotone(weights, hard, f"{name}.hard", span)
        if quantizer.is_bounded:
            distance = (hard[:, None] - levels).abs().amin(dim=1)
            allowed = f"one of {brief(quantizer.levels)}"
        else:
            nearest = torch.where(torch.isin(weights, levels), weights, quantizer.hard(hard))
            distance = (hard - nearest).abs()
            allowed = "a level, and a level for itself"
        if (worst := int(distance.argmax())) is not None and distance[worst] > 1e-5 * span:
            raise ConfigurationError(
                f"{name}.hard returned {float(hard[worst]):.6g} for the weight "
                f"{float(weights[worst]):.6g}; must return {allowed}"
            )


def _weights(levels: Tensor) -> Tensor:
    """Return increasing float32 weights: a grid beyond the set, all levels, middles, and 0."""
    span = levels[-1] - levels[0]
    low, high = float(levels[0] - span), float(levels[-1] + span)
    even = torch.linspace(low, high, 241, device=levels.device)
    middles = (levels[1:] + levels[:-1]) / 2
    return torch.cat([even, levels, middles, torch.zeros_like(levels[:1])]).sort().values


def trial_latents(quantizer: Quantizer, device: torch.device | str) -> tuple[Tensor, Tensor]:
    """Return weights on which maps are tried, and their latents.

    Args:
        quantizer: quantizer of the weights.
        device: device of the weights.

    Raises:
        ConfigurationError: if `lift` returns latents of the wrong shape or type.
    """
    weights = _weights(torch.tensor(quantizer.some_levels, device=device))
    if quantizer.num_latents == 1:
        return weights, weights
    what = f"{type(quantizer).__name__}.lift"
    like = weights.expand(quantizer.num_latents, -1)
    latent = require_image(quantizer.lift, weights, what, like=like)
    _require_leading_axis(quantizer.lift, weights, latent, what)
    return weights, latent


def _require_adjoint(quantizer: Quantizer, weights: Tensor, latent: Tensor) -> None:
    """Check that `spread` is the transpose of `collapse`: the identity with one latent."""
    name = type(quantizer).__name__
    if quantizer.num_latents == 1:
        for method, apply in (("collapse", quantizer.collapse), ("spread", quantizer.spread)):
            if not torch.equal(require_image(apply, weights, f"{name}.{method}"), weights):
                raise ConfigurationError(
                    f"{name}.{method} returned other numbers than its argument; must return its "
                    "argument, because num_latents is 1"
                )
        return
    collapse, spread = f"{name}.collapse", f"{name}.spread"
    point = latent - latent.mean(dim=-1, keepdim=True)
    collapsed = require_image(quantizer.collapse, point, collapse, like=weights)
    gradient = weights.cos()
    spread_out = require_image(quantizer.spread, gradient, spread, like=latent)
    _require_leading_axis(quantizer.collapse, point, collapsed, collapse)
    _require_leading_axis(quantizer.spread, gradient, spread_out, spread)
    if not torch.allclose((point * spread_out).sum(dim=0), collapsed * gradient, rtol=1e-4):
        raise ConfigurationError(
            f"{spread} is not the transpose of {name}.collapse; must return the gradient with "
            "respect to the argument of collapse"
        )


def _require_leading_axis(apply: _Map, latent: Tensor, image: Tensor, what: str) -> None:
    """Check that a map of a lifted space gives the same image for stacked latents."""
    like = image.expand(2, *image.shape)
    stacked = require_image(
        apply, torch.stack([latent, latent]), f"{what} for stacked latents", like=like
    )
    if not torch.allclose(stacked, like, rtol=1e-4, atol=1e-6):
        raise ConfigurationError(
            f"{what} returned another result for latents with a leading axis, which packs have; "
            "must use the second to last axis for the latents of a weight"
        )


def require_image(apply: _Map, latent: Tensor, what: str, *, like: Tensor | None = None) -> Tensor:
    """Return the image of a map after checking its type, device, shape, dtype and values.

    Args:
        apply: the map.
        latent: its argument.
        what: name of the map in messages.
        like: tensor of the shape that the image must have; None for that of the argument.

    Raises:
        ConfigurationError: if the image is not a finite tensor of this shape, or if the map raises
            an error or changes its argument.
        ElsewhereError: if the map raises an error that it might not raise on another device.
    """
    shape = (latent if like is None else like).shape
    given = latent.clone()
    try:
        image: object = apply(given)
    except Exception as error:  # the user's code may raise anything
        refused = ElsewhereError if isinstance(error, OF_DEVICES) else ConfigurationError
        raise refused(f"{what}: raised {described(error)}") from error
    if not isinstance(image, Tensor):
        kind = "None" if image is None else f"a {type(image).__module__}.{type(image).__name__}"
        raise ConfigurationError(
            f"{what} returned {kind.replace('builtins.', '')}; must return a torch.Tensor of the "
            "weights' shape"
        )
    if image.device != latent.device:
        raise ConfigurationError(
            f"{what} returned a tensor on {image.device} for weights on {latent.device}; must "
            "return a tensor on the same device"
        )
    if image.shape != shape:
        wanted = "the same shape" if shape == latent.shape else f"shape {tuple(shape)}"
        raise ConfigurationError(
            f"{what} returned shape {tuple(image.shape)} for weights of shape "
            f"{tuple(latent.shape)}; must return {wanted}"
        )
    if image.dtype != latent.dtype:
        raise ConfigurationError(
            f"{what} returned {image.dtype} for weights of {latent.dtype}; must return the same "
            "dtype"
        )
    if not torch.equal(given, latent):
        raise ConfigurationError(f"{what} changed its argument; must not work in place")
    if not image.isfinite().all():
        worst = int((~image.isfinite()).nonzero()[0][-1])
        wrong = image.flatten(0, -2)[:, worst].sum() if image.dim() > 1 else image[worst]
        cause = "" if latent.dim() > 1 else f" for the weight {float(latent[worst]):.6g}"
        raise ConfigurationError(
            f"{what} returned {float(wrong)}{cause}; must return finite numbers"
        )
    return image


def _pure_image(apply: _Map, latent: Tensor, what: str, *, like: Tensor | None = None) -> Tensor:
    image = require_image(apply, latent, what, like=like).clone()
    if not torch.equal(require_image(apply, latent, what, like=like), image):
        raise ConfigurationError(
            f"{what} returned another result when called again; must be pure, or the property "
            "`random` of the quantizer must be True"
        )
    return image


def _require_monotone(latent: Tensor, image: Tensor, what: str, span: float) -> None:
    latent, image = latent.cpu(), image.cpu()
    highest, places = image.cummax(dim=0)  # a slow fall is large only over several weights
    falls = highest - image
    worst = int(falls.argmax())
    if falls[worst] > 1e-4 * span:
        before = int(places[worst])
        raise ConfigurationError(
            f"{what} returned {float(image[before]):.6g} for the weight "
            f"{float(latent[before]):.6g}, but {float(image[worst]):.6g} for "
            f"{float(latent[worst]):.6g}; must be nondecreasing to be a proximal map"
        )


def _require_monotone_mean(apply: _Map, latent: Tensor, what: str, span: float) -> None:
    """Check that the mean over many draws never falls by more than six standard errors."""
    copies = latent.expand(32, -1).contiguous()
    means = torch.stack([require_image(apply, copies, what).mean(dim=0) for _ in range(16)])
    for lag in (1, 8, 24):  # a slow decrease is visible only over a longer distance
        rises = means[:, lag:] - means[:, :-lag]
        error = rises.std(dim=0) / math.sqrt(len(means))
        excess = rises.mean(dim=0) + 6 * error + 1e-4 * span
        worst = int(excess.argmin())
        if excess[worst] < 0:
            raise ConfigurationError(
                f"{what} returned a smaller mean for the weight {float(latent[worst + lag]):.6g} "
                f"than for {float(latent[worst]):.6g}; the mean must be nondecreasing"
            )
