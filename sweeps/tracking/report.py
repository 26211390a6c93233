"""Log a report's files to MLflow, as one run for the whole sweep or study."""

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from quantlab import ConfigurationError
from sweeps.tracking.access.reason import reason
from sweeps.tracking.comparison import NOTE
from sweeps.tracking.experiment import Connected
from sweeps.tracking.tracker import Tracker

_TAG = "report_of"
"""Tag by which the run is found; its value is the run's name."""


def log_report(
    tracker: Tracker, name: str, description: str, directory: Path, files: Iterable[Path]
) -> str:
    """Log a report's files as artifacts of one run.

    The run is created once and found again later. The runs of the trials are not nested below it:
    MLflow's UI would hide them behind one line, and could not sort them.

    Args:
        tracker: of the experiment.
        name: the run's name, such as ``sweep digits``.
        description: of the sweep or the study.
        directory: the report's folder.
        files: the files in it to log.

    Returns:
        The URL of the run in a server's UI; empty for a database.

    Raises:
        ConfigurationError: the server cannot be used, or does not accept a file.
    """
    connected = tracker.connected()
    try:
        run_id = _run(connected, name, description)
        try:
            for file in files:
                folder = Path("report") / file.parent.relative_to(directory)
                connected.client.log_artifact(run_id, str(file), folder.as_posix())
        except BaseException:  # an interruption, too
            with suppress(Exception):  # the first error is the reason
                connected.client.set_terminated(run_id, "FAILED")
            raise
        connected.client.set_terminated(run_id)
    except Exception as error:  # each kind of store raises its own
        raise ConfigurationError(
            f"{tracker.server.named}: the report in {directory} could not be logged "
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
