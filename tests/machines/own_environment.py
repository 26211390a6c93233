"""An environment of Python in the home of a machine's user, as an installation would make it."""

import sys
from pathlib import Path

from tests.machines.machine import USER, Machine

SCRIPTS = ("ray", "mlflow")

PIP_CONFIGURATION = """\
[global]
no-index = true
no-build-isolation = false
"""
"""Machines reach no package index. The second line says that builds are not isolated, in spite of
its words."""


def provide(machine: Machine, *, user: str = USER) -> None:
    """Make ~/venv, which has all packages of this environment without copies of their files.

    It lacks this project, which is installed from a copy as on any other machine.
    """
    packages = [path for path in sys.path if path.endswith("site-packages")]
    here = Path(sys.executable).parent
    own = f"~/venv/lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"
    lines = [
        "set -e",
        f"{sys.base_prefix}/bin/python3 -m venv --without-pip ~/venv",
        f"printf '%s\\n' {' '.join(packages)} > {own}/packages.pth",
    ]
    for script in SCRIPTS:
        lines.append(f'sed "1s|.*|#!$HOME/venv/bin/python|" {here / script} > ~/venv/bin/{script}')
    lines.append("printf '#!/bin/bash\\nexec ~/venv/bin/python -m pip \"$@\"\\n' > ~/venv/bin/pip")
    lines.append("chmod +x ~/venv/bin/{ray,mlflow,pip}")
    machine.run("\n".join(lines), user=user)
    machine.path("/etc/pip.conf").write_text(PIP_CONFIGURATION)
