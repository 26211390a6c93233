"""Load sweeps and studies, by name or from Python files."""

from typing import TYPE_CHECKING, Any

from sweeps.loading.names import RENAMED_SWEEPS, named_studies, named_sweeps

if TYPE_CHECKING:
    from sweeps.loading.either import load_either
    from sweeps.loading.files import FILE_MODULE_PREFIX, load_study, load_sweep

__all__ = [
    "FILE_MODULE_PREFIX",
    "RENAMED_SWEEPS",
    "load_either",
    "load_study",
    "load_sweep",
    "named_studies",
    "named_sweeps",
]


def __getattr__(name: str) -> Any:
    """Import what loads files, and torch for it, when it is used: names are listed without it."""
    if name in __all__:
        from sweeps.loading import either, files

        return getattr(either if name == "load_either" else files, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
