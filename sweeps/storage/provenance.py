"""The code, the libraries and the device with which a trial runs."""

import getpass
import os
import platform
import subprocess
from collections.abc import Mapping
from functools import lru_cache
from importlib.metadata import packages_distributions, version
from pathlib import Path
from secrets import token_hex

from sweeps.storage.records import Origin, Running

_HERE = Path(__file__).parent
PACKAGES = ("torch", "torchvision", "numpy", "ray", "mlflow", "scikit-learn")


@lru_cache(maxsize=1)
def git_commit(folder: Path = _HERE) -> str:
    """Return the commit of the code, with ``+`` if the code has changed since.

    Files outside the packages, such as sweep files that are saved beside them, do not count.

    Args:
        folder: a folder of the repository; that of this package.

    Returns:
        The commit; empty if it is unknown.
    """
    try:
        if folder == _HERE:
            _require_own_repository()
        commit = _git("rev-parse", "HEAD", folder=folder)
        packages = [f":/{name}" for name in ("quantlab", "sweeps", "analysis")]
        changes = _git("status", "--porcelain", "--", *packages, folder=folder)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return commit.decode().strip() + ("+" if changes.strip() else "")


def uncommitted_changes(folder: Path = _HERE) -> dict[str, bytes]:
    """Return how the code that trains differs from its commit.

    Args:
        folder: a folder of the repository; that of this package.

    Returns:
        A diff as ``changes.diff``, and Python files that are not under version control by their
        paths; empty if nothing differs, or without a repository.
    """
    try:
        if folder == _HERE:
            _require_own_repository()
        root = Path(_git("rev-parse", "--show-toplevel", folder=folder).decode().rstrip("\n"))
        names = [name for name in ("quantlab", "sweeps") if (root / name).is_dir()]
        options = ("--no-ext-diff", "--no-textconv", "--no-color")
        diff = _git("diff", *options, "HEAD", "--", *names, folder=root)
        added = _git("ls-files", "-z", "--others", "--exclude-standard", "--", *names, folder=root)
        paths = [path for path in added.decode().split("\0") if path.endswith(".py")]
        files = {path: (root / path).read_bytes() for path in paths}
    except (OSError, subprocess.CalledProcessError):
        return {}
    return files | ({"changes.diff": diff} if diff else {})


def _require_own_repository() -> None:
    """Raise CalledProcessError if this package is only installed within a repository."""
    _git("ls-files", "--error-unmatch", Path(__file__).name)


def _git(*arguments: str, folder: Path = _HERE) -> bytes:
    return subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True).stdout


def analysed_with() -> dict[str, str]:
    """Return the lines on versions in the head of a report."""
    packages = ", ".join(f"{name} {version}" for name, version in package_versions().items())
    return {"analysed at": git_commit() or "unknown commit", "packages": packages}


def running_here(origin: Origin) -> Running:
    """Return the record of a command that trains trials, and is this process."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # the user ID has no name
        user = ""
    return Running(
        command=origin.command,
        folder=origin.folder,
        sources=origin.sources,
        job=batch_job(),
        user=user,
        host=platform.node(),
        process=os.getpid(),
        command_id=command_id(os.getpid()),
    )


@lru_cache(maxsize=1)
def command_id(process: int) -> str:
    """Return the random text that identifies a command in records.

    Args:
        process: number of this process, because a forked one is another command.
    """
    return token_hex(8)


def batch_job() -> str:
    """Return the SLURM job of this process, such as ``SLURM job 77``; empty outside of one."""
    job = os.environ.get("SLURM_JOB_ID", "")
    if array := os.environ.get("SLURM_ARRAY_JOB_ID"):
        job = f"{array}_{os.environ.get('SLURM_ARRAY_TASK_ID', '')}"
    return f"SLURM job {job}" if job else ""


@lru_cache(maxsize=1)
def distributions() -> Mapping[str, list[str]]:
    """Return the names of the installed distributions by the packages that they have.

    Lists of the files of all distributions are read, which takes a second or more.
    """
    return packages_distributions()


@lru_cache(maxsize=8)
def package_versions(*further: str) -> dict[str, str]:
    """Return the versions of Python and of the packages that affect results.

    Args:
        further: importable packages that define a network. Those without a version are left out.
    """
    versions = {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}}
    for package in further:
        for name in distributions().get(package, ()):
            versions.setdefault(name, version(name))
    return versions


@lru_cache(maxsize=1)
def processor_name() -> str:
    """Return the processor and the instructions that torch uses of it, which rounding depends on.

    An example is ``Intel(R) Xeon(R) Platinum 8488C, AVX512``.
    """
    import torch  # which plans and states of trials do not need

    name = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # not on Linux
        lines = []
    name = next((line.partition(":")[2].strip() for line in lines if "model name" in line), name)
    return f"{name}, {torch.backends.cpu.get_cpu_capability()}"


def device_name(device: str) -> str:
    """Return a torch device with its name, such as ``cpu (x86_64)``.

    Args:
        device: a torch device.
    """
    import torch  # which plans and states of trials do not need

    name = platform.machine()
    if device.startswith("cuda"):
        # A failure that is being recorded may be that the device does not exist.
        name = torch.cuda.get_device_name(device) if torch.cuda.is_available() else "not available"
    return f"{device} ({name})"
