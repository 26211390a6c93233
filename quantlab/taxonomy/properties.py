"""The properties of a method in Table 1 of the ProxConnect paper, from what its optimizer does."""

from dataclasses import dataclass
from enum import Enum

import torch
from torch import Tensor

from quantlab.errors import ConfigurationError
from quantlab.recipe import Recipe
from quantlab.taxonomy.probe import Probe
from quantlab.taxonomy.shifts import Shifts, Trend, shifts_of, trend_of

STEPS_PER_EPOCH = 100
"""Number of gradient steps per epoch of the probed schedules. Trends do not depend on it."""
_STEPS = 5
"""Number of steps, from the first to the last, at which a method is probed."""
_LINES = 64
"""Number of lines along which a map of tensors is tried for monotonicity."""
_POINTS = 256
"""Number of points on such a line."""
_ZOOMS = 3
"""How many times a line is reduced to its steepest interval."""
_ROW = 8
"""Number of weights of the tensors on these lines."""
_SIZE = 2048
"""Number of weights of the tensor on which maps are compared, which is more than L_rho^varrho needs
for 16 levels."""
_ROUNDING = 1e-10
"""Largest difference that counts as a rounding error."""
_SPAN = 1.6
"""Largest weight of the probes, in units of the largest level."""


class LevelsFrom(Enum):
    """Where the levels of a tensor come from."""

    RECIPE = "fixed"
    """They are the numbers in the recipe."""
    WEIGHTS = "from the weights"
    """They, or the thresholds between them, are computed from the tensor at every step."""
    TRAINING = "learned"
    """They, or numbers that determine them, have a gradient of their own."""


@dataclass(frozen=True)
class Properties:
    """What a method is, as Table 1 of the ProxConnect paper asks it.

    All are found by trying the optimizer of the method at several steps of its training.
    """

    prox_connect: bool
    """Whether every step is that of ProxConnect, equation (31): the network has the weights P(w*)
    when the gradient is computed, and w* moves against this gradient, times a positive number that
    is the same for all weights. P may be any map, and Adam or another optimizer that moves every
    weight against its gradient may take the step (section 6)."""
    passes: int
    """Number of evaluations of the network per step."""
    levels: LevelsFrom
    is_elementwise: bool
    """Whether the image of a weight depends on that weight only, with learned numbers fixed."""
    is_monotone: bool
    """Whether the map never decreases: no tensors x and y were found with (P(x) - P(y)) (x - y) <
    0. Every proximal map has this property, and an elementwise map that has it is proximal (Theorem
    3.1). Of a random map, it is what the map says of its mean."""
    rho: Trend | None
    """How rho changes if the map is L_rho^varrho between the outermost levels of a set that does
    not depend on the weights; None if it is another map."""
    varrho: Trend | None
    """How varrho changes; None if the map is not L_rho^varrho."""

    @property
    def is_piecewise_linear(self) -> bool:
        """Whether the map is L_rho^varrho."""
        return self.rho is not None


def properties_of(recipe: Recipe) -> Properties:
    """Return the properties of a method with its schedules, as a recipe has it.

    Layers in groups of `Quantization.groups` are not considered.

    Args:
        recipe: a recipe with a quantization. Its network and data are not used.

    Raises:
        ConfigurationError: if the recipe is in full precision, or if its quantizer or backward map
            cannot be used.
    """
    if recipe.quantization is None:
        raise ConfigurationError(
            "Recipe.quantization = None: must be a Quantization to have properties of a method"
        )
    last = recipe.epochs * STEPS_PER_EPOCH - 1
    steps = sorted({round(last * part / (_STEPS - 1)) for part in range(_STEPS)})
    reach = _SPAN * max(map(abs, recipe.quantization.quantizer.some_levels))
    line = torch.linspace(-reach, reach, _SIZE, dtype=torch.float64)[None]
    probe = Probe(recipe, line, STEPS_PER_EPOCH)
    beyond = line * max(1.0, _SPAN * max(map(abs, probe.levels())) / reach)
    is_elementwise = all(_is_elementwise(probe, beyond, step) for step in steps)
    shifts = _shifts(probe, steps) if is_elementwise else None
    own = Probe(recipe, line, STEPS_PER_EPOCH, plain=False)
    moves = [one.step(beyond, step) for one in (probe, own) for step in steps]
    if recipe.quantization.quantizer.random:
        is_monotone = recipe.quantization.quantizer.is_monotone
    elif is_elementwise:
        images = [probe.image(beyond, step) for step in steps]
        is_monotone = all(bool((image.diff() >= -_ROUNDING).all()) for image in images)
    else:
        is_monotone = not _falls(recipe, steps)
    return Properties(
        prox_connect=all(move.is_of_prox_connect for move in moves),
        passes=max(move.passes for move in moves),
        levels=_levels_from(probe, is_elementwise),
        is_elementwise=is_elementwise,
        is_monotone=is_monotone,
        rho=None if shifts is None else trend_of([one.rho for one in shifts]),
        varrho=None if shifts is None else trend_of([one.varrho for one in shifts]),
    )


def _levels_from(probe: Probe, is_elementwise: bool) -> LevelsFrom:
    if probe.learns:
        return LevelsFrom.TRAINING
    return LevelsFrom.RECIPE if is_elementwise else LevelsFrom.WEIGHTS


def _is_elementwise(probe: Probe, line: Tensor, step: int) -> bool:
    """Whether images stay if every other weight of the tensor changes."""
    image = probe.image(line, step)[:, ::2]
    for factor in (2.5, 0.01):
        changed = line.clone()
        changed[:, 1::2] *= factor
        if not torch.allclose(probe.image(changed, step)[:, ::2], image, rtol=0, atol=_ROUNDING):
            return False
    return True


def _falls(recipe: Recipe, steps: list[int]) -> bool:
    """Whether a map of tensors decreases somewhere on some lines, at some step.

    Along x + a v, the product P(x + a v) v of a monotone map does not decrease in a. Where it grows
    least, a fall may be hidden between two points, so that the interval is searched again. About
    half of the weights stay on each line.
    """
    generator = torch.Generator().manual_seed(0)
    points, directions = torch.randn(2, _LINES, _ROW, generator=generator, dtype=torch.float64)
    directions *= torch.rand(_LINES, _ROW, generator=generator) < 0.5
    probe = Probe(recipe, points[:1].expand(_POINTS, -1), STEPS_PER_EPOCH)
    for step, point, direction in (
        (step, *line) for step in steps for line in zip(points, directions, strict=True)
    ):
        low, high = -2.0, 2.0
        for _ in range(_ZOOMS):
            along = torch.linspace(low, high, _POINTS, dtype=torch.float64)
            growth = (probe.image(point + along[:, None] * direction, step) @ direction).diff()
            if growth.min() < -_ROUNDING:
                return True
            place = int(growth.argmin())
            low, high = along[place].item(), along[place + 1].item()
    return False


def _shifts(probe: Probe, steps: list[int]) -> list[Shifts] | None:
    """Return the shifts at every step; None if the map is not L_rho^varrho at one of them."""
    if probe.quantization.quantizer.random:
        return None
    levels, found = probe.levels(), []
    for step in steps:

        def image(points: Tensor, step: int = step) -> Tensor:
            return probe.image(points[None], step)[0]

        shifts = shifts_of(image, levels)
        if shifts is None:
            return None
        found.append(shifts)
    return found
