"""Watching a sweep: the display of the command that trains it, and that of `sweeps watch`."""
