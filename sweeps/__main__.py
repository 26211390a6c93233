"""``python -m sweeps`` is the `sweeps` command."""

import atexit
import gc
import os
import sys
from pathlib import Path


def main() -> int:
    """Run the command, and end the process without the seconds that Python would take for it.

    Libraries create hundreds of thousands of objects when they are imported. The garbage collector
    would search them again and again, and Python would free each of them at the end. Therefore the
    process ends right after the exit handlers that were registered within the command. Handlers
    that were registered earlier do not run, except under a tracer, a profiler or coverage, where
    the process ends in Python's own way.

    Returns:
        The exit code; see `sweeps.cli.exit_codes.EXIT_CODES`.
    """
    gc.set_threshold(100_000)
    codes: list[int] = []

    def leave() -> None:
        if codes:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(codes[0])

    is_watched = sys.gettrace() or sys.getprofile() or "COVERAGE_PROCESS_START" in os.environ
    if not is_watched:
        atexit.register(leave)  # the handler that is registered first is called last

    try:
        from sweeps.cli import command

        codes.append(command.main())
    except KeyboardInterrupt:  # before the command itself, or after it
        print("\nsweeps: stopped", file=sys.stderr)
        codes.append(130)  # EXIT_INTERRUPTED, whose module would have to be imported now
    return codes[0]


if __name__ == "__main__":
    # The working folder is searched first, and a folder named quantlab in it would be imported.
    sys.path.insert(0, str(Path(__file__).parents[1]))
    sys.exit(main())
