"""Optimizers of latent weights: buffers, the optimizer of a recipe, histograms, flips and bits."""
