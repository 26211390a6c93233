"""Transformers: networks of attention and normalization, for text and for images."""
