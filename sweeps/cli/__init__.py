"""The `sweeps` command."""

from sweeps.cli.command import main

__all__ = ["main"]
