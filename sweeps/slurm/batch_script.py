"""Batch scripts: the template ``sweep.sbatch.j2``, filled in for a job."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Collection, Sequence
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from quantlab import ConfigurationError
from sweeps.slurm.job import SlurmJob
from sweeps.slurm.time_limit import START_SECONDS, least_seconds

_VARIABLE = re.compile(r"\$([A-Za-z_]\w*|\{[A-Za-z_]\w*(:?-[\w./-]*)?\})", re.ASCII)
"""A variable of the shell, such as ``$TMPDIR``, ``${TMPDIR}`` or ``${TMPDIR:-/tmp}``."""


def log_file(name: str, job: SlurmJob) -> str:
    """Return the file that a job writes to, relative to its folder, in the notation of SLURM.

    Args:
        name: name of the sweep or study.
        job: what the job asks of SLURM.
    """
    if own := job.further.get("output"):
        return own
    return f"{_file_name(name)}-{'%A_%a' if job.array else '%j'}.log"


def script_file(name: str) -> Path:
    """Return the file of the script of a sweep or study, if none is given."""
    return Path(f"{_file_name(name)}.sbatch")


def render(
    name: str,
    command: Sequence[str],
    job: SlurmJob,
    *,
    setup: Sequence[str] = (),
    folder: Path,
    written_by: str,
    with_commands: Collection[str] = (),
) -> str:
    """Return the text of a batch script.

    Args:
        name: name of the sweep or study.
        command: the command that the job runs, such as ``["run", "digits", "--pack", "9"]``.
        job: what the job asks of SLURM.
        setup: shell commands that make `sweeps` and `ray` available; without any, the script uses
            the environment of this process.
        folder: the folder in which the job runs.
        written_by: the command line that writes the script, for its first lines.
        with_commands: see `for_shell`.

    Raises:
        ConfigurationError: the setup is no valid shell code, or the folder has a name that SLURM
            cannot read.
    """
    if re.search(r"[\n\"\\%]", str(folder)):
        raise ConfigurationError(
            f'{str(folder)!r}: SLURM cannot run a job in a folder with one of " \\ % in its path'
        )
    path = shlex.quote(str(Path(sys.executable).parent))
    environment = Environment(
        loader=PackageLoader("sweeps.slurm", "."),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    text = environment.get_template("sweep.sbatch.j2").render(
        name=name,
        command=for_shell(("sweeps", *command), with_commands=with_commands),
        job=job,
        directives=_directives(name, job, folder),
        setup="\n".join(setup) or f"export PATH={path}:$PATH",
        written_by=written_by.replace("\n", " "),
        least_seconds=least_seconds(job.stop_before) - START_SECONDS // 2,
    )
    _require_valid(text)
    return text


def _directives(name: str, job: SlurmJob, folder: Path) -> list[str]:
    """Return the options of sbatch, one a line."""
    own = {
        "job-name": _file_name(name),
        "chdir": f'"{folder}"' if re.search(r"[^\w./+@:,-]", str(folder)) else str(folder),
        "output": log_file(name, job),
        "open-mode": "append",
        "partition": job.partition,
        "account": job.account,
        "array": f"1-{job.array}" if job.array else None,
        "nodes": str(job.nodes),
        "ntasks-per-node": "1",
        "cpus-per-task": None if job.cpus_per_node is None else str(job.cpus_per_node),
        "gpus-per-node": str(job.gpus_per_node) if job.gpus_per_node else None,
        "time": job.time,
        "signal": f"B:USR1@{job.stop_before}",
        "requeue": "",
    }
    further = {key: _whole(value) for key, value in job.further.items()}
    options = {key: value for key, value in own.items() if value is not None} | further
    return [f"--{key}={value}" if value else f"--{key}" for key, value in options.items()]


def _whole(value: str) -> str:
    """Put a value between quotes that SLURM would end at a space or a comment."""
    is_cut = re.search(r"[\s#]", value) and not re.search(r"[\"'\\]", value)
    return f'"{value}"' if is_cut else value


def for_shell(words: Sequence[str], *, with_commands: Collection[str] = ()) -> str:
    """Write a command line for the shell, which expands a variable at the begin of a value.

    Args:
        words: the command line; values such as ``$SLURM_TMPDIR/data`` may also be a part of the
            word of their option, after ``=``.
        with_commands: options whose values are commands of a shell, which expands all variables in
            them itself.
    """
    found, is_command = [], False
    for word in words:
        option, equals, value = word.partition("=") if word.startswith("--") else ("", "", word)
        if is_command or option in with_commands:
            found.append(shlex.quote(word))
        elif variable := _VARIABLE.match(value):
            rest = re.sub(r'["`$\\]', r"\\\g<0>", value[variable.end() :])
            found.append(f'{option}{equals}"{variable[0]}{rest}"')
        else:
            found.append(shlex.quote(word))
        is_command = option in with_commands and not equals
    return " ".join(found)


def _file_name(name: str) -> str:
    return re.sub(r"[^\w.+-]", "_", name)


def _require_valid(text: str) -> None:
    """Refuse a script that the shell cannot read, which can only be due to the user's setup."""
    if (shell := shutil.which("bash")) is None:
        return
    found = subprocess.run(
        [shell, "-n"], input=text, capture_output=True, text=True, check=False, env=os.environ
    )
    if found.returncode:
        reason = found.stderr.strip().splitlines()[0]
        raise ConfigurationError(f"--setup: must be valid commands of a shell; bash says: {reason}")
