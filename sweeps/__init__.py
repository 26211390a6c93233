"""Sweeps of quantized training, which Ray Tune runs and MLflow records."""
