"""Mixtures of proximal maps: their average, and a random one of them at each step."""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add

import torch
from torch import Tensor

from quantlab.errors import ConfigurationError
from quantlab.plain_values import floats
from quantlab.quantizers.base import Quantizer, Sharpness, at_least_float32
from quantlab.quantizers.nearest import Nearest
from quantlab.quantizers.piecewise_linear import PiecewiseLinear


@dataclass(frozen=True)
class Averaged(Quantizer):
    """P = sum_i alpha_i P_i: the average of proximal maps is proximal.

    All members take the quantization set of the mixture. If all of them tend to the projector, so
    does their average; with others among them, such as stochastic rounding, only `hard` is it.
    Source: ProxConnect paper, Theorem 3.2, equation (9).
    """

    members: tuple[Quantizer, ...] = (PiecewiseLinear(), Nearest())
    """The maps P_i, at least one."""
    alphas: tuple[float, ...] = (0.5, 0.5)
    """Their weights, >= 0, of sum 1."""

    def __post_init__(self) -> None:
        super().__post_init__()
        owner = type(self).__name__
        members: object = self.members
        if (
            not isinstance(members, Sequence)
            or not members
            or not all(isinstance(member, Quantizer) for member in members)
        ):
            raise ConfigurationError(
                f"{owner}.members = {members!r}: must be a sequence of at least one Quantizer"
            )
        try:
            alphas = floats(self.alphas)
            total = math.fsum(alphas)
        except (TypeError, ValueError):
            alphas, total = (), math.nan
        if (
            len(alphas) != len(members)
            or not all(alpha >= 0 for alpha in alphas)
            or not math.isclose(total, 1, abs_tol=1e-9)
        ):
            raise ConfigurationError(
                f"{owner}.alphas = {self.alphas!r}: must be {len(members)} numbers >= 0 of sum 1, "
                "one for each of the members"
            )
        own = tuple(dataclasses.replace(member, levels=self.levels) for member in self.members)
        object.__setattr__(self, "members", own)
        if abs(total - 1) > 1e-12:  # not for a rounding error, which another division would move
            alphas = tuple(alpha / total for alpha in alphas)
        object.__setattr__(self, "alphas", alphas)

    @property
    def annealed(self) -> bool:
        """If any member is."""
        return any(member.annealed for member in self.members)

    @property
    def random(self) -> bool:
        """If any member is."""
        return any(member.random for member in self.members)

    @property
    def formula(self) -> str:
        """The sum, and then each member by itself."""
        terms = [f"{alpha:.4g} P{i}(w*)" for i, alpha in enumerate(self.alphas, start=1)]
        members = [
            member.formula.replace("P(w*)", f"P{i}(w*)", 1)
            for i, member in enumerate(self.members, start=1)
        ]
        return "\n".join([f"P(w*) = {' + '.join(terms)}", *members])

    @at_least_float32
    def prox(self, latent: Tensor, sharpness: Sharpness) -> Tensor:
        """The weighted sum of the members' values."""
        weighted = zip(self.alphas, self.members, strict=True)
        return reduce(add, (alpha * member.prox(latent, sharpness) for alpha, member in weighted))


@dataclass(frozen=True)
class RandomChoice(Averaged):
    """At each step one P_i, chosen with probability alpha_i, for all weights of a group alike.

    Its mean over the choice is `Averaged`. The choice comes from torch's default CPU generator.
    Source: ProxConnect paper, section 3, on stochastic quantizers.
    """

    @property
    def random(self) -> bool:
        """Always."""
        return True

    @property
    def formula(self) -> str:
        """That of the mean over the choice, and that it is chosen."""
        return f"at each step, one of the maps by its weight; in the mean\n{super().formula}"

    @at_least_float32
    def prox(self, latent: Tensor, sharpness: Sharpness) -> Tensor:
        """The value of one member, drawn anew."""
        chosen = int(torch.multinomial(torch.tensor(self.alphas, dtype=torch.float64), 1))
        return self.members[chosen].prox(latent, sharpness)
