"""The command `sweeps slurm`."""

import argparse
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from sweeps.cli.options import folder, positive_integer, some_text, sweep_argument
from sweeps.cli.parsing.parser import Parser

if TYPE_CHECKING:
    from sweeps.placement.resources import Resources
    from sweeps.study import StudySpec

NAME = "slurm"
HELP = "Write a batch script that runs a sweep or a search as a job of SLURM, or submit it."


def add_options(command: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    assert isinstance(command, Parser)
    command.rest = "options_of_run"
    command.rest_of = ("run", "search")
    command.usage = "%(prog)s [OPTIONS] NAME|FILE.py [-- OPTIONS OF sweeps run]"
    sweep_argument(command, kinds=("sweep", "study"))
    for option, what in (
        ("--nodes", "number of nodes; the first one also has the driver (default: 1)"),
        ("--gpus-per-node", "GPUs of each node (default: none)"),
        ("--cpus-per-node", "CPUs of each node (default: that of SLURM, which is often 1)"),
    ):
        command.add_argument(option, type=positive_integer, metavar="N", help=what)
    command.add_argument(
        "--time",
        type=some_text,
        help="time limit, such as 90 (minutes), 4:00:00 or 2-12:00:00; the job then continues in "
        "the queue (default: that of the partition)",
    )
    command.add_argument(
        "--stop-before",
        type=positive_integer,
        metavar="SECONDS",
        help="how long before the time limit trials save their state (default: 120)",
    )
    for option, what in (("--partition", "partition"), ("--account", "account")):
        command.add_argument(option, type=some_text, metavar="NAME", help=f"{what} of the job")
    command.add_argument(
        "--array",
        type=positive_integer,
        metavar="K",
        help="submit K jobs of one node each, which share the trials",
    )
    command.add_argument(
        "--sbatch",
        type=some_text,
        action="append",
        default=[],
        metavar="OPTION",
        help="another option of sbatch, such as mem=64G or constraint=a100; may be repeated",
    )
    command.add_argument(
        "--setup",
        type=some_text,
        action="append",
        default=[],
        metavar="COMMANDS",
        help="shell commands before the sweep, such as 'module load cuda; . ~/venv/bin/activate'; "
        "may be repeated (default: the Python environment of this command)",
    )
    command.add_argument(
        "--output",
        type=folder,
        metavar="FILE",
        help="file of the script (default: NAME.sbatch)",
    )
    command.add_argument("--submit", action="store_true", help="submit the script, too")


def run(options: argparse.Namespace) -> int:
    """Write the script, submit it if asked to, and return the exit code."""
    from sweeps.cli.parsing.control import NOTICES, without_notices
    from sweeps.slurm import submission
    from sweeps.slurm.batch_script import log_file, render, script_file
    from sweeps.slurm.job import STOP_BEFORE_SECONDS, SlurmJob

    job = SlurmJob(
        nodes=options.nodes or 1,
        array=options.array,
        gpus_per_node=options.gpus_per_node or 0,
        cpus_per_node=options.cpus_per_node,
        time=options.time,
        stop_before=options.stop_before or STOP_BEFORE_SECONDS,
        partition=options.partition,
        account=options.account,
        sbatch=tuple(options.sbatch),
    )
    if options.submit:
        submission.require_sbatch()
    command, name, resources, status = _to_run(options)
    job.require_room_for(resources)
    script: Path = options.output or script_file(name)
    text = render(
        name,
        command,
        job,
        setup=options.setup,
        folder=Path.cwd(),
        # So that a script that was written before can be submitted by the same options.
        written_by=shlex.join(
            word for word in shlex.split(options.recorded_command) if word != "--submit"
        ),
        with_commands=NOTICES,
    )
    has_notices = without_notices(command) != command  # which may hold a secret address
    is_new = submission.write(script, text, is_private=has_notices)
    print(f"{script}: {job.describe()}", flush=True)
    if not options.submit:
        print(f"to submit it, run: sbatch {shlex.quote(str(script))}")
        return 0
    number = submission.submit(script, is_new=is_new)
    log = log_file(name, job).replace("%A", number).replace("%j", number).replace("%a", "*")
    print(f"submitted as job {number}; it writes to {Path.cwd() / log}")
    print(f"to see how far it is, run: {status}")
    print(f"to stop it with its state saved, run: scancel --signal=TERM --batch {number}")
    return 0


def _to_run(options: argparse.Namespace) -> tuple[list[str], str, "Resources", str]:
    """Parse the options of `sweeps run` or `sweeps search`, and load what they name.

    Returns:
        The command of the job, the name of the sweep or study, the resources of each trial, and the
        call of `sweeps status` that shows them.
    """
    from quantlab import ConfigurationError
    from sweeps.cli.chosen import chosen_of, load_chosen, meant_of
    from sweeps.cli.command import command_parser, require_folders
    from sweeps.cli.command_line import changed_options, command_line
    from sweeps.cli.naming.name_in_file import addressed
    from sweeps.cli.naming.remembered import refuse_name_of_file
    from sweeps.cli.options import SELECTION, training_arguments
    from sweeps.cli.parsing.control import require_time_budget
    from sweeps.cli.parsing.deciding import require_until_decided
    from sweeps.control.priorities import priorities_of
    from sweeps.loading import load_study, named_studies
    from sweeps.loading.either import load_users_file
    from sweeps.printing.secrets import hide
    from sweeps.slurm.batch_script import for_shell
    from sweeps.spec import SweepSpec

    rest: list[str] = options.options_of_run
    for word in rest:
        if hide(word) != word:
            raise ConfigurationError(
                f"{hide(word)}: the script would hold a password or token; put it into the "
                "environment, or into a file that only you can read"
            )
    given = addressed(options)
    spec: SweepSpec | StudySpec | None = None
    if options.sweep.endswith(".py"):
        file = load_users_file(options.sweep)
        choosing = {f"--{name}" for name in SELECTION}
        chooses = any(word.partition("=")[0] in choosing for word in rest)
        spec = meant_of(file, options, chooses=chooses)
        # The job, and the command that is printed, mean the same, whatever stands for the other.
        given = f"{options.sweep}:{spec.name}" if file.name_of_other(spec) else given
    is_study = not isinstance(spec, SweepSpec) if spec else options.sweep in named_studies()
    command = ["search" if is_study else "run", given, *rest]
    parsed = command_parser().parse_args(command)
    parsed.recorded_command = ""
    require_folders(parsed)
    if parsed.address is not None:
        raise ConfigurationError(
            f"--address {parsed.address}: the job starts a Ray cluster of its own; omit the option"
        )
    resources: Resources = training_arguments(parsed)["resources"]
    if is_study:
        refuse_name_of_file(parsed)
        study = load_study(options.sweep) if spec is None else spec
        assert not isinstance(study, SweepSpec)
        if parsed.promote is not None:
            from sweeps.searching.promotion import require_free

            require_free(parsed.promote)
        require_time_budget(parsed.budget, study.configurations)
        name = study.name
        where = changed_options(parsed, "storage", "study_storage")
    else:
        require_until_decided(parsed)
        if isinstance(spec, SweepSpec):
            sweep = chosen_of(spec, parsed, with_parents=True)
        else:
            sweep = load_chosen(parsed, with_parents=True)
        priorities_of(sweep, sweep.cells, parsed.first)  # refuses conditions that no trial fulfils
        name = sweep.name
        where = changed_options(parsed, "seeds", "only", "set", "storage")
    status = " ".join(filter(None, (command_line("status", given), for_shell(where))))
    return command, name, resources, status
