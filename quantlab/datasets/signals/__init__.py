"""Datasets of signals (channels, length) instead of images."""
