"""Machines for tests: each has its own network address, processes, host name, /tmp and homes."""

from tests.machines.machine import Machine
from tests.machines.machines import Machines

__all__ = ["Machine", "Machines"]
