"""The command `sweeps show`, of a sweep, a study or a trial."""

import argparse
from collections.abc import Sequence

from quantlab import ConfigurationError
from sweeps.cli.chosen import load_chosen_or_study
from sweeps.cli.inventory import print_study, print_sweep, print_trial
from sweeps.cli.json_output import print_json
from sweeps.inventory.descriptions import sweep_data, trial_data
from sweeps.inventory.known_sweeps import sweeps_of
from sweeps.inventory.trials import cell_named, trial_named
from sweeps.searching.known_studies import studies_of, study_data
from sweeps.searching.results import cells_of, load, summary_lines
from sweeps.spec import Cell, SweepSpec
from sweeps.storage.folder import Storage


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
        data = trial_data(folder, [*sweeps_of(storage), *studies_of(storage)])
        print_json(data) if options.json else print_trial(data)
        return 0
    spec = load_chosen_or_study(options)
    if isinstance(spec, SweepSpec):
        if options.study_storage:
            raise ConfigurationError(
                f"--study-storage: applies to studies, but {options.sweep} is not one; omit the "
                "option"
            )
        cells: Sequence[Cell] = spec.cells
    else:
        study = load(spec, storage, options.study_storage)
        cells = cells_of(spec, study, storage)
    if options.trial is not None:
        cell = cell_named(cells, options.trial, storage)
        data = trial_data(storage.trial(cell.fingerprint), sweeps_of(storage), cell)
        print_json(data) if options.json else print_trial(data)
    elif isinstance(spec, SweepSpec):
        data = sweep_data(spec, storage)
        print_json(data) if options.json else print_sweep(data)
    else:
        data = study_data(spec, study, storage)
        print_json(data) if options.json else print_study(data, summary_lines(spec, study, storage))
    return 0
