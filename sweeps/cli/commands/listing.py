"""The command `sweeps list`; its module cannot be named for it, as `list` is a name of Python."""

import argparse

from sweeps.cli.options import json_option, storage_folder

NAME = "list"
HELP = "List the sweeps and studies, with the states of their trials in this storage."


def add_options(command: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    storage_folder(command)
    json_option(command)


def run(options: argparse.Namespace) -> int:
    """Print the lists, and return the exit code."""
    from sweeps.cli.inventory import print_known
    from sweeps.cli.json_output import print_json
    from sweeps.inventory.files_of_sweeps import other_name_in_file
    from sweeps.inventory.known_sweeps import counted, studies_by_name, sweeps_of
    from sweeps.storage.folder import Storage

    storage = Storage(options.storage)
    studies = list(studies_by_name(storage).values())
    if (storage.root / "optuna.db").exists():
        from sweeps.searching.known_studies import studies_of  # imports Optuna

        studies = studies_of(storage)
    rows = []
    for known in [*sweeps_of(storage), *studies]:
        states = list(known.states(storage).values())
        rows.append(
            {
                "name": known.name,
                "kind": known.kind,
                "file": None if other_name_in_file(known) else known.source or None,
                "last_run": known.time or None,
                "state": known.summary(states),
                "trials": len(states),
                "states": counted(states),
            }
        )
    if options.json:
        print_json({"storage": storage.root, "sweeps": rows})
    else:
        print_known(rows, storage)
    return 0
