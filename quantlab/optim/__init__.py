"""Optimizers of latent weights: buffers, the optimizer of a recipe, histograms, flips and bits."""

from quantlab.optim.prox_optimizer import ProxOptimizer

__all__ = ["ProxOptimizer"]
