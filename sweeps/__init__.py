"""Sweeps of quantized training: grids as values, Ray Tune to run them, MLflow to record them."""
