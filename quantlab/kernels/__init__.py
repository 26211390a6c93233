"""Computations for which torch has no fast kernel."""
