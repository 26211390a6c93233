"""Optimizers of latent weights: for recipes, for anybody's loop, and what is measured of them."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from quantlab.optim.standalone.prox_optimizer import ProxOptimizer

__all__ = ["ProxOptimizer"]


def __getattr__(name: str) -> Any:
    """Import `ProxOptimizer` when it is used: records of trials are read without torch."""
    if name == "ProxOptimizer":
        from quantlab.optim.standalone.prox_optimizer import ProxOptimizer

        return ProxOptimizer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
