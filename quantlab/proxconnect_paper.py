"""The settings of the ProxConnect paper, under the module name that users' files import."""

from quantlab.papers.proxconnect import *  # noqa: F403
