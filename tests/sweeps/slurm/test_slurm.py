"""`sweeps slurm`: what it refuses before it writes anything, and what the script asks of SLURM.

`tests/machines/test_slurm.py` runs the scripts on a real SLURM cluster.
"""

import os
import re
import shlex
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Command
from tests.sweeps.sweep_files import TINY

SCRIPT = "tiny.sbatch"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "tiny.py").write_text(TINY)
    return tmp_path


def directives(script: str) -> dict[str, str]:
    """The options of sbatch in a script, with their values."""
    mark = "#SBATCH --"
    lines = [line.removeprefix(mark) for line in script.splitlines() if line.startswith(mark)]
    return {name: value for name, _, value in (line.partition("=") for line in lines)}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ("--time 4", "--time 4: leaves no time to train; must be at least 5 minutes"),
        ("--time 0:06:00 --stop-before 300", "must be at least 8 minutes with --stop-before 300"),
        ("--time 1:2:3:4", "--time 1:2:3:4: must be a time > 0 as SLURM writes it"),
        ("--time 0", "--time 0: must be a time > 0"),
        ("--stop-before 70000", "--stop-before 70000: must be at most 65535 seconds"),
        ("--array 3 --nodes 2", "--array 3 with --nodes 2: the jobs of an array have one node"),
        ("--partition 'a b'", "--partition 'a b': must be a name"),
        ("--account '$(id)'", "--account '$(id)': must be a name"),
        ("--sbatch nodes=3", "--sbatch 'nodes=3': use the option --nodes of this command"),
        ("--sbatch=--signal=TERM", "use the option --stop-before of this command"),
        ("--sbatch requeue", "--sbatch 'requeue': the script depends on its own requeue"),
        ("--sbatch=-N3", "--sbatch '-N3': must be a long option of sbatch, such as nodes=VALUE"),
        ("--sbatch mem=", "--sbatch 'mem=': must be one option of sbatch as name=value or name"),
        ("--sbatch 'mem=4G\n#SBATCH --x'", "must be one option of sbatch"),
        ("--setup 'if true'", "--setup: must be valid commands of a shell; bash says:"),
        ("--gpus-per-node 2", "--gpus-per-node: no trial would use a GPU; add `-- --gpus-per"),
        ("--sbatch gres=gpu:2", "--sbatch gres=gpu:2: no trial would use a GPU; add `-- --gpus"),
        ("--sbatch tres-per-task=gres/gpu:1", "--sbatch tres-per-task=gres/gpu:1: no trial would"),
        ("--sbatch gres=lustre:1 -- --gpus-per-trial 1", "--gpus-per-trial 1: the job has no GPU"),
        ("-- --gpus-per-trial 0.5", "--gpus-per-trial 0.5: the job has no GPU"),
        ("-- --gpus-per-trial auto", "--gpus-per-trial auto: the job has no GPU"),
        ("--cpus-per-node 2 -- --execution threads=3", "--cpus-per-node 2: must be at least 3"),
        ("-- --address auto", "--address auto: the job starts a Ray cluster of its own"),
        (
            "-- --tracking-uri http://me:word@host",
            "http://me:***@host: the script would hold a pas",
        ),
        ("-- --only rho=7", "--only rho=7: no trial of sweep tiny has 'rho'"),
        ("-- --first rho=7", "--first rho=7: no trial of sweep tiny has 'rho'"),
        ("-- --margin 2", "--margin 2: applies with --until-decided only"),
        ("-- --until-decided --seeds 3", "--seeds 3: must not be given with --until-decided"),
        ("-- --pakc 9", "unrecognized arguments: --pakc 9 (did you mean '--pack'?)"),
        ("--budget 3h", "--budget 3h; options of `sweeps run` or `sweeps search` go after `--`"),
        ("--tim 4:00:00", "unrecognized arguments: --tim 4:00:00 (did you mean '--time'?)"),
        ("--sbatch --mem=4G", "if --mem=4G is its value, write --sbatch=--mem=4G; see sweeps sl"),
        ("-- --storage tiny.py", "--storage tiny.py: must be a folder, but it is a file"),
        ("--output no/where.sbatch", "no does not exist; create it first"),
    ],
)
def test_bad_values_are_refused_in_a_line_and_nothing_is_written(
    options: str, says: str, folder: Path, quick_command: Command
) -> None:
    done = quick_command(folder, "slurm", "tiny.py", *shlex.split(options))
    assert done.returncode == 2
    assert says in done.stderr, done.stderr
    assert done.stderr.count("\n") == 1
    assert not list(folder.glob("**/*.sbatch"))


def test_the_script_asks_for_what_the_options_say(folder: Path, quick_command: Command) -> None:
    options = "--nodes 2 --cpus-per-node 8 --gpus-per-node 4 --time 1-0 --partition gpu,big"
    further = "--account lab --sbatch mem=64G --sbatch=--exclusive --sbatch output=logs/%j.txt"
    rest = ["--gpus-per-trial", "1", "--only", "method=FP|MD", "--scratch", "$SLURM_TMPDIR/data"]
    done = quick_command(folder, "slurm", "tiny.py", *f"{options} {further}".split(), "--", *rest)
    assert done.returncode == 0, done.stderr
    assert done.stdout == (
        f"{SCRIPT}: 2 nodes, 8 CPUs each, 4 GPUs each, time limit 1-0\n"
        f"to submit it, run: sbatch {SCRIPT}\n"
    )
    script = (folder / SCRIPT).read_text()
    assert directives(script) == {
        "job-name": "tiny",
        "chdir": str(folder),
        "output": "logs/%j.txt",
        "open-mode": "append",
        "partition": "gpu,big",
        "account": "lab",
        "nodes": "2",
        "ntasks-per-node": "1",
        "cpus-per-task": "8",
        "gpus-per-node": "4",
        "time": "1-0",
        "signal": "B:USR1@120",
        "requeue": "",
        "mem": "64G",
        "exclusive": "",
    }
    command = "sweeps run tiny.py --gpus-per-trial 1 --only 'method=FP|MD' --scratch "
    assert f'exec {command}"$SLURM_TMPDIR/data" --address "$address"\n' in script
    assert f"\nexport PATH={Path(sys.executable).parent}:$PATH\n" in script
    assert "srun" in script


def test_jobs_of_an_array_have_one_node_and_a_setup_of_the_user_stands_as_it_is(
    folder: Path, quick_command: Command
) -> None:
    setup = "module load cuda\n. '/my env/bin/activate'"
    done = quick_command(
        folder, "slurm", "tiny.py", "--array", "3", "--setup", setup, "--setup", "export A=1"
    )
    assert done.stdout.startswith(
        f"{SCRIPT}: 3 jobs of 1 node, SLURM's default of CPUs, the time limit of the partition\n"
    )
    script = (folder / SCRIPT).read_text()
    found = directives(script)
    assert (found["array"], found["nodes"], found["output"]) == ("1-3", "1", "tiny-%A_%a.log")
    assert f"\n{setup}\nexport A=1\n" in script
    assert "export PATH" not in script
    assert "srun" not in script
    subprocess.run(["bash", "-n", SCRIPT], cwd=folder, check=True)


def test_a_script_that_the_user_has_changed_is_kept(folder: Path, quick_command: Command) -> None:
    script = folder / SCRIPT
    mask = os.umask(0o022)
    try:
        for notice, mode in (((), 0o644), (("--", "--on-end", "curl example.org"), 0o600)):
            script.unlink(missing_ok=True)
            for _ in range(2):
                assert quick_command(folder, "slurm", "tiny.py", *notice).returncode == 0
            assert stat.S_IMODE(script.stat().st_mode) == mode
    finally:
        os.umask(mask)
    assert script.read_text().count("example.org") == 1
    changed = script.read_text() + "# mine\n"
    script.write_text(changed)
    done = quick_command(folder, "slurm", "tiny.py")
    assert done.returncode == 2
    assert f"--output {SCRIPT}: the file exists with another content; remove it" in done.stderr
    assert script.read_text() == changed


def test_a_name_with_a_space_is_one_word_of_the_printed_command(
    folder: Path, quick_command: Command
) -> None:
    output = ("--output", "my script.sbatch")
    done = quick_command(folder, "slurm", "tiny.py", *output)
    assert done.stdout.endswith("to submit it, run: sbatch 'my script.sbatch'\n")
    done = quick_command(folder, "slurm", "tiny.py", *output, "--nodes", "2")
    assert "submit it as it is with `sbatch 'my script.sbatch'`" in done.stderr


def test_a_study_is_searched(folder: Path, quick_command: Command) -> None:
    done = quick_command(folder, "slurm", "digits_bits", "--output", "my job", "--", "--quiet")
    assert done.returncode == 0, done.stderr
    assert (
        'exec sweeps search digits_bits --quiet --address "$address"\n'
        in (folder / "my job").read_text()
    )
    for rest, says in (
        ("--budget 50trials", "--budget 50trials: a search ends after its 60 configurations; give"),
        ("--promote no/best.py", "--promote no/best.py: the folder "),
    ):
        done = quick_command(folder, "slurm", "digits_bits", "--", *rest.split())
        assert done.returncode == 2
        assert says in done.stderr
    done = quick_command(folder, "slurm", "digits_bits", "--", "--seeds", "3")
    assert "unrecognized arguments: --seeds 3; see sweeps search --help" in done.stderr


def test_without_slurm_nothing_is_submitted(
    folder: Path, quick_command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    done = quick_command(folder, "slurm", "tiny.py", "--submit")
    assert done.returncode == 2
    assert "--submit: this machine has no command sbatch" in done.stderr
    assert not (folder / SCRIPT).exists()


def test_a_script_that_was_written_before_is_submitted(
    folder: Path, quick_command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    sbatch = folder / "sbatch"
    sbatch.write_text("#!/bin/sh\necho 77\n")
    sbatch.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    assert quick_command(folder, "slurm", "tiny.py").returncode == 0
    done = quick_command(folder, "slurm", "tiny.py", "--submit")
    assert done.returncode == 0, done.stderr
    assert "submitted as job 77" in done.stdout
    options = ("--output", "other.sbatch", "--", "--storage", "${DISK}/runs", "--on-end", "$TELL")
    said = quick_command(folder, "slurm", "tiny.py", "--submit", *options).stdout
    assert re.search(r'run: .*sweeps status tiny.py --storage "\$\{DISK\}/runs"\n', said), said
    script = (folder / "other.sbatch").read_text()
    assert """ --storage "${DISK}/runs" --on-end '$TELL' --address""" in script


def test_a_value_with_spaces_is_one_value_for_slurm(folder: Path, quick_command: Command) -> None:
    comments = {"two words #12": '"two words #12"', '"quoted by hand"': '"quoted by hand"'}
    for given, written in comments.items():
        done = quick_command(folder, "slurm", "tiny.py", "--sbatch", f"comment={given}")
        assert done.returncode == 0, done.stderr
        assert directives((folder / SCRIPT).read_text())["comment"] == written
        (folder / SCRIPT).unlink()
