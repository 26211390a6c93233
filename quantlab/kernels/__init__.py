"""GPU kernels for computations for which torch has no fast kernel."""
