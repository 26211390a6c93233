"""Optimizers on latent weights, and what they know of the weights that they quantize."""

from quantlab.optim.prox_optimizer import ProxOptimizer

__all__ = ["ProxOptimizer"]
