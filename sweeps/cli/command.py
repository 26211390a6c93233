"""The `sweeps` command."""

import argparse
import json
import os
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from quantlab import ConfigurationError
from quantlab.errors import CutShortError, in_full
from quantlab.execution import parse_execution
from sweeps import secrets, streams
from sweeps.cli.command_line import command_line
from sweeps.cli.options import (
    Parser,
    data_folder,
    folder,
    port,
    share,
    some_text,
    study_storage,
    tracking_uri,
    training_options,
)
from sweeps.loading import load_either, load_study, load_sweep, named_studies, named_sweeps
from sweeps.planning.data_changes import data_warnings
from sweeps.planning.plan import describe, plan_of
from sweeps.running import signals
from sweeps.spec import Cell, SweepSpec
from sweeps.storage import damage
from sweeps.storage.folder import Storage, TrialState
from sweeps.storage.standing import states_of

EXIT_INCOMPLETE = 1
EXIT_USAGE = 2
EXIT_CUT_SHORT = 3
EXIT_INTERRUPTED = 130
EXIT_CODES = (
    "exit codes: 0 all trials have finished; 1 trials have failed, or (status) are not finished; "
    "2 bad input, nothing was trained; 3 something around the trials gave way, such as Ray or a "
    "disk, and the same command goes on; 130 stopped by Ctrl-C or a signal, and the same command "
    "goes on"
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code, one of `EXIT_CODES`."""
    streams.open_closed()
    with streams.patient("stdout") as output, streams.patient("stderr"):
        try:
            options = _parser().parse_args(arguments)
        except ConfigurationError as error:
            print(f"sweeps: error: {error}", file=sys.stderr)
            return EXIT_USAGE
        damage.forget()
        secrets.guard()
        for uri in ("tracking_uri", "study_storage"):
            secrets.remember(getattr(options, uri, None))
        code = _ended(options, arguments or sys.argv[1:])
        output.flush()
        if output.error is None:
            return code
        if not isinstance(output.error, BrokenPipeError):  # a pipe's reader may go when it likes
            reason = output.error.strerror
            print(f"sweeps: standard output cannot be written to ({reason})", file=sys.stderr)
        return code if options.run in (_run, _search) else code or EXIT_INCOMPLETE


def _ended(options: argparse.Namespace, arguments: Sequence[str]) -> int:
    """Run the command; whatever ends it is told in one line."""
    trains = options.run in (_run, _search)
    try:
        _require_folders(options)
        with signals.handled(signals.interrupt) if trains else nullcontext():
            return int(options.run(options))
    except ConfigurationError as error:
        print(f"sweeps: error: {error}", file=sys.stderr)
        return EXIT_CUT_SHORT if isinstance(error, CutShortError) else EXIT_USAGE
    except OSError as error:
        what = in_full(error) if error.filename is None else f"{error.filename}: {error.strerror}"
        if isinstance(error, PermissionError):
            print(f"sweeps: error: {what}", file=sys.stderr)
            return EXIT_USAGE
        print(f"sweeps: error: {what}; the same command goes on", file=sys.stderr)
        return EXIT_CUT_SHORT
    except KeyboardInterrupt:
        print(f"\nstopped; to go on: {command_line(*arguments)}", file=sys.stderr)
        return EXIT_INTERRUPTED


def _require_folders(options: argparse.Namespace) -> None:
    """Options that name folders name neither a file nor something on the net."""
    for name in ("storage", "data", "scratch", "out"):
        folder = getattr(options, name, None)
        first = folder.parts[0] if folder is not None and folder.parts else ""
        if re.fullmatch(r"[A-Za-z][\w+.-]+:", first):
            raise ConfigurationError(
                f"--{name} {folder}: must be a folder; what lies elsewhere has to be mounted"
            )
        if folder is None:
            continue
        for place in (folder, *folder.parents):
            if place.exists() and not place.is_dir():
                what = "" if place == folder else f", and {place}"
                raise ConfigurationError(
                    f"--{name} {folder}: must be a folder{what or ', and'} is a file"
                )


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="sweeps", description="Sweeps of quantized-network training.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(
        name: str,
        run: object,
        text: str,
        *names: str,
        tables: bool = False,
    ) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text, epilog=EXIT_CODES)
        sub.set_defaults(run=run, parser=sub)
        if names:
            sub.add_argument(
                "sweep",
                metavar="NAME|FILE.py" + ("|TABLE.csv" if tables else ""),
                help=f"one of {', '.join(names)}, a file"
                + (", or a table of trials (.csv, .parquet)" if tables else ""),
            )
        sub.add_argument(
            "--storage",
            type=folder,
            default=Path("runs"),
            metavar="DIR",
            help="folder of all results (default: runs)",
        )
        return sub

    grids, studies = named_sweeps(), named_studies()
    plan = command("plan", _plan, "Show what would run.", *grids)
    plan.add_argument("--json", action="store_true", help="for programs")
    data_folder(plan)

    training_options(command("run", _run, "Train the trials that are not finished.", *grids))

    search = command("search", _search, "Search for configurations with Optuna.", *studies)
    training_options(search)
    study_storage(search)
    search.add_argument(
        "--promote",
        type=folder,
        metavar="FILE.py",
        help="write a sweep that holds the winner against the known points on fresh seeds",
    )

    status = command("status", _status, "Show how far a sweep or a study is.", *grids, *studies)
    study_storage(status)
    report = command(
        "report",
        _report,
        "Write tables, figures and the HTML page, and print what matters most.",
        *grids,
        *studies,
        tables=True,
    )
    study_storage(report)
    report.add_argument("--out", type=folder, metavar="DIR", help="default: STORAGE/reports/SWEEP")
    report.add_argument(
        "--format",
        type=some_text,
        default="all",
        metavar="LIST",
        help="some of html, markdown, latex, csv, parquet, figures, with commas (default: all)",
    )
    report.add_argument(
        "--select",
        choices=("val", "test"),
        default="val",
        help="choose ρ0 by validation accuracy, or like the papers by test accuracy (default: val)",
    )
    report.add_argument(
        "--compare",
        type=some_text,
        metavar="PAPER",
        help="set published numbers beside: proxconnect, ...",
    )
    report.add_argument(
        "--margin",
        type=share,
        default=3.0,
        metavar="POINTS",
        help="how much a method may lose by its ρ0 and be called stable (default: 3)",
    )
    tracking_uri(report)

    ui = command("ui", _ui, "Open MLflow's own UI on the results.")
    tracking_uri(ui)
    ui.add_argument("--port", type=port, default=5000, metavar="N")
    return parser


def _plan(options: argparse.Namespace) -> int:
    from sweeps.planning.preflight import check_without_data

    storage = Storage(options.storage)
    with streams.each_line_once():
        sweep = load_sweep(options.sweep)
        check_without_data(sweep.cells)
        plan = plan_of(sweep, storage)
    print(json.dumps(plan) if options.json else describe(plan))
    _warn(data_warnings(sweep.cells, storage, options.data))
    return 0


def _warn(lines: Iterable[str]) -> None:
    for line in lines:
        print(f"sweeps: warning: {line}", file=sys.stderr, flush=True)


def _run(options: argparse.Namespace) -> int:
    sweep = load_sweep(options.sweep)
    storage = Storage(options.storage)
    states = states_of(sweep.cells, storage)
    cells = [cell for cell in sweep.cells if not states[cell.fingerprint].is_finished]
    print(f"{sweep.name}: {len(sweep.cells)} trials, {len(cells)} to run", flush=True)
    told = data_warnings(sweep.cells, storage, options.data)
    _warn(told)
    # MLflow takes seconds to import and Ray more; both wait until they are needed.
    if cells:
        from sweeps.running.grid import run_cells

        run_cells(sweep, cells, storage, **_training(options))
    else:
        from sweeps.tracking.delivery import bring_up_to_date
        from sweeps.tracking.tracker import Tracker

        tracker = Tracker(sweep.experiment or sweep.name, storage, options.tracking_uri)
        bring_up_to_date(tracker, sweep.cells)
    if cells and not told:
        _warn(data_warnings(sweep.cells, storage))
    code = _summary(sweep, storage)
    have_failed = TrialState.FAILED in states_of(sweep.cells, storage).values()
    if code == EXIT_INCOMPLETE and not have_failed:
        print("sweeps: not all trials have ended; the same command goes on", file=sys.stderr)
        return EXIT_CUT_SHORT
    return code


def _training(options: argparse.Namespace) -> dict[str, Any]:
    """What `training_options` asked for, as `run_cells` and `run_study` take it."""
    from sweeps.placement.resources import Resources

    return {
        "tracking_uri": options.tracking_uri,
        "data_dir": options.data,
        "quiet": options.quiet,
        "resources": Resources(
            address=options.address,
            concurrency=options.concurrency,
            cpus_per_trial=options.cpus_per_trial,
            gpus_per_trial=options.gpus_per_trial,
            execution=parse_execution(options.execution),
            retries=options.retries,
            pack=options.pack,
            scratch=options.scratch,
        ),
    }


def _search(options: argparse.Namespace) -> int:
    from sweeps.reporting.snippet import formula, snippet
    from sweeps.searching.promotion import require_free, write_confirmation
    from sweeps.searching.search import run_study
    from sweeps.searching.standing import cells_of, is_over, load, recipe_of, summary_lines, winner

    spec = load_study(options.sweep)
    storage = Storage(options.storage)
    if options.promote is not None:
        require_free(options.promote)
    print(f"{spec.name}: {spec.configurations} configurations", flush=True)
    run_study(spec, storage, study_storage=options.study_storage, **_training(options))
    study = load(spec, storage, options.study_storage)
    print("\n".join(summary_lines(spec, study, storage)))
    _print_failures(cells_of(spec, study, storage), storage)
    if not is_over(spec, study):
        print("sweeps: not all of them have been tried; the same command goes on", file=sys.stderr)
        return EXIT_INCOMPLETE
    recipe = recipe_of(spec, winner(spec, study))
    print(f"\n{formula(recipe)}\n\n{snippet(recipe)}")
    if options.promote is not None:
        write_confirmation(spec, options.sweep, study, options.promote)
        print(f"\nto confirm it: {command_line('run', str(options.promote))}")
    return 0


def _summary(sweep: SweepSpec, storage: Storage) -> int:
    """Print what is incomplete; the exit code."""
    states = states_of(sweep.cells, storage)
    _print_failures(sweep.cells, storage)
    counts = Counter(states.values())
    text = ", ".join(f"{counts[state]} {state.value}" for state in TrialState if counts[state])
    print(f"{sweep.name}: {text}")
    return 0 if all(state.is_finished for state in states.values()) else EXIT_INCOMPLETE


def _print_failures(cells: Sequence[Cell], storage: Storage) -> None:
    """A line for each reason."""
    failed: dict[str, list[str]] = defaultdict(list)
    for cell in cells:
        folder = storage.trial(cell.fingerprint)
        if folder.state() is TrialState.FAILED:
            failure = folder.failure.read()
            reason = "unknown reason" if failure is None else failure.error
            failed[reason].append(cell.name)
    for reason, names in failed.items():
        others = f" (and {len(names) - 1} more)" if len(names) > 1 else ""
        print(f"sweeps: failed: {names[0]}{others}: {reason}", file=sys.stderr)


def _status(options: argparse.Namespace) -> int:
    spec, storage = load_either(options.sweep), Storage(options.storage)
    if isinstance(spec, SweepSpec):
        return _summary(spec, storage)
    from sweeps.searching.standing import is_over, load, summary_lines

    study = load(spec, storage, options.study_storage)
    print("\n".join(summary_lines(spec, study, storage)))
    return 0 if is_over(spec, study) else EXIT_INCOMPLETE


def _report(options: argparse.Namespace) -> int:
    from sweeps.cli.report import report

    return report(options)


def _ui(options: argparse.Namespace) -> int:
    from sweeps.tracking.artifacts import follow_storage
    from sweeps.tracking.uri import tracking_server

    storage = Storage(options.storage)
    server = tracking_server(options.tracking_uri, storage)
    if server.is_server:
        print(server.identity)  # it shows its pages itself
        return 0
    if server.is_embedded:
        if not (storage.root / "mlflow.db").exists():
            raise ConfigurationError(
                f"--storage {storage.root}: no MLflow database in it yet; `sweeps run` makes it"
            )
        follow_storage(storage)
    command = [sys.executable, "-m", "mlflow", "ui"]
    command += ["--port", str(options.port), "--workers", "1"]
    print(f"http://127.0.0.1:{options.port}", flush=True)
    # Other users of this machine can read a command line.
    os.execve(sys.executable, command, {**os.environ, "MLFLOW_BACKEND_STORE_URI": server.uri})
