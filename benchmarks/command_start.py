"""How long commands of `sweeps` that only look take, in times of an empty Python program.

Each command is run in turn with `python -c pass`, and each checkout in turn with the others. The
storage is empty. The first command finds no outline of its sweep in the cache.

    python benchmarks/command_start.py [CHECKOUT ...]

An earlier checkout to compare with is made by `git worktree add FOLDER COMMIT`.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from measuring import write

ROOT = Path(__file__).parents[1]
START = "from sweeps.__main__ import main; sys.exit(main())"
ENVIRONMENT = dict(os.environ)
COMMANDS = {
    "--help": ("--help",),
    "plan digits, first": ("plan", "digits"),
    "plan digits": ("plan", "digits"),
    "status digits": ("status", "digits"),
    "plan FILE.py": ("plan", "mine.py"),
}


def seconds(command: list[str], folder: Path) -> float:
    """Return the wall time of a command."""
    start = time.perf_counter()
    done = subprocess.run(command, cwd=folder, env=ENVIRONMENT, capture_output=True, check=False)
    taken = time.perf_counter() - start
    assert done.returncode in (0, 1), done.stderr  # `status` of an unfinished sweep is 1
    return taken


def measured(checkouts: dict[str, Path], repeats: int) -> dict[str, dict[str, dict[str, Any]]]:
    """Return the seconds and the ratios of each command, for each checkout."""
    found: dict[str, dict[str, dict[str, list[float]]]] = {
        name: {commit: {"seconds": [], "ratios": []} for commit in checkouts} for name in COMMANDS
    }
    with tempfile.TemporaryDirectory() as folder:
        ENVIRONMENT["XDG_CACHE_HOME"] = f"{folder}/cache"
        shutil.copy(ROOT / "sweeps" / "grids" / "digits.py", f"{folder}/mine.py")
        for repeat in range(-1, repeats):  # the first round fills the disk's cache
            for name, arguments in COMMANDS.items():
                for commit, checkout in checkouts.items():
                    if name.endswith("first"):
                        shutil.rmtree(f"{folder}/cache/quantlab", ignore_errors=True)
                    nothing = seconds([sys.executable, "-c", "pass"], Path(folder))
                    start = f"import sys; sys.path.insert(0, {str(checkout)!r}); {START}"
                    taken = seconds([sys.executable, "-c", start, *arguments], Path(folder))
                    if repeat >= 0:
                        found[name][commit]["seconds"].append(taken)
                        found[name][commit]["ratios"].append(taken / nothing)
    return found


def main() -> None:
    """Measure, and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkouts", type=Path, nargs="*", default=[ROOT], metavar="CHECKOUT")
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    checkouts = {commit_of(path): path.resolve() for path in options.checkouts}
    found = measured(checkouts, options.repeats)
    medians = {
        name: {
            commit: {what: round(statistics.median(values), 2) for what, values in each.items()}
            for commit, each in of_name.items()
        }
        for name, of_name in found.items()
    }
    write("command_start", {"repeats": options.repeats, "medians": medians})


def commit_of(checkout: Path) -> str:
    """Return the short name of the commit of a checkout."""
    command = ["git", "rev-parse", "--short=7", "HEAD"]
    return subprocess.run(
        command, cwd=checkout, capture_output=True, text=True, check=True
    ).stdout.strip()


if __name__ == "__main__":
    main()
