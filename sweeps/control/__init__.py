"""Requests to commands that train a sweep, their budget, the order of trials, and notices."""
