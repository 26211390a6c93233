"""Connect to Ray and to the tracking server at the same time, and disconnect at the end."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

from quantlab.tasks import Metric
from sweeps.archive.archive import Archive
from sweeps.connecting.ray_cluster import cluster_address, connect, disconnect
from sweeps.file_system.meeting import meeting
from sweeps.nodes.agreement import Agreement
from sweeps.nodes.inspection import inspected
from sweeps.nodes.installed import installed
from sweeps.placement.resources import Resources
from sweeps.spec import Cell
from sweeps.storage.folder import Storage
from sweeps.tracking.uri import tracking_server

if TYPE_CHECKING:
    from sweeps.tracking.delivery import Announced
    from sweeps.tracking.tracker import Tracker


@contextmanager
def services(
    experiment: str,
    storage: Storage,
    tracking_uri: str | None,
    metric: Metric,
    cells: Sequence[Cell],
    resources: Resources,
    trials: int,
    archive: Archive | None = None,
    cells_at_end: Callable[[], Sequence[Cell]] | None = None,
) -> Iterator[tuple[int, "Announced", Agreement | None]]:
    """Connect to the tracking server, the archive and Ray, and disconnect at the end.

    Importing MLflow and creating its database take seconds, and so does starting Ray, which mostly
    waits. So both happen at the same time. Then the machines of a cluster are inspected.

    Args:
        experiment: the name of the experiment on the tracking server.
        storage: the storage of the trials.
        tracking_uri: the MLflow server; None for that of the environment or of the storage.
        metric: the main metric of the trials' task.
        cells: trials whose records may be missing on the server.
        resources: the resources of each trial.
        trials: how many are to be trained.
        archive: the archive of finished trials; None for none.
        cells_at_end: see `sweeps.tracking.delivery.delivering`.

    Yields:
        How many trials may be pending in Ray, the deliveries to the server and the archive, and
        what the machines of a cluster have in common, which is None without a cluster.

    Raises:
        ConfigurationError: see `connect`, `inspected`, `tracking_server` and
            `sweeps.tracking.delivery.reach`.
    """

    def reached() -> "Tracker":
        from sweeps.tracking.delivery import reach
        from sweeps.tracking.tracker import Tracker

        tracker = Tracker(experiment, storage, tracking_uri, metric)
        reach(tracker, cells)
        return tracker

    is_server = tracking_server(tracking_uri, storage).is_server
    with ThreadPoolExecutor(1) as pool:
        tracking = pool.submit(reached)
        try:
            if is_server:
                tracking.result()  # a server answers, or refuses, at once
            slots = connect(resources, trials)
            tracker = tracking.result()
            storage.share_databases()
            from sweeps.archive.upload import uploading
            from sweeps.tracking.delivery import Deliveries, delivering

            with (
                _agreement(storage, resources) as agreement,
                delivering(tracker, cells, cells_at_end) as delivery,
                uploading(archive, cells, storage) as uploads,
            ):
                try:
                    yield slots, Deliveries(delivery, *uploads), agreement
                finally:
                    disconnect()
        finally:
            disconnect()


@contextmanager
def _agreement(storage: Storage, resources: Resources) -> Iterator[Agreement | None]:
    if cluster_address(resources) is None:
        yield None
        return
    with meeting(storage.root) as place:
        yield inspected(Agreement(storage, storage.mark(), installed(), place))
