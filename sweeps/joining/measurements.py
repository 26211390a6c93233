"""JoinedTrials: the measurements of several sources in one, and where each trial is."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from analysis.columns import HISTORY, empty
from analysis.findings import Findings
from analysis.joining.trials import By, Part, join
from analysis.metric import ACCURACY_TOP5, Metric
from analysis.report.failures import FailedTrial
from analysis.report.trials import TrialLinks
from analysis.schema import Measurements, SchemaError
from quantlab import ConfigurationError
from sweeps.joining.source import Source, SweepSource, metrics_of
from sweeps.reporting.computed import results_of
from sweeps.reporting.frames import axes_of_table, history_frame
from sweeps.reporting.importance import importance_frame
from sweeps.reporting.sweep_report import details_of, failed_in, links_of, require_ended
from sweeps.selection.choice import chosen_places
from sweeps.selection.exclusions import Exclusions
from sweeps.spec import SweepSpec
from sweeps.storage.folder import Storage
from sweeps.storage.records import Result

_PANELS = {"histograms": ("configuration_id",), "maps": ("figure", "row", "column")}
"""Columns that name a panel of a figure. One source has it, also if several have the method, or
seeds of the configuration."""


@dataclass(frozen=True)
class JoinedTrials:
    """The trials of several sources, of which each trial is counted once."""

    measurements: Measurements
    names: tuple[str, ...]
    """Names of the sources, in the order in which they were joined."""
    counts: tuple[int, ...]
    """Numbers of trials that count of each source; a trial of several counts for one of them."""
    notes: tuple[str, ...]
    """What a reader should know about trials that several sources have."""
    parts: tuple[tuple[SweepSpec, Storage], ...]
    """Those trials of each sweep that count, and the storage that has them."""

    def details(self, findings: Findings) -> dict[str, pd.DataFrame]:
        """Return the histograms and maps of the selected configurations; see `details_of`."""
        found: dict[str, list[pd.DataFrame]] = {}
        shown: dict[str, set[tuple[str, ...]]] = {name: set() for name in _PANELS}
        for sweep, storage in self.parts:
            for name, frame in details_of(sweep, storage, findings).items():
                own = list(frame[list(_PANELS[name])].itertuples(index=False, name=None))
                found.setdefault(name, []).append(frame[[one not in shown[name] for one in own]])
                shown[name] |= set(own)
        return {name: pd.concat(frames, ignore_index=True) for name, frames in found.items()}

    def links(self, out: Path) -> dict[str, TrialLinks]:
        """Return the links of the trials that have a folder; see `links_of`."""
        return {
            fingerprint: link
            for sweep, storage in self.parts
            for fingerprint, link in links_of(sweep.cells, storage, out).items()
        }

    def failed(self, out: Path) -> list[FailedTrial]:
        """Return the failed trials with their reasons; see `failed_in`."""
        return [
            trial for sweep, storage in self.parts for trial in failed_in(sweep.cells, storage, out)
        ]

    def results(self) -> list[Result]:
        """Return the results of the trials that have finished in a storage."""
        return [
            result for sweep, storage in self.parts for result in results_of(sweep.cells, storage)
        ]


def joined_trials(
    sources: Sequence[Source],
    *,
    by: By | None = None,
    metric: Metric | None = None,
    only: Sequence[str] = (),
    exclusions: Exclusions | None = None,
) -> JoinedTrials:
    """Read and join the trials of several sources; their order has no effect.

    Args:
        sources: sweeps and tables, at least one.
        by: see `analysis.joining.trials.join`.
        metric: see `metrics_of`.
        only: conditions that the trials fulfil; see `sweeps.selection.conditions`.
        exclusions: further trials to leave out.

    Raises:
        ConfigurationError: a source cannot be read, they cannot be joined, no trial fulfils all
            conditions, or none of them has ended.
    """
    sources = sorted(sources, key=lambda source: (source.name, source.tag))
    own, further = metrics_of(sources, metric)
    parts = [Part(source.name, source.trials(own), source.tag) for source in sources]
    try:
        joined = join(parts, own, by)
        trials = Measurements(joined.trials, metric=own).trials
    except SchemaError as error:
        apart = "" if by else "; or keep the trials of each sweep apart with --by sweep"
        raise ConfigurationError(f"{error}{apart}") from error
    part_of_trial = pd.Series(joined.parts, index=joined.trials["trial_id"])
    if only:
        places = chosen_places(axes_of_table(trials), only, "these sweeps and tables")
        trials = trials.iloc[places].reset_index(drop=True)
    if exclusions is not None:
        trials = exclusions.leave_out(trials)
    require_ended(trials, " and ".join(joined.names))
    in_parts = part_of_trial.loc[trials["trial_id"]]
    of_sweeps = []
    for place, source in enumerate(sources):
        if isinstance(source, SweepSource):
            fingerprints = set(in_parts.index[in_parts == place])
            if fingerprints:
                of_sweeps.append((source.part(fingerprints), source.storage))
    histories = [history_frame(sweep, storage, own) for sweep, storage in of_sweeps]
    histories = [frame for frame in histories if len(frame)]
    return JoinedTrials(
        Measurements(
            trials,
            history=pd.concat(histories, ignore_index=True) if histories else empty(HISTORY),
            importance=importance_frame(trials, own),
            metric=own,
            further=further or (ACCURACY_TOP5,),
        ),
        joined.names,
        tuple(int((in_parts == place).sum()) for place in range(len(sources))),
        tuple(joined.notes()),
        tuple(of_sweeps),
    )
