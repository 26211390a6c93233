"""``python -m sweeps`` is the `sweeps` command."""

import atexit
import gc
import os
import sys
from pathlib import Path


def main() -> int:
    """Run the command, without what Python would take seconds for before and after it.

    Libraries make objects by the hundred thousand when they are imported, and no garbage, which is
    looked for all the same; and once all has been done that was to be done at the end, such as
    writing logs, Python would take every one of these objects apart.

    Returns:
        The exit code; see `sweeps.cli.command.EXIT_CODES`.
    """
    gc.set_threshold(100_000)
    codes: list[int] = []

    @atexit.register  # the first is called last
    def leave() -> None:
        if codes:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(codes[0])

    from sweeps.cli import command

    codes.append(command.main())
    return codes[0]


if __name__ == "__main__":
    # The working folder is looked in first, where a folder called quantlab would pass for ours.
    sys.path.insert(0, str(Path(__file__).parents[1]))
    sys.exit(main())
