"""The `sweeps` command."""

import argparse
import json
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
from sweeps.cli.command_line import changed_options, command_line
from sweeps.cli.options import (
    Parser,
    data_folder,
    export_options,
    folder,
    port,
    report_options,
    study_storage,
    tracking_uri,
    training_options,
)
from sweeps.coordinates import main_metric
from sweeps.loading import load_either, load_study, load_sweep, named_studies, named_sweeps
from sweeps.planning.data_changes import data_warnings
from sweeps.planning.plan import describe, plan_of
from sweeps.running import signals
from sweeps.spec import Cell, SweepSpec
from sweeps.storage import damage
from sweeps.storage.folder import Storage, TrialState
from sweeps.storage.trial_states import states_of

EXIT_INCOMPLETE = 1
EXIT_USAGE = 2
EXIT_CUT_SHORT = 3
EXIT_INTERRUPTED = 130
EXIT_CODES = (
    "exit codes: 0 all trials have finished; 1 some trials have failed or, for status, have not "
    "finished or, for verify, are not intact; 2 the input is invalid and nothing was trained; 3 an "
    "error outside the trials, such as a full disk or a crash of Ray, ended the command; 130 "
    "Ctrl-C or a signal stopped the command. After 3 and 130, run the same command again to "
    "continue."
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: the command line without the program's name; None for that of the process.

    Returns:
        The exit code, one of `EXIT_CODES`.
    """
    streams.open_closed()
    with streams.tolerant("stdout") as output, streams.tolerant("stderr"):
        try:
            options = _parser().parse_args(arguments)
        except ConfigurationError as error:
            print(f"sweeps: error: {error}", file=sys.stderr)
            return EXIT_USAGE
        damage.forget_warnings()
        secrets.guard()
        for uri in ("tracking_uri", "study_storage"):
            secrets.remember(getattr(options, uri, None))
        code = _exit_code(options, arguments or sys.argv[1:])
        output.flush()
        if output.error is None:
            return code
        if not isinstance(output.error, BrokenPipeError):  # the reader of a pipe may stop early
            reason = output.error.strerror
            print(f"sweeps: error: cannot write to standard output ({reason})", file=sys.stderr)
        return code if options.run in (_run, _search) else code or EXIT_INCOMPLETE


def _exit_code(options: argparse.Namespace, arguments: Sequence[str]) -> int:
    """Run the command and print any error in one line."""
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
        print(f"sweeps: error: {what}; run the same command again to continue", file=sys.stderr)
        return EXIT_CUT_SHORT
    except KeyboardInterrupt:
        print(f"\nsweeps: stopped; to continue, run: {command_line(*arguments)}", file=sys.stderr)
        return EXIT_INTERRUPTED


def _require_folders(options: argparse.Namespace) -> None:
    """Refuse a file or a URL where an option takes a folder."""
    for name in ("storage", "data", "scratch", "out"):
        folder = getattr(options, name, None)
        first = folder.parts[0] if folder is not None and folder.parts else ""
        if re.fullmatch(r"[A-Za-z][\w+.-]+:", first):
            raise ConfigurationError(
                f"--{name} {folder}: must be a folder, not a URL; mount the remote folder and give "
                "its path"
            )
        if folder is None:
            continue
        for place in (folder, *folder.parents):
            if place.exists() and not place.is_dir():
                file = "it" if place == folder else str(place)
                raise ConfigurationError(
                    f"--{name} {folder}: must be a folder, but {file} is a file"
                )


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="sweeps",
        description="Run and report sweeps and searches that train quantized networks.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(
        name: str,
        run: object,
        text: str,
        *names: str,
        tables: bool = False,
        default: str | None = None,
    ) -> argparse.ArgumentParser:
        """Add a command, which takes one of the names or a file if there are names.

        A command with a default name reads no results.
        """
        sub = commands.add_parser(name, help=text, description=text, epilog=EXIT_CODES)
        sub.set_defaults(run=run, parser=sub)
        if names:
            sub.add_argument(
                "sweep",
                metavar="NAME|FILE.py" + ("|TABLE.csv" if tables else ""),
                help=f"one of {', '.join(names)}; or the path of a Python file"
                + (", or of a table of trials (.csv, .parquet)" if tables else "")
                + (" (default: %(default)s)" if default else ""),
                nargs="?" if default else None,
                default=default,
            )
        if default:
            return sub
        sub.add_argument(
            "--storage",
            type=folder,
            default=Path("runs"),
            metavar="DIR",
            help="folder of all results (default: %(default)s)",
        )
        return sub

    grids, studies = named_sweeps(), named_studies()
    plan = command("plan", _plan, "Show which trials would run and what they would cost.", *grids)
    plan.add_argument("--json", action="store_true", help="print the plan as JSON, with all trials")
    data_folder(plan)

    training_options(command("run", _run, "Train the trials that have not finished.", *grids))

    search = command("search", _search, "Search for configurations with Optuna.", *studies)
    training_options(search)
    study_storage(search)
    search.add_argument(
        "--promote",
        type=folder,
        metavar="FILE.py",
        help="write a sweep that compares the best new configuration with the known points, with "
        "fresh seeds",
    )

    status = command(
        "status", _status, "Show the progress of a sweep or a study.", *grids, *studies
    )
    study_storage(status)
    report = command(
        "report",
        _report,
        "Write tables, figures and an HTML page, and print the main tables.",
        *grids,
        *studies,
        tables=True,
    )
    study_storage(report)
    report_options(report)
    export = command("export", _export, "Write a finished network to a file.", *grids, *studies)
    study_storage(export)
    export_options(export)

    verify = command(
        "verify", _verify, "Check finished trials, their files and their data.", *grids, *studies
    )
    study_storage(verify)
    data_folder(verify)

    command(
        "taxonomy",
        _taxonomy,
        "Print the properties of the methods of a sweep, and Table 1 of the ProxConnect paper.",
        *grids,
        default="taxonomy",
    )

    ui = command("ui", _ui, "Start the MLflow UI on the results.")
    tracking_uri(ui)
    ui.add_argument(
        "--port", type=port, default=5000, metavar="N", help="port of the UI (default: %(default)s)"
    )
    return parser


def _plan(options: argparse.Namespace) -> int:
    from sweeps.planning.preflight import check_without_data

    storage = Storage(options.storage)
    with streams.each_line_once():
        sweep = load_sweep(options.sweep)
        notes = check_without_data(sweep.cells, options.data)
        plan = {**plan_of(sweep, storage), "notes": notes}
    print(json.dumps(plan) if options.json else describe(plan))
    _warn(data_warnings(sweep.cells, storage, options.data))
    return 0


def _warn(lines: Iterable[str]) -> None:
    for line in lines:
        print(f"sweeps: warning: {line}", file=sys.stderr, flush=True)


def _run(options: argparse.Namespace) -> int:
    training = _training(options)
    sweep = load_sweep(options.sweep)
    storage = Storage(options.storage)
    states = states_of(sweep.cells, storage)
    cells = [cell for cell in sweep.cells if not states[cell.fingerprint].is_finished]
    print(f"{sweep.name}: {len(sweep.cells)} trials, {len(cells)} to run", flush=True)
    warnings = data_warnings(sweep.cells, storage, options.data)
    _warn(warnings)
    # MLflow takes seconds to import and Ray more, so both are imported only if they are needed.
    if cells:
        from sweeps.running.grid import run_cells

        run_cells(sweep, cells, storage, **training)
    else:
        from sweeps.tracking.delivery import bring_up_to_date
        from sweeps.tracking.tracker import Tracker

        name, metric = sweep.experiment or sweep.name, main_metric(sweep.cells)
        tracker = Tracker(name, storage, options.tracking_uri, metric)
        bring_up_to_date(tracker, sweep.cells)
    if cells and not warnings:
        _warn(data_warnings(sweep.cells, storage))
    code = _summary(sweep, storage)
    have_failed = TrialState.FAILED in states_of(sweep.cells, storage).values()
    if code == EXIT_INCOMPLETE and not have_failed:
        print(
            "sweeps: some trials have not ended; run the same command again to continue",
            file=sys.stderr,
        )
        return EXIT_CUT_SHORT
    return code


def _training(options: argparse.Namespace) -> dict[str, Any]:
    """Collect the options of `training_options` as arguments of `run_cells` and `run_study`."""
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
    from sweeps.searching.results import cells_of, is_over, load, recipe_of, summary_lines, winner
    from sweeps.searching.search import run_study

    training = _training(options)
    spec = load_study(options.sweep)
    storage = Storage(options.storage)
    if options.promote is not None:
        require_free(options.promote)
    print(f"{spec.name}: {spec.configurations} configurations", flush=True)
    run_study(spec, storage, study_storage=options.study_storage, **training)
    study = load(spec, storage, options.study_storage)
    print("\n".join(summary_lines(spec, study, storage)))
    _print_failures(cells_of(spec, study, storage), storage)
    if not is_over(spec, study):
        print(
            "sweeps: some configurations have not finished; run the same command again to continue",
            file=sys.stderr,
        )
        return EXIT_INCOMPLETE
    recipe = recipe_of(spec, winner(spec, study))
    print(f"\n{formula(recipe)}\n\n{snippet(recipe)}")
    if options.promote is not None:
        write_confirmation(spec, options.sweep, study, options.promote)
        where = changed_options(options, "storage", "data")
        print(f"\nTo confirm it, run: {command_line('run', str(options.promote), *where)}")
    return 0


def _summary(sweep: SweepSpec, storage: Storage) -> int:
    """Print failures and the number of trials in each state, and return the exit code."""
    states = states_of(sweep.cells, storage)
    _print_failures(sweep.cells, storage)
    counts = Counter(states.values())
    text = ", ".join(f"{counts[state]} {state.value}" for state in TrialState if counts[state])
    print(f"{sweep.name}: {text}")
    return 0 if all(state.is_finished for state in states.values()) else EXIT_INCOMPLETE


def _print_failures(cells: Sequence[Cell], storage: Storage) -> None:
    """Print a line for each distinct reason of a failure."""
    failed: dict[str, list[str]] = defaultdict(list)
    for cell in cells:
        folder = storage.trial(cell.fingerprint)
        if folder.state() is TrialState.FAILED:
            failure = folder.failure.read()
            reason = "the reason is unknown" if failure is None else failure.error
            failed[reason].append(cell.name)
    for reason, names in failed.items():
        others = f" (and {len(names) - 1} more)" if len(names) > 1 else ""
        print(f"sweeps: failed: {names[0]}{others}: {reason}", file=sys.stderr)


def _status(options: argparse.Namespace) -> int:
    spec, storage = load_either(options.sweep), Storage(options.storage)
    if isinstance(spec, SweepSpec):
        return _summary(spec, storage)
    from sweeps.searching.results import is_over, load, summary_lines

    study = load(spec, storage, options.study_storage)
    print("\n".join(summary_lines(spec, study, storage)))
    return 0 if is_over(spec, study) else EXIT_INCOMPLETE


def _report(options: argparse.Namespace) -> int:
    from sweeps.cli.report import report

    return report(options)


def _export(options: argparse.Namespace) -> int:
    from sweeps.cli.export import export

    return export(options)


def _taxonomy(options: argparse.Namespace) -> int:
    from sweeps.cli.taxonomy import taxonomy

    return taxonomy(options.sweep)


def _verify(options: argparse.Namespace) -> int:
    from sweeps.cli.verify import verify

    return verify(options)


def _ui(options: argparse.Namespace) -> int:
    from sweeps.cli.ui import ui

    return ui(options)
