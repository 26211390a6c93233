"""The settings of the ProxConnect paper, under the module's earlier name, for users' files."""

from quantlab.papers.proxconnect import *  # noqa: F403
