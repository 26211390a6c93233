"""How to call this command again."""

import os
import shlex
import shutil
import sys

from sweeps.secrets import hide


def command_line(*arguments: str) -> str:
    """How to call this command from here: by its path where the name alone would not be found.

    Passwords are left out.
    """
    program = "sweeps" if shutil.which("sweeps") else os.path.relpath(sys.argv[0])
    if program.endswith(".py"):
        program = f"{sys.executable} -m sweeps"
    return f"{program} {shlex.join(map(hide, arguments))}"
