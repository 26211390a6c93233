"""Bop: binary weights without latents, which flip when an average of their gradients says so."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from quantlab.backward_maps import StraightThrough
from quantlab.errors import ConfigurationError, brief
from quantlab.quantization_sets import BINARY
from quantlab.quantizers import Quantizer
from quantlab.quantizers.nearest import Nearest
from quantlab.recipe import Quantization
from quantlab.scales import Scale
from quantlab.scales.fan_in import FanIn
from quantlab.update_rules import PROX_CONNECT


class Bop(torch.optim.Adam):
    """Bop for binary weights, and Adam for all other parameters.

    A weight w in {-1, 1} has an average m of its gradients g, and the adaptivity rate gamma::

        m <- (1 - gamma) m + gamma g
        w <- -w    if |m| > threshold and m has the sign of w

    Parameters in groups of torch with ``flips=True`` are binary weights. Their learning rate is
    gamma, and the options of Adam have no effect on them. At a step, any number >= 0 among them
    counts as 1 and any other as -1, and m begins with 0. The update is elementwise.

    In a recipe, the latents of all quantized weights are these parameters, so that gamma is the
    learning rate of the recipe times `Quantization.step_scale`.

    Source: K. Helwegen et al., "Latent Weights Do Not Exist: Rethinking Binarized Neural Network
    Optimization" (arXiv 1906.02107), Algorithm 1.
    """

    latent_options: ClassVar[Mapping[str, Any]] = {"flips": True}
    """Options that a recipe's latents have, which tell them from the other parameters."""

    def __init__(
        self,
        params: ParamsT,
        lr: float = 1e-3,
        *,
        threshold: float = 1e-8,
        flips: bool = False,
        **options: Any,
    ) -> None:
        """Create the optimizer.

        Args:
            params: parameters, or groups of them in torch's form.
            lr: learning rate of Adam, and gamma of binary weights.
            threshold: smallest number >= 0 that |m| must exceed for a flip.
            flips: whether the parameters of groups that do not say so are binary weights.
            options: further arguments of `torch.optim.Adam`.

        Raises:
            ValueError: if the threshold is not a finite number >= 0.
        """
        if not 0 <= threshold < float("inf"):
            raise ValueError(f"threshold = {threshold!r}: must be a finite number >= 0")
        super().__init__(params, lr, **options)
        own = {"threshold": threshold, "flips": flips}
        self.defaults |= own
        for group in self.param_groups:
            group |= {**own, **group}

    @torch.no_grad()
    def step(  # type: ignore[override]
        self, closure: Callable[[], float | Tensor] | None = None
    ) -> float | Tensor | None:
        """Update all parameters that have a gradient.

        Args:
            closure: function that recomputes the loss and its gradients.

        Returns:
            The loss that the closure returned, or None without a closure.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        groups = self.param_groups
        for group in groups:
            if group["flips"]:
                self._flip(group)
        self.param_groups = [group for group in groups if not group["flips"]]
        try:
            super().step()
        finally:
            self.param_groups = groups
        return loss

    def _flip(self, group: Mapping[str, Any]) -> None:
        for weight in group["params"]:
            if weight.grad is None:
                continue
            state = self.state[weight]
            if not state:
                state["step"] = torch.tensor(0.0)  # Adam expects it in all states that it loads
                state["gradient_average"] = torch.zeros_like(weight)
            state["step"] += 1
            average = state["gradient_average"].lerp_(weight.grad, group["lr"])
            sign = torch.where(weight < 0, -1.0, 1.0).to(weight.dtype)
            has_flipped = average * sign > group["threshold"]
            weight.copy_(torch.where(has_flipped, -sign, sign))

    @classmethod
    def require_fits(
        cls,
        quantization: Quantization | None,
        further: Iterable[tuple[Quantizer, Scale | None]] = (),
    ) -> None:
        """Check that the weights of a recipe can be trained without latents.

        Args:
            quantization: the recipe's quantization.
            further: quantizers and scales of weights that have others.

        Raises:
            ConfigurationError: if they cannot.
        """
        where = "OptimizerSpec.algorithm = Bop"
        if quantization is None:
            raise ConfigurationError(
                f"{where}: Recipe.quantization = None must be a Quantization, because Bop trains "
                "binary weights; use Adam in full precision"
            )
        wanted = Nearest(BINARY)
        for quantizer, scale in (*quantization.maps, *further):
            if quantizer != wanted:
                raise ConfigurationError(
                    f"{where}: the quantizer must be {wanted!r}, because weights without latents "
                    f"are levels, but is {brief(quantizer)}"
                )
            if scale is not None and not isinstance(scale, FanIn):
                raise ConfigurationError(
                    f"{where}: the scale must be None or FanIn(), because weights without latents "
                    f"do not say where levels stand, but is {brief(scale)}"
                )
        for name, allowed in (
            ("rule", PROX_CONNECT),
            ("pull", None),
            ("backward", StraightThrough()),
        ):
            if (value := getattr(quantization, name)) != allowed:
                raise ConfigurationError(
                    f"{where}: Quantization.{name} = {brief(value)} must be {allowed!r}, because "
                    "weights flip by the gradient at themselves"
                )
