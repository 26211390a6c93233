"""The code, the libraries and the device with which a trial runs."""

import platform
import subprocess
from functools import lru_cache
from importlib.metadata import packages_distributions, version
from pathlib import Path

PACKAGES = ("torch", "torchvision", "numpy", "ray", "mlflow", "scikit-learn")


@lru_cache(maxsize=1)
def git_commit() -> str:
    """Return the commit of this package, with ``+`` if files have changed; empty if unknown."""
    folder = Path(__file__).parent

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", *arguments], cwd=folder, check=True, capture_output=True, text=True
        ).stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("+" if git("status", "--porcelain") else "")
    except (OSError, subprocess.CalledProcessError):
        return ""


def analysed_with() -> dict[str, str]:
    """Return the lines on versions in the head of a report."""
    packages = ", ".join(f"{name} {version}" for name, version in package_versions().items())
    return {"analysed at": git_commit() or "unknown commit", "packages": packages}


@lru_cache(maxsize=8)
def package_versions(*further: str) -> dict[str, str]:
    """Return the versions of Python and of the packages that affect results.

    Args:
        further: importable packages that define a network. Those without a version are left out.
    """
    versions = {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}}
    for package in further:
        for name in packages_distributions().get(package, ()):
            versions.setdefault(name, version(name))
    return versions


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
