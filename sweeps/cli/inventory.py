"""What `sweeps list`, `show`, `log` and `rm` print."""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.columns import Columns
from rich.console import Console
from rich.filesize import decimal
from rich.text import Text

from analysis.text import plain
from sweeps.inventory.descriptions import when
from sweeps.inventory.removal import Removal
from sweeps.printing.number_of import number_of
from sweeps.storage.folder import Storage, TrialState
from sweeps.storage.output import for_terminal
from sweeps.terminal.table import Column, as_text, fitted

_WIDEST = 100
"""Columns of the widest learning curve."""
_NAMED = 12
"""Most trials that `sweeps rm` names."""


def print_known(rows: Sequence[Mapping[str, Any]], storage: Storage) -> None:
    """Print the sweeps and studies of a storage, and those that have not started in it.

    Args:
        rows: see `sweeps.cli.commands.listing`.
        storage: the storage.
    """
    console = Console(highlight=False)
    started = [row for row in rows if row["state"] != TrialState.WAITING.value]
    if started:
        _print_table(
            ("name", "kind", "trials", "state", "states"),
            [
                (
                    row["name"],
                    row["kind"],
                    str(row["trials"]),
                    row["state"],
                    counts_text(row["states"]),
                )
                for row in started
            ],
        )
        others = [row["name"] for row in started if row["last_run"] is None]
        if others and len(others) < len(started):
            print(f"Only trials that they share with others were run of: {', '.join(others)}\n")
        for row in started:
            if row["file"] is not None:
                console.print(Text(f"{row['name']} is in {os.path.relpath(row['file'])}"))
    else:
        console.print(Text(f"{storage.root}: no sweep and no study has started"))
    for kind, plural in (("sweep", "sweeps"), ("study", "studies")):
        others = [
            f"{row['name']} ({row['trials']})" if row["trials"] else row["name"]
            for row in rows
            if row["kind"] == kind and row not in started
        ]
        if others:
            trials = ", with their numbers of trials" if kind == "sweep" else ""
            console.print(Text(f"\n{plural} that have not started{trials}:"))
            console.print(Columns(map(Text, others), padding=(0, 2), column_first=True))


def counts_text(states: Mapping[str, int]) -> str:
    """Return text such as ``90 COMPLETE, 3 WAITING``."""
    return ", ".join(f"{count} {state}" for state, count in states.items())


def print_sweep(shown: Mapping[str, Any]) -> None:
    """Print a sweep: its trials by block, and the settings that all of them share.

    Args:
        shown: see `sweeps.inventory.descriptions.sweep_data`.
    """
    console = Console(highlight=False)
    about = shown["description"]
    console.print(Text(plain(f"{shown['name']}: {about}" if about else shown["name"])))
    rows = []
    for block in shown["blocks"]:
        axes = {**block["axes"], "seed": [str(seed) for seed in block["seeds"]]}
        lines = [plain(f"{name}: {', '.join(values)}") for name, values in axes.items()]
        states = [f"{count} {state}" for state, count in block["states"].items()]
        rows.append(
            (plain(block["label"]), "\n".join(lines), str(block["trials"]), "\n".join(states))
        )
    _print_table(("block", "axes and seeds", "trials", "states"), rows)
    console.print(Text("The settings that all trials share:"))
    _print_settings(shown["recipe"])
    console.print(Text(f"\ntrials in {shown['storage']}: {counts_text(shown['states'])}"))


def print_study(shown: Mapping[str, Any], summary: Iterable[str]) -> None:
    """Print a study: its summary, and its best configurations with their parameters.

    Args:
        shown: see `sweeps.searching.known_studies.study_data`.
        summary: lines on its states and its best configuration, the name of the study first.
    """
    if shown["description"]:
        print(plain(shown["description"]))
    print("\n".join(summary))
    complete = [row for row in shown["configuration_list"] if row["state"] == "COMPLETE"]
    print(f"\n{shown['finished']} of {shown['configurations']} configurations have finished:")
    for row in complete:
        values = ", ".join(f"{name} {value:.4g}" for name, value in row["values"].items())
        params = ", ".join(f"{name}={_brief(value)}" for name, value in row["params"].items())
        label = f" ({row['label']})" if row["label"] else ""
        print(plain(f"  {row['number']}{label}: {values}; {params}"))


def _brief(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def print_trial(shown: Mapping[str, Any]) -> None:
    """Print a trial: its state and result, its recipe, and its learning curves.

    Args:
        shown: see `sweeps.inventory.descriptions.trial_data`.
    """
    from sweeps.terminal.curves import curves, main_metric_of  # imports torch

    result = shown["result"] or {}
    _print_identity(shown)
    metrics = {
        f"{split} {name.removeprefix(f'{split}_').replace('_', ' ')}": f"{value:.4g}"
        for split in ("validation", "test")
        for name, value in result.items()
        if name.startswith(f"{split}_") and isinstance(value, float)
    }
    _print_facts(
        {
            "ended": when(result.get("time")),
            "epochs": len(shown["epochs"]),
            **metrics,
            "pack": f"{result['pack']} trials" if result.get("pack", 1) > 1 else "",
            "device": result.get("device"),
            "host": result.get("host"),
            "warning": result.get("warning"),
            "error": (shown["failure"] or result).get("error"),
        }
    )
    print("\nrecipe:")
    _print_settings(shown["recipe"])
    metric = main_metric_of(shown["epochs"])
    for text in curves(shown["epochs"], metric, width=min(Console().width, _WIDEST)):
        print(f"\n{text}")


def print_log(shown: Mapping[str, Any]) -> None:
    """Print the failure of a trial and its output.

    Args:
        shown: see `sweeps.inventory.descriptions.log_data`.
    """
    _print_identity(shown)
    if (failure := shown["failure"]) is not None:
        where = f" on {failure['host']}" if failure["host"] else ""
        print(f"\nIt failed at {when(failure['time'])}{where}: {plain(failure['error'])}")
        if failure["traceback"]:
            print(f"\n{for_terminal(failure['traceback']).rstrip()}")
    outputs = {"It printed": shown["output"]}
    outputs |= {
        f"{name}, of another process": text for name, text in shown["further_outputs"].items()
    }
    for title, text in outputs.items():
        print(f"\n{title}:\n{text.rstrip()}" if text else "\nIt printed nothing.")


def _print_identity(shown: Mapping[str, Any]) -> None:
    sweeps = ", ".join(shown["sweeps"])
    of_sweeps = f" (of {sweeps})" if sweeps else ""
    print(plain(f"{shown['name'] or 'trial'}{of_sweeps}"))
    _print_facts({key: shown[key] for key in ("fingerprint", "state", "folder")})


def _print_settings(settings: Mapping[str, Any]) -> None:
    """Print the fields of a recipe that are set, one a line."""
    console = Console(highlight=False)
    for path, value in settings.items():
        if value is not None and value != "":
            console.print(Text(plain(f"  {path} = {value}")), soft_wrap=True)


def _print_facts(facts: Mapping[str, object]) -> None:
    """Print facts that are known, one a line."""
    for name, value in facts.items():
        if value not in (None, ""):
            print(f"{name:<26}{plain(str(value))}")


def print_removal(found: Removal, *, what: str, runs: int, run_bytes: int, is_done: bool) -> None:
    """Print what `sweeps rm` would remove or has removed.

    Args:
        found: the trials.
        what: whose trials they are.
        runs: number of their MLflow runs.
        run_bytes: bytes of the artifacts of these runs.
        is_done: whether they were removed.
    """
    verb = "removed" if is_done else "would be removed"
    size = sum(trial.size for trial in found.trials) + run_bytes + sum(found.others.values())
    mlflow = f" and {number_of(runs, 'MLflow run')}" if runs else ""
    counts: dict[str, int] = {}
    for trial in found.trials:
        counts[trial.state.value] = counts.get(trial.state.value, 0) + 1
    states = f" ({counts_text(counts)})" if counts else ""
    freed = "were freed" if is_done else "would be freed"
    trials = number_of(len(found.trials), "trial")
    print(f"{what}: {trials}{states}{mlflow} {verb}; {decimal(size)} {freed}")
    _print_some(f"{trial.fingerprint}  {trial.name}".rstrip() for trial in found.trials)
    for path in found.others:
        print(f"  {_relative(path)} ({decimal(found.others[path])})")
    warned = [f"{trial.fingerprint}: {trial.warning}" for trial in found.trials if trial.warning]
    if warned:
        print(f"{len(warned)} of these {'is' if len(warned) == 1 else 'are'} needed:")
        _print_some(warned)
    if found.kept:
        print(f"{number_of(len(found.kept), 'trial')} kept:")
        _print_some(f"{kept.fingerprint}: {kept.reason}" for kept in found.kept)


def _print_some(lines: Iterable[str]) -> None:
    lines = list(lines)
    shown = lines if len(lines) <= _NAMED else lines[: _NAMED - 2]
    for line in shown:
        print(f"  {plain(line)}")
    if len(lines) > len(shown):
        print(f"  and {len(lines) - len(shown)} more (--json lists all)")


def _relative(path: Path) -> str:
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative


def _print_table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print rows whose numbers are in the column ``trials``; a cell may have several lines."""
    cells = zip(*rows, strict=True)
    columns = [
        Column(header, [Text(cell) for cell in column], is_text=header != "trials")
        for header, column in zip(headers, cells, strict=True)
    ]
    width = Console().width
    print(as_text(fitted(columns, width), width))
