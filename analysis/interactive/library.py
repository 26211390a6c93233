"""The chart library of a report's page, as one script that needs no network."""

import hashlib
import os
import tempfile
from functools import cache
from importlib.metadata import version
from pathlib import Path

_PACKAGE = "vl-convert-python"


@cache
def chart_library() -> str:
    """Vega, Vega-Lite and Vega-Embed as the text of one script.

    The script defines ``vegaEmbed`` on ``window``. The package that has it needs two
    seconds to put it together, so that it is kept in the user's cache folder.

    Returns:
        The script, in which no ``</script`` can end an element of a page early.
    """
    file = _file()
    if file is not None and (kept := _whole(file)) is not None:
        return kept
    import vl_convert  # it has 90 MB, and is needed once

    script = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;").replace(
        "</script", r"<\/script"
    )
    if file is not None:
        _keep(script, file)
    return script


def _file() -> Path | None:
    """Where the script is kept; None if the user has no home folder."""
    cached = os.environ.get("XDG_CACHE_HOME", "")
    try:
        folder = Path(cached) if os.path.isabs(cached) else Path.home() / ".cache"
    except RuntimeError:  # in a container with any user ID
        return None
    return folder / "quantlab" / "charts" / f"vega-{version(_PACKAGE)}.js"


def _whole(file: Path) -> str | None:
    """The script that was kept, without its first line, which has its digest."""
    try:
        digest, _, script = file.read_text(encoding="utf-8").partition("\n")
    except (OSError, UnicodeDecodeError):
        return None
    return script if digest == _digest(script) else None


def _keep(script: str, file: Path) -> None:
    """Write the script under its name at once; a folder that cannot be written to is left alone."""
    part = None
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", dir=file.parent, delete=False
        ) as part:
            part.write(f"{_digest(script)}\n{script}")
        os.replace(part.name, file)
    except OSError:
        if part is not None:
            Path(part.name).unlink(missing_ok=True)


def _digest(script: str) -> str:
    return f"// {hashlib.sha256(script.encode()).hexdigest()}"
