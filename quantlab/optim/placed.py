"""Placed: an elementwise map in rows whose levels stand where a scale places them."""

from dataclasses import dataclass

import torch
from torch import Tensor

from quantlab.quantizers import Quantizer
from quantlab.quantizers.base import Sharpness
from quantlab.scales import Placement, Scale


class Placed(Quantizer):
    """w = leave(P(enter(w*); rho)) for one placement, which is held fixed.

    Latents are flat: (..., n), where each row has `row_length` adjacent entries. float16 and
    bfloat16 are computed in float32, and only the result is rounded.
    """

    def __init__(self, of: Quantizer, placement: Placement, row_length: int) -> None:
        """Bind a map to a placement.

        Args:
            of: elementwise map.
            placement: placement of its levels in the rows.
            row_length: number k of weights per row.
        """
        object.__setattr__(self, "levels", of.levels)
        object.__setattr__(self, "of", of)
        object.__setattr__(self, "_placement", placement)
        object.__setattr__(self, "row_length", row_length)

    of: Quantizer
    """The elementwise map."""
    row_length: int
    """Number of weights per row."""
    _placement: Placement

    @property
    def placement(self) -> Placement:
        """Where the levels stand in the rows."""
        return self._placement

    def prox(self, latent: Tensor, sharpness: Sharpness) -> Tensor:
        """Apply the map in the coordinates of the set."""
        rows = self.of.within(self.placement, self.rows(latent), _of_rows(sharpness))
        return rows.flatten(-2).to(latent.dtype)

    def hard(self, latent: Tensor) -> Tensor:
        """Return the nearest level of the row, in the coordinates of the set."""
        nearest: Tensor = self.placement.nearest(self.rows(latent.detach()), self.levels)
        return nearest.flatten(-2).to(latent.dtype)

    def unit(self, latent: Tensor) -> Tensor:
        """Return latents in the coordinates of the set."""
        return self.placement.enter(self.rows(latent)).flatten(-2).to(latent.dtype)

    def is_inside(self, latent: Tensor) -> Tensor:
        """Return whether each latent is between the outermost levels of its row, or at one."""
        if self.placement.is_inverse:
            return super().is_inside(self.unit(latent))
        rows, levels = self.rows(latent), self.placement.levels(self.levels)
        inside = (rows >= levels[..., :1]) & (rows <= levels[..., -1:])
        return inside.flatten(-2)

    def pullback(self, gradient: Tensor, latent: Tensor, sharpness: Sharpness) -> Tensor:
        """Apply the chain rule. Levels that come from the latents count as constants."""
        if (share := self._latent_share(sharpness)) is not None:
            return (gradient * share).to(latent.dtype)
        rows, sharpness = self.rows(latent), _of_rows(sharpness)
        unit = self.placement.enter(rows)
        outer = self.placement.leave_slope(self.of.prox(unit, sharpness))
        inner = self.of.pullback(self.rows(gradient) * outer, unit, sharpness)
        return (inner * self.placement.enter_slope(rows)).flatten(-2).to(latent.dtype)

    def moving(self, latent: Tensor, weights: Tensor, sharpness: Sharpness) -> Tensor:
        """Return the part of proximal weights that moves with the levels: usually all of it.

        Args:
            latent: (..., n) latents.
            weights: (..., n) their proximal weights.
            sharpness: see `prox`.
        """
        if self._latent_share(sharpness) is None:
            return weights
        return (self.hard(latent) * self.of.level_share(sharpness)).to(latent.dtype)

    def _latent_share(self, sharpness: Sharpness) -> Sharpness | None:
        """Return the share of the latents if the map is not leave(P(enter(w*); rho))."""
        return None if self.placement.is_inverse else self.of.latent_share(sharpness)

    def rows(self, flat: Tensor) -> Tensor:
        """Return a flat tensor (..., n) as rows (..., n / k, k), in float32 or float64."""
        return _wide(_rows(flat, self.row_length))


def _rows(flat: Tensor, length: int) -> Tensor:
    return flat.reshape(*flat.shape[:-1], -1, length)


def _wide(numbers: Tensor) -> Tensor:
    return numbers.float() if numbers.dtype in (torch.float16, torch.bfloat16) else numbers


def _of_rows(sharpness: Sharpness) -> Sharpness:
    """Return a sharpness that broadcasts against rows instead of flat latents."""
    if isinstance(sharpness, Tensor) and sharpness.dim():
        return sharpness.unsqueeze(-1)
    return sharpness


class KeptLevels:
    """The map of weights whose levels are placed for the latents of some step, and then kept.

    The state is these latents, so that a placement of any kind can be stored and continued.
    """

    def __init__(self, weight_map: "WeightMap", placed_at: Tensor) -> None:
        """Place the levels.

        Args:
            weight_map: map whose scale has no learned numbers.
            placed_at: (..., n) latents, which are not copied.
        """
        self._map = weight_map
        self._quantizer: Quantizer | None = None
        self._version = -1
        self.placed_at = placed_at
        """(..., n) latents for which the levels were placed last."""

    def place(self, latent: Tensor, step: int) -> None:
        """Place the levels for other latents if it is the turn of a gradient step."""
        assert self._map.scale is not None
        if step % self._map.scale.every == 0:
            self.placed_at.copy_(latent)

    def move(self, memory: Tensor) -> None:
        """Move the state to other memory, in which others may change it."""
        self.placed_at = memory.copy_(self.placed_at)
        self._quantizer = None

    @property
    def quantizer(self) -> Quantizer:
        """The map with the levels. They are computed only if the state has changed."""
        if self._quantizer is None or self._version != self.placed_at._version:
            self._quantizer = self._map.at(self.placed_at)
            self._version = self.placed_at._version
        return self._quantizer


@dataclass(frozen=True)
class WeightMap:
    """The map of a buffer of weights: a quantizer, and how its levels are placed."""

    quantizer: Quantizer
    scale: Scale | None = None
    """Rule that places the levels; None for the levels of the set."""
    row_length: int = 1
    """Number of adjacent weights that share their levels; of no effect without a scale."""

    @property
    def num_learned(self) -> int:
        """The number of learned numbers per row."""
        return 0 if self.scale is None else self.scale.num_learned(self.quantizer.levels)

    @property
    def keeps_levels(self) -> bool:
        """Whether some steps use the levels of an earlier one."""
        return self.scale is not None and self.scale.every > 1

    def at(self, latent: Tensor, learned: Tensor | None = None) -> Quantizer:
        """Return the map with the levels that latents have.

        Args:
            latent: (..., n) latents from which levels are derived.
            learned: (..., n / k * m) learned numbers of the rows; None if there are none.
        """
        if self.scale is None:
            return self.quantizer
        rows = _wide(_rows(latent, self.row_length))
        if learned is not None:
            learned = _wide(_rows(learned, self.num_learned))
        placement = self.scale.place(rows, self.quantizer.levels, learned)
        return Placed(self.quantizer, placement, self.row_length)

    def initial(self, latent: Tensor) -> Tensor:
        """Return the learned numbers that training starts with, flat, in float32 or float64.

        Args:
            latent: (n,) latents. Shorter floats have too few digits for steps of learned numbers,
                and float16 has no number as small as the smallest scale.
        """
        assert self.scale is not None
        rows = _wide(_rows(latent, self.row_length))
        return self.scale.initial(rows, self.quantizer.levels).flatten(-2)

    def learned_gradient(
        self,
        gradient: Tensor,
        carried: Tensor,
        latent: Tensor,
        weights: Tensor,
        learned: Tensor,
    ) -> Tensor:
        """Return the gradient of the learned numbers, flat; see `Scale.gradient`.

        Args:
            gradient: (..., n) gradient of the weights.
            carried: (..., n) gradient of the latents.
            latent: (..., n) latents.
            weights: (..., n) proximal weights, or their part that moves with the levels.
            learned: (..., R m) learned numbers.
        """
        assert self.scale is not None
        return self.scale.gradient(
            _wide(_rows(gradient, self.row_length)),
            _wide(_rows(carried, self.row_length)),
            _wide(_rows(latent, self.row_length)),
            _wide(_rows(weights, self.row_length)),
            self.quantizer.levels,
            _rows(learned, self.num_learned),
        ).flatten(-2)
