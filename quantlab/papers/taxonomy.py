"""Table 1 of the ProxConnect paper: existing methods, as special cases of ProxConnect and of L.

Each row has what the paper says of a method, and the method as a quantization, whose properties
`quantlab.taxonomy.properties_of` finds by trying its optimizer. Where the two differ, the row says
why.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from quantlab.papers import proxconnect
from quantlab.papers.mirror_descent import MD_TANH_S
from quantlab.papers.mirror_descent_settings import Setting
from quantlab.papers.scaled_methods import BWN, PQ_TERNARY, TTQ, TWN, ScaledMethod
from quantlab.quantization_sets import BINARY, TERNARY
from quantlab.quantizers.binary_relax import BinaryRelax
from quantlab.recipe import Quantization, Recipe
from quantlab.schedules import Linear
from quantlab.taxonomy import LevelsFrom, Properties, Trend, properties_of
from quantlab.update_rules import PROX_CONNECT

_BASE = proxconnect.cifar10_full_precision()


@dataclass(frozen=True)
class TaxonomyRow:
    """A row of Table 1."""

    name: str
    """Name in the paper."""
    method: str
    """Name of the method here."""
    quantization: Quantization
    prox_connect: bool | None
    """Whether it is a special case of ProxConnect; None for ProxConnect itself."""
    one_pass: bool
    """Whether the quantizer is computed "in a single neural network pass"."""
    learned: bool
    """Whether it has learnable parameters. The paper counts levels that are computed from the
    weights."""
    rho: Trend | None
    """rho, if the quantizer is L_rho^varrho; None if it is not."""
    varrho: Trend | None
    reasons: Mapping[str, str] = field(default_factory=dict)
    """Field -> why the method as it is here has another value than the paper."""

    def properties(self) -> Properties:
        """Return the properties of the method, in the paper's end-to-end training on CIFAR-10."""
        return properties_of(recipe_of(self.quantization))

    def found(self, properties: Properties) -> dict[str, object]:
        """Return field -> the value of a method with given properties, in the paper's terms."""
        return {
            "prox_connect": None if self.prox_connect is None else properties.prox_connect,
            "one_pass": properties.passes == 1,
            "learned": properties.levels is not LevelsFrom.RECIPE,
            "rho": properties.rho,
            "varrho": properties.varrho,
        }


def recipe_of(quantization: Quantization) -> Recipe:
    """Return the paper's end-to-end training of ResNet20 on CIFAR-10 with a quantization."""
    return replace(_BASE, quantization=quantization, batchnorm_epochs=100)


def binary_relax(levels: tuple[float, ...], mu0: float) -> Quantization:
    """Return BinaryRelax: w = (w* + mu P_Q(w*)) / (1 + mu) in ProxConnect's step (Example 3.3).

    Its paper multiplies mu by a constant in intervals; here mu_t = (1 + t / B) mu0, like rho in the
    ProxConnect paper.

    Args:
        levels: the quantization set.
        mu0: mu at step 0, > 0.
    """
    return Quantization(rule=PROX_CONNECT, quantizer=BinaryRelax(levels), sharpness=Linear(mu0))


def _scaled(method: ScaledMethod, num_levels: int) -> Quantization:
    rate = _BASE.optimizer.learning_rate
    return method.quantization(num_levels, learning_rate=rate, epochs=_BASE.epochs)


_ZERO, _INFINITE, _INCREASING = Trend.ZERO, Trend.INFINITE, Trend.INCREASING

TABLE_1 = (
    TaxonomyRow(
        "ProxQuant-Binary-L1",
        "PQ",
        proxconnect.PQ.quantization(BINARY, 1e-6),
        prox_connect=False,
        one_pass=True,
        learned=False,
        rho=_INCREASING,
        varrho=_INCREASING,
    ),
    TaxonomyRow(
        "ProxQuant-Ternary",
        "PQ-Ternary",
        _scaled(PQ_TERNARY, 3),
        prox_connect=False,
        one_pass=False,
        learned=False,
        rho=None,
        varrho=None,
        reasons={
            "one_pass": "its levels are computed in closed form once per step, like those of TWN",
            "learned": "its levels are computed from the weights, like those of TWN, for which the "
            "paper has a tick",
        },
    ),
    TaxonomyRow(
        "BinaryConnect",
        "BC",
        proxconnect.BC.quantization(BINARY, None),
        prox_connect=True,
        one_pass=True,
        learned=False,
        rho=_INFINITE,
        varrho=_INFINITE,
    ),
    TaxonomyRow(
        "BinaryRelax",
        "BinaryRelax",
        binary_relax(BINARY, 1.0),
        prox_connect=True,
        one_pass=True,
        learned=False,
        rho=_ZERO,
        varrho=_INCREASING,
    ),
    TaxonomyRow(
        "BinaryWeight",
        "BWN",
        _scaled(BWN, 2),
        prox_connect=True,
        one_pass=True,
        learned=True,
        rho=None,
        varrho=None,
    ),
    TaxonomyRow(
        "MirrorDescentView",
        "MD-tanh-s",
        MD_TANH_S.quantization(BINARY, Setting(1.0, beta_scale=1.02, beta_scale_interval=200)),
        prox_connect=True,
        one_pass=True,
        learned=False,
        rho=None,
        varrho=None,
    ),
    TaxonomyRow(
        "TrainedTernary",
        "TTQ",
        _scaled(TTQ, 3),
        prox_connect=True,
        one_pass=True,
        learned=True,
        rho=_INFINITE,
        varrho=_INFINITE,
        reasons={
            "prox_connect": "its latents move against the gradient times W_n, 1 or W_p, which "
            "makes it a case of ProxConnect++",
            "rho": "its thresholds are shares of the largest weight instead of the middles of the "
            "gaps; the paper has a footnote that they may be",
            "varrho": "its thresholds are shares of the largest weight instead of the middles of "
            "the gaps; the paper has a footnote that they may be",
        },
    ),
    TaxonomyRow(
        "TernaryWeight",
        "TWN",
        _scaled(TWN, 3),
        prox_connect=True,
        one_pass=True,
        learned=True,
        rho=None,
        varrho=None,
    ),
    TaxonomyRow(
        "ProxConnect (ours)",
        "PC",
        proxconnect.PC.quantization(TERNARY, 0.01),
        prox_connect=None,
        one_pass=True,
        learned=True,
        rho=_INCREASING,
        varrho=_INCREASING,
        reasons={
            "learned": "the levels of the paper's experiments are fixed; those of ProxConnect with "
            "a scale are not"
        },
    ),
)
"""All rows of Table 1, in its order."""
