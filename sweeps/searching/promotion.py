"""From a study's winner to a grid that confirms it, or does not, on seeds it was not chosen by."""

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

from optuna.trial import FixedTrial

from sweeps.loading import load_study
from sweeps.spec import Block, SweepSpec

SEARCH = load_study({source!r})
WINNER = {params}
REFERENCES = {{label: point for label, point in SEARCH.known.items() if dict(point) != WINNER}}


def block(label, point):
    return Block(label, base=SEARCH.recipe(FixedTrial(dict(point))))


SWEEP = SweepSpec(
    name="{name}-confirmed",
    description="the winner of {name} and the points that were known, on fresh seeds",
    blocks=(block({label!r}, WINNER), *(block(*point) for point in REFERENCES.items())),
    seeds={seeds},
)
'''

_SAME = _GRID.index("{")
"""So many letters all these files begin with."""


def require_free(path: Path) -> None:
    """Before a search begins: that its winner can be written to a file.

    Raises:
        ConfigurationError: it is no Python file, has no folder, or is something else already.
    """
    if path.suffix != ".py":
        raise ConfigurationError(f"--promote {path}: must end in .py, as files of sweeps do")
    if not path.absolute().parent.is_dir():
        raise ConfigurationError(f"--promote {path}: there is no folder {path.absolute().parent}")
    try:
        if path.exists() and not (path.is_file() and _is_confirmation(path)):
            raise ConfigurationError(
                f"--promote {path}: is there already, and no sweep of a winner"
            )
        with NamedTemporaryFile(dir=path.absolute().parent, prefix=f".{path.name}."):
            pass
    except OSError as error:
        raise ConfigurationError(
            f"--promote {path}: cannot be written to ({error.strerror})"
        ) from error


def _is_confirmation(path: Path) -> bool:
    """Whether such a file was written there before."""
    return path.read_text(encoding="utf-8", errors="replace").startswith(_GRID[:_SAME])


def write_confirmation(spec: StudySpec, source: str, study: optuna.Study, path: Path) -> None:
    """Write a sweep's file: the winner against the study's known points.

    Args:
        spec: the study.
        source: its name, or its file's path.
        study: in Optuna's storage.
        path: of the file.

    Raises:
        ConfigurationError: nothing has won yet, or the file cannot be written.
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
            f"--promote {path}: cannot be written to ({error.strerror}); the search is over, and "
            "the same command writes it"
        ) from error
