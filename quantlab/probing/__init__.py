"""Measurements before a sweep: the size of packs, and the number of processes per GPU."""
