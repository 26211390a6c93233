"""The command `sweeps show`, of a sweep, a study or a trial."""

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from quantlab.errors import ConfigurationError
from sweeps.cli.chosen import load_chosen_or_study
from sweeps.cli.inventory import print_study, print_sweep, print_trial
from sweeps.cli.json_output import print_json
from sweeps.inventory.descriptions import sweep_data, trial_data
from sweeps.inventory.known_sweeps import KnownSweep, studies_by_name, sweeps_of
from sweeps.inventory.trials import cell_named, trial_named
from sweeps.spec import Cell, SweepSpec
from sweeps.storage.folder import Storage

if TYPE_CHECKING:
    from sweeps.study import StudySpec


def show(options: argparse.Namespace) -> int:
    """Print a description.

    Args:
        options: the parsed command line.

    Returns:
        The exit code.

    Raises:
        ConfigurationError: there is no such sweep, study or trial.
    """
    storage = Storage(options.storage)
    if not options.sweep:
        if options.trial is None:
            raise ConfigurationError(
                "give the name or the file of a sweep or study, or --trial FINGERPRINT"
            )
        folder = trial_named(options.trial, storage, "--trial")
        data = trial_data(folder, _known(storage))
        print_json(data) if options.json else print_trial(data)
        return 0
    spec = load_chosen_or_study(options)
    if not isinstance(spec, SweepSpec):
        return _show_study(spec, options, storage)
    if options.trial is not None:
        return _show_trial(spec.cells, options, storage)
    data = sweep_data(spec, storage)
    print_json(data) if options.json else print_sweep(data)
    return 0


def _show_study(spec: "StudySpec", options: argparse.Namespace, storage: Storage) -> int:
    from sweeps.searching.known_studies import study_data
    from sweeps.searching.results import cells_of, load, summary_lines

    study = load(spec, storage, options.study_storage)
    if options.trial is not None:
        return _show_trial(cells_of(spec, study, storage), options, storage)
    data = study_data(spec, study, storage)
    if options.json:
        print_json(data)
    else:
        print_study(data, summary_lines(spec, study, storage))
    return 0


def _show_trial(cells: Sequence[Cell], options: argparse.Namespace, storage: Storage) -> int:
    cell = cell_named(cells, options.trial, storage)
    data = trial_data(storage.trial(cell.fingerprint), _known(storage), cell)
    print_json(data) if options.json else print_trial(data)
    return 0


def _known(storage: Storage) -> list[KnownSweep]:
    """Return the sweeps of the storage, and the studies as far as they were recorded."""
    return [*sweeps_of(storage), *studies_by_name(storage).values()]
