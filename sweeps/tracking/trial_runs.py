"""The MLflow runs of trials: what a server knows of them, and their deletion."""

import shutil
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Run, ViewType
from mlflow.exceptions import MlflowException

from quantlab import ConfigurationError
from quantlab.errors import CutShortError, first_line
from sweeps.printing.secrets import hide
from sweeps.storage.folder import Storage
from sweeps.tracking.comparison import Folders
from sweeps.tracking.run import trial_name
from sweeps.tracking.uri import TrackingServer

_RUNS_A_PAGE = 500


@dataclass(frozen=True)
class TrialRun:
    """The run of a trial."""

    run_id: str
    fingerprint: str
    sweep: str
    """Name of the sweep that created the run; empty if it is unknown."""
    name: str
    """Name of the run, which is that of the trial in the sweep."""
    is_own: bool
    """Whether this storage has delivered it, and not another one that has the same trial."""


class TrialRuns:
    """The runs of the trials of a storage on a tracking server."""

    def __init__(self, server: TrackingServer, storage: Storage) -> None:
        self._server = server
        self._storage = storage
        self._folders = Folders(server, storage)

    @cached_property
    def _client(self) -> MlflowClient:
        """The client, which creates a database that does not exist."""
        return MlflowClient(tracking_uri=self._server.uri)

    def find(self, fingerprints: Collection[str]) -> dict[str, list[TrialRun]]:
        """Return the runs of trials by their fingerprints: own ones, and those that they share.

        A trial shares the run of another storage that had finished it before. Nothing is written,
        and a database that does not exist is not created.

        Raises:
            ConfigurationError: the server does not answer.
        """
        if self._server.is_embedded and not (self._storage.root / "mlflow.db").exists():
            return {}
        experiments, delivered = set(), set()
        for fingerprint in fingerprints:
            record = self._folders.delivered(self._storage.trial(fingerprint))
            if record is not None:
                experiments.add(record.experiment_id)
                delivered.add(record.run_id)
        found: dict[str, list[TrialRun]] = {}
        try:
            for run in self._runs(sorted(experiments - {""})):
                fingerprint = run.data.tags.get("fingerprint", "")
                if fingerprint not in fingerprints:
                    continue
                is_own = self._folders.is_own(run, self._storage.trial(fingerprint))
                if is_own or run.info.run_id in delivered:
                    found.setdefault(fingerprint, []).append(_trial_run(run, fingerprint, is_own))
        except MlflowException as error:
            raise ConfigurationError(
                f"{self._server.named}: cannot be used ({hide(first_line(error))}); start the "
                "server, or give its URI with --tracking-uri"
            ) from error
        return found

    def size(self, run: TrialRun) -> int:
        """Return the bytes of a run's artifacts; 0 if a server keeps them."""
        folder = self._own_artifacts(run)
        if folder is None:
            return 0
        return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir())

    def delete(self, runs: Iterable[TrialRun]) -> None:
        """Delete own runs, and their artifacts if they are in the storage.

        MLflow can restore a deleted run without its artifacts, until ``mlflow gc`` removes it.

        Raises:
            CutShortError: the server does not answer.
        """
        for run in runs:
            try:
                self._client.delete_run(run.run_id)
            except MlflowException as error:
                raise CutShortError(
                    f"{self._server.named}: cannot be used ({hide(first_line(error))}); run the "
                    "same command again to remove the other trials"
                ) from error
            if (folder := self._own_artifacts(run)) is not None:
                shutil.rmtree(folder, ignore_errors=True)

    def _own_artifacts(self, run: TrialRun) -> Path | None:
        """Return the folder of a run with its artifacts, if it is in the storage."""
        found = self._storage.artifacts.glob(f"*/{run.run_id}")
        return next(found, None) if self._server.is_embedded else None

    def _runs(self, experiments: list[str]) -> Iterator[Run]:
        token = None
        while experiments:
            page = self._client.search_runs(
                experiments, "", ViewType.ACTIVE_ONLY, _RUNS_A_PAGE, page_token=token
            )
            yield from page
            token = page.token
            if not token:
                return


def _trial_run(run: Run, fingerprint: str, is_own: bool) -> TrialRun:
    return TrialRun(
        run_id=run.info.run_id,
        fingerprint=fingerprint,
        sweep=run.data.tags.get("sweep", ""),
        name=trial_name(run),
        is_own=is_own,
    )
