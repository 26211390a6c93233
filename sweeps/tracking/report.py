"""A report's files in MLflow: a run that stands for a sweep or a study as a whole."""

from collections.abc import Iterable
from pathlib import Path

from quantlab import ConfigurationError
from sweeps.tracking.comparison import NOTE
from sweeps.tracking.experiment import Connected, reason
from sweeps.tracking.tracker import Tracker

_TAG = "report_of"
"""What the run is found by; its value is the run's name."""


def log_report(
    tracker: Tracker, name: str, description: str, directory: Path, files: Iterable[Path]
) -> str:
    """Log a report's files.

    The run is found again, so that there is one however often this is done. The trials' runs are
    not nested below it: MLflow's UI would hide them all behind one line, and could not sort them.

    Args:
        tracker: of the experiment.
        name: of the run, such as ``sweep digits``.
        description: of the sweep or the study.
        directory: the report's.
        files: those of its files to log.

    Returns:
        The page of a server that shows it; empty for a database.

    Raises:
        ConfigurationError: the server cannot be used.
    """
    connected = tracker.connected()
    try:
        run_id = _run(connected, name, description)
        for file in files:
            below = file.parent.relative_to(directory)
            connected.client.log_artifact(run_id, str(file), (Path("report") / below).as_posix())
        connected.client.set_terminated(run_id)
    except Exception as error:  # each kind of store raises its own
        raise ConfigurationError(
            f"{tracker.server.named}: the report is in {directory}, and could not be logged "
            f"({reason(error)})"
        ) from error
    if not tracker.server.is_server:
        return ""
    return f"{tracker.server.identity}/#/experiments/{connected.experiment_id}/runs/{run_id}"


def _run(connected: Connected, name: str, description: str) -> str:
    found = connected.client.search_runs(
        [connected.experiment_id], f"tags.{_TAG} = '{name}'", max_results=1
    )
    if found:
        return str(found[0].info.run_id)
    run = connected.client.create_run(
        connected.experiment_id, run_name=name, tags={_TAG: name, NOTE: description}
    )
    return str(run.info.run_id)
