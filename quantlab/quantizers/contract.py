"""The contract of a quantizer, tried out: what it says of itself is held to some numbers."""

import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from quantlab.errors import OF_DEVICES, ConfigurationError, ElsewhereError, brief, described
from quantlab.quantizers.base import Quantizer
from quantlab.random_numbers import RandomNumbers
from quantlab.remembering import remembering

SHARPNESSES = (0.0, 0.1, 1.0, 100.0)
"""Where a map is tried if nothing is said of its schedule."""


_Map = Callable[[Tensor], Tensor]


@remembering(64)
def require_contract(
    quantizer: Quantizer,
    sharpnesses: Iterable[float] = SHARPNESSES,
    *,
    device: torch.device | str = "cpu",
) -> None:
    """Make sure that a quantizer is one: see `Quantizer`.

    Its maps must give tensors of the shape and dtype of the weights, finite ones, without changing
    the weights, the same every time unless it is `random`, and nondecreasing ones (of a random
    map: in the mean), as a map is proximal if and only if it is monotone (ProxConnect paper,
    Theorem 3.1). Its hard limit must give levels only. It takes about a millisecond, and torch's
    generators are left as they were.

    Args:
        quantizer: any.
        sharpnesses: where its map is tried.
        device: of the weights that it is tried on.

    Raises:
        ConfigurationError: it is none; the message names the class and what it did.
        ElsewhereError: a map of it raises an error that it might not raise on another device.
    """
    name = type(quantizer).__name__
    random_numbers = RandomNumbers(torch.device(device), seed=0, default_seed=0)
    with random_numbers.in_use(), torch.no_grad():
        try:
            levels = torch.tensor(quantizer.levels, device=device)
            is_random, is_annealed = bool(quantizer.random), bool(quantizer.annealed)
        except Exception as error:
            raise ConfigurationError(f"{name}: raises {described(error)}") from error
        latent = _weights(levels)
        span = float(levels[-1] - levels[0])
        for sharpness in sharpnesses if is_annealed else (0.0,):
            what = f"{name}.prox" + (f" at sharpness {sharpness:.4g}" if is_annealed else "")

            def prox(weights: Tensor, sharpness: float = sharpness) -> Tensor:
                return quantizer.prox(weights, sharpness)

            if is_random:
                _image(prox, latent, what)
                _require_monotone_mean(prox, latent[:: len(latent) // 32], what, span)
            else:
                _require_monotone(latent, _pure_image(prox, latent, what), what, span)
        hard = _pure_image(quantizer.hard, latent, f"{name}.hard")
        _require_monotone(latent, hard, f"{name}.hard", span)
        distance = (hard[:, None] - levels).abs().amin(dim=1)
        if (worst := int(distance.argmax())) is not None and distance[worst] > 1e-5 * span:
            raise ConfigurationError(
                f"{name}.hard gives {float(hard[worst]):.6g} for the weight "
                f"{float(latent[worst]):.6g}: must give levels only, {brief(quantizer.levels)}"
            )


def _weights(levels: Tensor) -> Tensor:
    """float32 numbers in increasing order: within the set, beyond it, and all that is special."""
    span = levels[-1] - levels[0]
    low, high = float(levels[0] - span), float(levels[-1] + span)
    even = torch.linspace(low, high, 241, device=levels.device)
    middles = (levels[1:] + levels[:-1]) / 2
    return torch.cat([even, levels, middles, torch.zeros_like(levels[:1])]).sort().values


def _image(apply: _Map, latent: Tensor, what: str) -> Tensor:
    """What a map gives, if it is of the right kind."""
    given = latent.clone()
    try:
        image: object = apply(given)
    except Exception as error:  # whatever the user's code does
        refused = ElsewhereError if isinstance(error, OF_DEVICES) else ConfigurationError
        raise refused(f"{what}: raises {described(error)}") from error
    if not isinstance(image, Tensor):
        kind = "None" if image is None else f"a {type(image).__module__}.{type(image).__name__}"
        raise ConfigurationError(
            f"{what} gives {kind.replace('builtins.', '')}: must give a torch.Tensor of the "
            "weights' shape"
        )
    if image.device != latent.device:
        raise ConfigurationError(
            f"{what} gives a tensor on {image.device} for weights on {latent.device}: must be the "
            "same"
        )
    if image.shape != latent.shape:
        raise ConfigurationError(
            f"{what} gives shape {tuple(image.shape)} for weights of shape {tuple(latent.shape)}: "
            "must be the same"
        )
    if image.dtype != latent.dtype:
        raise ConfigurationError(
            f"{what} gives {image.dtype} for weights of {latent.dtype}: must be the same"
        )
    if not torch.equal(given, latent):
        raise ConfigurationError(
            f"{what} changes the weights that it is given: must not work in place"
        )
    if not image.isfinite().all():
        worst = int((~image.isfinite()).nonzero()[0])
        raise ConfigurationError(
            f"{what} gives {float(image[worst])} for the weight {float(latent[worst]):.6g}: must "
            "be finite"
        )
    return image


def _pure_image(apply: _Map, latent: Tensor, what: str) -> Tensor:
    image = _image(apply, latent, what).clone()
    if not torch.equal(_image(apply, latent, what), image):
        raise ConfigurationError(
            f"{what} gives something else the second time: must be pure, or its quantizer must say "
            "by its property `random` that it draws random numbers"
        )
    return image


def _require_monotone(latent: Tensor, image: Tensor, what: str, span: float) -> None:
    rises = image.diff()
    worst = int(rises.argmin())
    if rises[worst] < -1e-4 * span:
        raise ConfigurationError(
            f"{what} gives {float(image[worst]):.6g} for the weight {float(latent[worst]):.6g} and "
            f"less, {float(image[worst + 1]):.6g}, for {float(latent[worst + 1]):.6g}: must be "
            "nondecreasing, or it is no proximal map"
        )


def _require_monotone_mean(apply: _Map, latent: Tensor, what: str, span: float) -> None:
    """Falls by no more than six standard errors, over calls that draw for many copies."""
    copies = latent.expand(32, -1).contiguous()
    means = torch.stack([_image(apply, copies, what).mean(dim=0) for _ in range(16)])
    for lag in (1, 8, 24):  # what falls slowly is seen from far only
        rises = means[:, lag:] - means[:, :-lag]
        error = rises.std(dim=0) / math.sqrt(len(means))
        excess = rises.mean(dim=0) + 6 * error + 1e-4 * span
        worst = int(excess.argmin())
        if excess[worst] < 0:
            raise ConfigurationError(
                f"{what} gives, in the mean, less for the weight "
                f"{float(latent[worst + lag]):.6g} than for {float(latent[worst]):.6g}: the mean "
                "must be nondecreasing"
            )
