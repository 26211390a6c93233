"""Checks of the contract of a backward map on a few numbers."""

from collections.abc import Iterable

import torch
from torch import Tensor

from quantlab.backward_maps.base import BackwardMap, StraightThrough
from quantlab.errors import ConfigurationError, described
from quantlab.quantizers.base import Quantizer
from quantlab.quantizers.contract import SHARPNESSES, require_image, trial_latents
from quantlab.random_numbers import RandomNumbers
from quantlab.remembering import remembering


def require_positive_sharpness(
    backward: BackwardMap, quantizer: Quantizer, sharpnesses: Iterable[float]
) -> None:
    """Check that the sharpness of a trial is not always 0 if a map vanishes there.

    Args:
        backward: backward map of the weights.
        quantizer: quantizer of the weights.
        sharpnesses: sharpness at several steps of the trial.

    Raises:
        ConfigurationError: if it is 0, as it is if the recipe does not set it.
    """
    if any(sharpnesses):
        return
    for part in (quantizer, backward):
        if part.vanishes_at_zero:
            raise ConfigurationError(
                f"Quantization.sharpness: is 0 at all steps, where {type(part).__name__} has one "
                "value for all weights; set it to a schedule > 0, such as Linear(1.0)"
            )


@remembering(64)
def require_backward_contract(
    backward: BackwardMap,
    quantizer: Quantizer,
    sharpnesses: Iterable[float] = SHARPNESSES,
    *,
    device: torch.device | str = "cpu",
) -> None:
    """Check that a backward map fulfils the contract of `BackwardMap` with a quantizer.

    `apply` must return a finite tensor of the shape and dtype of the latents, must not change its
    arguments, and must return the same result when it is called again, and for latents with a
    leading axis. The check takes about a millisecond and does not change torch's generators.

    Args:
        backward: backward map to check.
        quantizer: a quantizer that fulfils its own contract.
        sharpnesses: values of the sharpness at which the map is checked.
        device: device of the weights.

    Raises:
        ConfigurationError: if the contract is violated. The message names the class and the fault.
        ElsewhereError: if the map raises an error that it might not raise on another device.
    """
    name = type(backward).__name__
    if type(backward) is StraightThrough:
        return
    backward.require_fits(quantizer)
    is_lifted = quantizer.num_latents != 1
    random_numbers = RandomNumbers(torch.device(device), seed=0, default_seed=0)
    with random_numbers.in_use(), torch.no_grad():
        weights, latent = trial_latents(quantizer, device)
        gradient = torch.linspace(-1, 1, len(weights), device=device).roll(len(weights) // 3)
        try:
            is_annealed = bool(backward.annealed) or bool(quantizer.annealed)
        except Exception as error:
            raise ConfigurationError(f"{name}: raised {described(error)}") from error
        for sharpness in sharpnesses if is_annealed else (0.0,):
            what = f"{name}.apply" + (f" at sharpness {sharpness:.4g}" if is_annealed else "")

            def apply(latent: Tensor, sharpness: float = sharpness, what: str = what) -> Tensor:
                own = gradient.expand(*latent.shape[: latent.dim() - 1 - is_lifted], -1)
                given = own.clone()
                found = backward.apply(given, latent, sharpness, quantizer)
                if not torch.equal(given, own):
                    raise ConfigurationError(f"{what} changed its argument; must not work in place")
                return found

            found = require_image(apply, latent, what).clone()
            if not torch.equal(require_image(apply, latent, what), found):
                raise ConfigurationError(
                    f"{what} returned another result when called again; must be pure"
                )
            both = torch.stack([latent, latent])
            stacked = require_image(apply, both, f"{what} for stacked latents")
            if not torch.allclose(stacked, found.expand_as(both), rtol=1e-4, atol=1e-6):
                raise ConfigurationError(
                    f"{what} returned another result for latents with a leading axis, which packs "
                    "have; must be elementwise in the weights, whose axis is the last one"
                )
