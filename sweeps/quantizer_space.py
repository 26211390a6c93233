"""Parts of search spaces: update rules, growth laws, quantization sets and proximal maps."""

from collections.abc import Callable, Sequence

from optuna.trial import BaseTrial

from quantlab.models import ModelSpec
from quantlab.models.learned_scales import LearnedScales
from quantlab.quantizers import Quantizer
from quantlab.quantizers.growth import Geometric, Growth, Power, Saturating
from quantlab.quantizers.knots import Half, Knots
from quantlab.quantizers.mixture import Averaged
from quantlab.quantizers.tanh import Tanh
from quantlab.recipe import WeightGroup
from quantlab.scales import Scale
from quantlab.scales.absolute_mean import AbsoluteMean
from quantlab.scales.base import PER
from quantlab.scales.largest import Largest
from quantlab.scales.learned_step import LearnedStep
from quantlab.scales.least_squares import LeastSquares
from quantlab.update_rules import PROX_CONNECT, PROX_QUANT, REVERSE_PROX_CONNECT, UpdateRule

RULES: dict[str, UpdateRule] = {
    "PC": PROX_CONNECT,
    "PQ": PROX_QUANT,
    "rPC": REVERSE_PROX_CONNECT,
}


SCALES: dict[str, Callable[..., Scale]] = {
    "mean": AbsoluteMean,
    "largest": Largest,
    "learned": LearnedStep,
    "least squares": LeastSquares,
}


def suggest_rule(trial: BaseTrial) -> UpdateRule:
    """Suggest an update rule, as the parameter ``rule``: PC, PQ or rPC.

    Args:
        trial: suggests the value.
    """
    return RULES[trial.suggest_categorical("rule", list(RULES))]


def suggest_growth(trial: BaseTrial, name: str, *, saturating: bool = False) -> Growth:
    """Suggest a law of growth, as the parameters ``NAME.law``, ``NAME.start`` and the law's own.

    Args:
        trial: suggests the values.
        name: the parameter of the map that grows.
        saturating: include the law that stays below 1.
    """
    laws = ["power", "geometric", *(["saturating"] if saturating else [])]
    law = trial.suggest_categorical(f"{name}.law", laws)
    start = trial.suggest_float(f"{name}.start", 1e-4, 1.0, log=True)
    if law == "geometric":
        return Geometric(start, trial.suggest_float(f"{name}.factor", 1.02, 1.6))
    exponent = trial.suggest_float(f"{name}.exponent", 0.5, 2.0)
    return Power(start, exponent) if law == "power" else Saturating(start, exponent)


def suggest_scales(trial: BaseTrial, model: ModelSpec) -> ModelSpec:
    """Suggest whether each layer has a learned scale, as the parameter ``scales``.

    Args:
        trial: suggests the value.
        model: the network.

    Returns:
        The network itself, or with learned scales.
    """
    if trial.suggest_categorical("scales", ["fixed", "learned"]) == "fixed":
        return model
    return LearnedScales(base=model)


def suggest_scale(trial: BaseTrial) -> Scale | None:
    """Suggest where the levels stand, as the parameters ``scale`` and ``scale.per``.

    The choices are the levels of the set (``"none"``), the mean absolute weight, the largest one, a
    learned step, and least squares. ``scale.per`` is ``"tensor"`` or ``"channel"``. A rule that
    cannot place the set is refused as the recipe is built, and the search skips the point.

    Args:
        trial: suggests the values.
    """
    chosen = trial.suggest_categorical("scale", ["none", *SCALES])
    if chosen == "none":
        return None
    return SCALES[chosen](per=trial.suggest_categorical("scale.per", list(PER)))


def suggest_groups(
    trial: BaseTrial,
    layers: Sequence[str],
    quantizer: Callable[[tuple[float, ...]], Quantizer],
    most: int = 8,
) -> tuple[WeightGroup, ...]:
    """Suggest a quantization set for each layer, as parameters ``LAYER.levels`` and so on.

    Args:
        trial: suggests the values.
        layers: names or patterns; the layers of one pattern share a set.
        quantizer: makes the map on a set.
        most: largest number of levels of a set.
    """
    return tuple(
        WeightGroup(layers=(layer,), quantizer=quantizer(suggest_levels(trial, most, f"{layer}.")))
        for layer in layers
    )


def suggest_levels(trial: BaseTrial, most: int = 8, prefix: str = "") -> tuple[float, ...]:
    """Suggest a symmetric set of 2 to `most` levels in [-1, 1], with 0 if their number is odd.

    The parameter ``levels`` is their number. The parameters ``level.1``, ``level.2``, ... are
    proportional to the distances between the positive levels, starting from 0.

    Args:
        trial: suggests the values.
        most: largest number of levels.
        prefix: put before the parameters' names.
    """
    count = trial.suggest_int(f"{prefix}levels", 2, most)
    shares = [trial.suggest_float(f"{prefix}level.{i}", 0.1, 1.0) for i in range(1, count // 2 + 1)]
    sums = [round(sum(shares[: i + 1]) / sum(shares), 4) for i in range(len(shares))]
    zero = [0.0] if count % 2 else []
    return (*(-level for level in reversed(sums)), *zero, *sums)


def suggest_quantizer(
    trial: BaseTrial, levels: tuple[float, ...], *, symmetric: bool = True, smooth: bool = True
) -> Quantizer:
    """Suggest a map with free knots between the levels, or its average with a smooth map.

    Args:
        trial: suggests the values.
        levels: the quantization set.
        symmetric: make the map odd, for a symmetric set.
        smooth: include averages with `Tanh`, weighted by the parameter ``tanh.share``.
    """
    count = (len(levels) - 1) * (1 if symmetric else 2)
    halves = tuple(
        Half(
            snap=1.0 if i == 0 else trial.suggest_float(f"snap.{i}", 0.25, 4.0, log=True),
            jump=trial.suggest_float(f"jump.{i}", 0.0, 2.0),
            bend=trial.suggest_float(f"bend.{i}", 0.1, 0.9),
        )
        for i in range(count)
    )
    knots = Knots(
        levels,
        rho=suggest_growth(trial, "rho"),
        varrho=suggest_growth(trial, "varrho", saturating=True),
        halves=halves,
    )
    if not smooth or not trial.suggest_categorical("mixed", [False, True]):
        return knots
    share = trial.suggest_float("tanh.share", 0.1, 0.9)
    return Averaged(
        levels, (knots, Tanh(levels, beta=suggest_growth(trial, "beta"))), (1 - share, share)
    )
