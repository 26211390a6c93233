"""The Python, the packages and the code that a machine has.

This file is sent to the other machines of a cluster as it is, because they may have another release
of this project or none. So it imports the standard library only, at its top.
"""

import hashlib
import platform
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

PACKAGES = ("torch", "torchvision", "numpy", "safetensors")
"""What determines a result, or reads and writes it. Ray compares its own version and Python's."""
CODE = (
    "quantlab",
    "sweeps/control",
    "sweeps/file_system",
    "sweeps/nodes",
    "sweeps/placement",
    "sweeps/printing",
    "sweeps/spending",
    "sweeps/storage",
    "sweeps/worker",
)
"""Folders with the code that a machine uses when it trains."""


@dataclass(frozen=True)
class Installed:
    """What a machine has."""

    host: str
    """Name of the machine."""
    packages: dict[str, str] = field(default_factory=dict)
    """Version of each package, without the part that says for which GPUs it was built."""
    folder: str = ""
    """The folder of the package `sweeps`; empty if it is not installed."""
    code: str = ""
    """Digest of the code; empty if it is not installed."""

    def difference(self, drivers: "Installed") -> str:
        """Return in which way a machine differs from that of the driver; empty if it does not.

        Args:
            drivers: what the machine of the driver has.
        """
        if not self.code:
            return (
                f"machine {self.host}: quantlab is not installed in the Python of its Ray; install "
                "there what the driver has"
            )
        for package, other in drivers.packages.items():
            own = self.packages.get(package, "")
            if own != other:
                return (
                    f"machine {self.host} has {package} {own or '(none)'}, but the driver on "
                    f"{drivers.host} has {other or '(none)'}; install the same version on all "
                    "machines"
                )
        if self.code != drivers.code:
            return (
                f"machine {self.host} has other code of quantlab (in {self.folder}) than the "
                f"driver on {drivers.host} (in {drivers.folder}); install the same code on all "
                "machines"
            )
        return ""


def installed() -> Installed:
    """Return what this machine has, without importing it."""
    return Installed(platform.node(), {name: _version(name) for name in PACKAGES}, *_code())


def _version(package: str) -> str:
    try:
        return version(package).partition("+")[0]
    except PackageNotFoundError:
        return ""


def _code() -> tuple[str, str]:
    """Return the folder of the code, and its digest."""
    roots = []
    for package in ("quantlab", "sweeps"):
        spec = find_spec(package)
        places = list(spec.submodule_search_locations or ()) if spec is not None else []
        if not places:
            return "", ""
        roots.append(Path(places[0]).parent)
    digest = hashlib.sha256()
    for part in CODE:
        root = roots[0] if part == "quantlab" else roots[1]
        for file in sorted((root / part).rglob("*.py")):
            content = file.read_bytes()
            digest.update(f"{file.relative_to(root).as_posix()}\n{len(content)}\n".encode())
            digest.update(content)
    return str(roots[1] / "sweeps"), digest.hexdigest()
