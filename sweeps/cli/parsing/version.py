"""The option ``--version``: the versions of this program, and of the packages that matter."""

import argparse
from collections.abc import Sequence
from typing import Any


class VersionAction(argparse.Action):
    """Print the versions, and end the program."""

    def __init__(self, option_strings: Sequence[str], dest: str, **settings: Any) -> None:
        super().__init__(option_strings, dest, nargs=0, **settings)

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        print(versions())
        parser.exit()


def versions() -> str:
    """Return a line for each version."""
    import platform
    from importlib.metadata import version

    from sweeps.storage.provenance import git_commit, package_versions

    commit = git_commit()
    lines = {
        "quantlab": version("quantlab") + (f" (commit {commit})" if commit else ""),
        **package_versions(),
        "optuna": version("optuna"),
        "system": platform.platform(),
    }
    width = max(map(len, lines))
    return "\n".join(f"{name:{width}}  {value}" for name, value in lines.items())
