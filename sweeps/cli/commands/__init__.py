"""The commands of `sweeps`: one file for each.

A file has ``NAME``, ``HELP`` (one sentence), ``add_options(command)``, which adds the options to a
parser, and ``run(options)``, which returns the exit code. Whatever imports torch, pandas, MLflow or
Ray is imported within ``run``, so that help and completion do not wait for it.
"""

COMMANDS = (
    "plan",
    "run",
    "search",
    "slurm",
    "cancel",
    "pause",
    "resume",
    "status",
    "watch",
    "listing",
    "show",
    "log",
    "report",
    "export",
    "verify",
    "archive",
    "reproduce",
    "taxonomy",
    "rm",
    "ui",
    "completion",
)
"""Modules of this package, in the order in which ``sweeps --help`` lists their commands."""
