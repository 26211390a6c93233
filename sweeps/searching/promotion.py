"""Write a sweep file that compares a study's winner with its known points, with fresh seeds."""

import pprint
from pathlib import Path
from tempfile import NamedTemporaryFile

import optuna

from quantlab import ConfigurationError
from sweeps.searching.results import values_text, winner
from sweeps.storage.record_files import write_atomically
from sweeps.study import WINNER, StudySpec

_GRID = '''"""Does the winner of the study {name} win on seeds it was not chosen by?

Configuration {number} of {tried}, found with {found}.
"""

from sweeps.loading import load_study
from sweeps.searching.confirmation import confirmation_blocks
from sweeps.spec import SweepSpec

SEARCH = load_study({source!r})
WINNER = {params}
REFERENCES = {{label: point for label, point in SEARCH.known.items() if dict(point) != WINNER}}
POINTS = {{{label!r}: WINNER, **REFERENCES}}

SWEEP = SweepSpec(
    name="{name}-confirmed",
    description="the winner of {name} and the known points, with fresh seeds",
    blocks=tuple(
        block for point in POINTS.items() for block in confirmation_blocks(SEARCH, *point)
    ),
    seeds={seeds},
)
'''

_SAME = _GRID.index("{")
"""Length of the text that all these files start with."""


def require_free(path: Path) -> None:
    """Require that ``--promote`` can write its sweep file; called before the search starts.

    Raises:
        ConfigurationError: the name does not end in ``.py``, the folder does not exist or cannot be
            written to, or the path holds something that ``--promote`` did not write.
    """
    if path.suffix != ".py":
        raise ConfigurationError(f"--promote {path}: the file name must end in .py")
    if not path.absolute().parent.is_dir():
        raise ConfigurationError(
            f"--promote {path}: the folder {path.absolute().parent} does not exist; create it first"
        )
    try:
        if path.exists() and not (path.is_file() and _is_confirmation(path)):
            raise ConfigurationError(
                f"--promote {path}: the path exists and was not written by --promote; choose "
                "another path"
            )
        with NamedTemporaryFile(dir=path.absolute().parent, prefix=f".{path.name}."):
            pass
    except OSError as error:
        raise ConfigurationError(
            f"--promote {path}: the file cannot be written ({error.strerror})"
        ) from error


def _is_confirmation(path: Path) -> bool:
    """Return whether `write_confirmation` wrote this file."""
    return path.read_text(encoding="utf-8", errors="replace").startswith(_GRID[:_SAME])


def write_confirmation(spec: StudySpec, source: str, study: optuna.Study, path: Path) -> None:
    """Write a sweep file that trains the winner and the known points on the confirmation seeds.

    Args:
        spec: the study.
        source: the study's name, or the path of its file.
        study: the study in Optuna's storage.
        path: the sweep file to write.

    Raises:
        ConfigurationError: no configuration is complete, or the file cannot be written.
    """
    best = winner(spec, study)
    text = _GRID.format(
        name=spec.name,
        label=WINNER,
        number=best.number,
        tried=sum(trial.state.is_finished() for trial in study.trials),
        found=values_text(spec, best).replace("\\", "\\\\").replace('"', '\\"'),
        source=str(Path(source).resolve()) if source.endswith(".py") else source,
        params=pprint.pformat(dict(best.params), sort_dicts=False, width=96),
        seeds=spec.confirmation_seeds,
    )
    try:
        write_atomically(path, text)
    except OSError as error:
        raise ConfigurationError(
            f"--promote {path}: the file cannot be written ({error.strerror}); the search has "
            "finished, so run the same command again to write it"
        ) from error
