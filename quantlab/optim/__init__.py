"""Optimizers of latent weights: for recipes, for anybody's loop, and what is measured of them."""

from quantlab.optim.standalone.prox_optimizer import ProxOptimizer

__all__ = ["ProxOptimizer"]
