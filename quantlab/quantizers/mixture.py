"""Mixtures of proximal maps: their average, and a random choice at each step."""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add

import torch
from torch import Tensor

from quantlab.errors import ConfigurationError, brief
from quantlab.plain_values import floats
from quantlab.quantizers.base import Quantizer, Sharpness, at_least_float32
from quantlab.quantizers.nearest import Nearest
from quantlab.quantizers.piecewise_linear import PiecewiseLinear


@dataclass(frozen=True)
class Averaged(Quantizer):
    """P = sum_i alpha_i P_i, a convex combination of proximal maps, which is itself proximal.

    All members use the quantization set of the mixture. If all of them converge to the projector,
    the average does, too. With other members, such as stochastic rounding, it does not, and only
    `hard` is the projector. Source: ProxConnect paper, Theorem 3.2, equation (9).
    """

    members: tuple[Quantizer, ...] = (PiecewiseLinear(), Nearest())
    """The maps P_i, at least one."""
    alphas: tuple[float, ...] = (0.5, 0.5)
    """The coefficients alpha_i, >= 0, which sum to 1."""

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
                f"{owner}.alphas = {self.alphas!r}: must be {len(members)} numbers >= 0 that sum "
                "to 1, one per member"
            )
        for member in self.members:
            if not member.is_bounded:
                raise ConfigurationError(
                    f"{owner}.members = {brief(members)}: must be maps onto the levels of the "
                    f"mixture, but the set of {type(member).__name__} is unbounded"
                )
        own = tuple(dataclasses.replace(member, levels=self.levels) for member in self.members)
        for member in own:
            if member.num_latents != 1:
                raise ConfigurationError(
                    f"{owner}.members = {brief(members)}: must be maps with one latent per weight, "
                    f"but {type(member).__name__} has {member.num_latents}"
                )
        object.__setattr__(self, "members", own)
        if abs(total - 1) > 1e-12:  # not for a rounding error, which another division would move
            alphas = tuple(alpha / total for alpha in alphas)
        object.__setattr__(self, "alphas", alphas)

    @property
    def annealed(self) -> bool:
        """Whether any member is annealed."""
        return any(member.annealed for member in self.members)

    @property
    def random(self) -> bool:
        """Whether any member is random."""
        return any(member.random for member in self.members)

    @property
    def fixes_levels(self) -> bool:
        """Whether all members fix the levels."""
        return all(member.fixes_levels for member in self.members)

    @property
    def vanishes_at_zero(self) -> bool:
        """Whether all members vanish, among those with a coefficient."""
        pairs = zip(self.members, self.alphas, strict=True)
        return all(member.vanishes_at_zero for member, alpha in pairs if alpha)

    @property
    def is_monotone(self) -> bool:
        """Whether all members are nondecreasing."""
        return all(member.is_monotone for member in self.members)

    @property
    def formula(self) -> str:
        """The sum, followed by the formula of each member."""
        terms = [f"{alpha:.4g} P{i}(w*)" for i, alpha in enumerate(self.alphas, start=1)]
        members = [
            member.formula.replace("P(w*)", f"P{i}(w*)", 1)
            for i, member in enumerate(self.members, start=1)
        ]
        return "\n".join([f"P(w*) = {' + '.join(terms)}", *members])

    @at_least_float32
    def prox(self, latent: Tensor, sharpness: Sharpness) -> Tensor:
        """Return the weighted sum of the members' images."""
        weighted = zip(self.alphas, self.members, strict=True)
        return reduce(add, (alpha * member.prox(latent, sharpness) for alpha, member in weighted))

    def pullback(self, gradient: Tensor, latent: Tensor, sharpness: Sharpness) -> Tensor:
        """Return the weighted sum of the members' pullbacks; see `Quantizer.pullback`."""
        weighted = zip(self.alphas, self.members, strict=True)
        return reduce(
            add,
            (alpha * member.pullback(gradient, latent, sharpness) for alpha, member in weighted),
        )


@dataclass(frozen=True)
class RandomChoice(Averaged):
    """One map P_i per step, drawn with probability alpha_i for all weights of a group.

    The mean over the draws is `Averaged`. The draw comes from torch's default CPU generator.
    Source: ProxConnect paper, section 3, on stochastic quantizers.
    """

    @property
    def random(self) -> bool:
        """Always true."""
        return True

    @property
    def formula(self) -> str:
        """The formula of the mean, and a line that says that one map is drawn per step."""
        return (
            f"at each step, one of the maps is drawn by its weight; the mean is\n{super().formula}"
        )

    @at_least_float32
    def prox(self, latent: Tensor, sharpness: Sharpness) -> Tensor:
        """Draw a member and return its image."""
        chosen = int(torch.multinomial(torch.tensor(self.alphas, dtype=torch.float64), 1))
        return self.members[chosen].prox(latent, sharpness)
