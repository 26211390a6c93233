"""Measurements before a sweep: how large packs, and how many processes a GPU, should be."""
