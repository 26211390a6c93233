"""The batch script, run as a job by bash, with programs that stand in for SLURM, Ray and the sweep.

`tests/machines/test_slurm.py` runs it on a real SLURM cluster.
"""

import os
import subprocess
from pathlib import Path

import pytest

from sweeps.slurm.batch_script import for_shell, render
from sweeps.slurm.job import SlurmJob

NUMBER = str(os.getpid())
"""Number of the job; no other one has its folder /tmp/sweep-NUMBER."""
STAND_INS = {
    # SLURM. A job of an array of two has the number of the array; its own name is NUMBER_2.
    "squeue": """
        [[ $* != *--jobs=${SLURM_ARRAY_JOB_ID:-none} ]] || echo RUNNING
        echo RUNNING
    """,
    "scontrol": """
        if [[ $2 == node ]]; then
            echo "NodeName=$3 NodeAddr=127.0.0.1"
        elif [[ $1 == requeue ]]; then
            echo "$2" > requeued
            kill -KILL $PPID
        else
            end="EndTime=$(date -d "+$LEFT" +%FT%T)"
            [[ $3 != "${SLURM_ARRAY_JOB_ID:-none}" ]] || echo "JobId=1 $end"
            echo "JobId=2 $end"
        fi
    """,
    # A step of a job that was submitted with --export=NONE has what its own --export says.
    "srun": """
        passed=(env)
        [[ " $* " == *" --export=ALL "* ]] || passed=(env -i "PATH=$PATH")
        "${passed[@]}" "job_folder=$job_folder-other" SLURMD_NODENAME=other bash -c "${@: -1}"
        touch step_has_ended
    """,
    "ray": """
        for word in "$@"; do
            [[ $word != --temp-dir=* ]] || folder=${word#*=}
        done
        if [[ $* == *--head* ]]; then
            echo 127.0.0.1:9 > "$folder/ray_current_cluster"
            echo $$ > head
            exec -a "ray $*" sleep 300
        fi
        echo "$*" > other
    """,
}


class Job:
    """A job whose script this process runs in a folder."""

    def __init__(self, folder: Path) -> None:
        """Put the programs into a folder.

        Args:
            folder: the folder of the job.
        """
        self.folder = folder
        self.programs = folder / "bin"
        self.programs.mkdir()
        for name, text in STAND_INS.items():
            self.add(name, text)

    def add(self, name: str, text: str) -> None:
        """Add a program that bash runs."""
        program = self.programs / name
        program.write_text(f"#!/bin/bash\n{text}")
        program.chmod(0o755)

    def run(self, job: SlurmJob, driver: str, *, left: str = "1 hour", **variables: str) -> str:
        """Run the script until it ends, and return what it has said.

        Args:
            job: what it asks of SLURM.
            driver: commands of bash that stand in for `sweeps run`.
            left: how much time there is before the time limit.
            variables: further variables of the environment.
        """
        self.add("sweeps", driver)
        script = self.folder / "tiny.sbatch"
        script.write_text(
            render(
                "tiny",
                ["run", "tiny.py"],
                job,
                setup=[f"export PATH={self.programs}:$PATH"],
                folder=self.folder,
                written_by="sweeps slurm tiny.py",
            )
        )
        own = {"SLURM_JOB_ID": NUMBER, "SLURM_JOB_NODELIST": "node", "SLURMD_NODENAME": "node"}
        sizes = {"SLURM_CPUS_ON_NODE": "1", "SLURM_JOB_NUM_NODES": str(job.nodes)}
        outer = {name: text for name, text in os.environ.items() if not name.startswith("SLURM")}
        done = subprocess.run(
            ["bash", str(script)],
            cwd=self.folder,
            env={**outer, **own, **sizes, "LEFT": left, **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=120,
        )
        return done.stdout

    def has(self, name: str) -> str:
        """Return what a program has written to a file; empty if there is none."""
        path = self.folder / name
        return path.read_text().strip() if path.exists() else ""


TOLD_TWICE = """
    save() {
        kill -USR1 $PPID
        sleep 0.5
        kill -USR1 $PPID
        sleep 0.5
        kill -0 $(< head) && echo yes > ray_has_outlived_it
        exit 130
    }
    trap save USR1
    kill -USR1 $PPID
    while true; do sleep 0.1; done
"""


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(tmp_path)


def test_ray_outlives_a_driver_that_saves_its_trials_while_more_signals_come(job: Job) -> None:
    said = job.run(SlurmJob(), TOLD_TWICE)
    assert job.has("ray_has_outlived_it") == "yes", said
    assert said.count("told to stop") == 1, said
    assert "sweeps has ended with exit code 130" in said
    assert job.has("requeued") == NUMBER, said


@pytest.mark.parametrize("place", ["driver", "finish"])
def test_a_job_that_its_user_ends_after_the_time_limit_came_near_is_not_requeued(
    job: Job, place: str
) -> None:
    """With ``scancel --signal=TERM``, while trials save their state, or after that."""
    ends = "kill -TERM $PPID; sleep 0.5"
    if place == "finish":  # the last program before the script asks whether the job still runs
        job.add("rm", f'if [[ -e saved && $* == *token* ]]; then {ends}; fi; exec /bin/rm "$@"')
        ends = "touch saved"
    driver = f"trap '{ends}; exit 130' USR1; kill -USR1 $PPID; while true; do sleep 0.1; done"
    said = job.run(SlurmJob(), driver)
    assert "told to stop (the time limit is near)" in said
    assert "told to end (SIGTERM), and not to go back into the queue" in said
    assert not job.has("requeued"), said


def test_a_job_of_an_array_asks_for_itself_alone(job: Job) -> None:
    task = {"SLURM_ARRAY_JOB_ID": NUMBER, "SLURM_ARRAY_TASK_ID": "2"}
    said = job.run(SlurmJob(array=2), TOLD_TWICE, **task)
    assert job.has("requeued") == f"{NUMBER}_2", said
    said = job.run(SlurmJob(array=2), "exit 0", left="2 minutes", **task)
    assert "the time limit of this job leaves no time to train" in said


def test_the_other_nodes_train_in_a_job_without_the_environment_of_its_user(job: Job) -> None:
    said = job.run(
        SlurmJob(nodes=2),
        "until [[ -e other || -e step_has_ended ]]; do sleep 0.1; done",
        SLURM_EXPORT_ENV="NONE",
    )
    assert "--address=127.0.0.1:9" in job.has("other"), said
    assert "sweeps has ended with exit code 0" in said


@pytest.mark.parametrize(
    ("word", "passed"),
    [
        ("$DISK/data", "/my disk/data"),
        ("--scratch=$DISK/data", "--scratch=/my disk/data"),
        ("${DISK}/runs", "/my disk/runs"),
        ("${NOWHERE:-/tmp}/runs", "/tmp/runs"),
        ("--storage=${DISK}", "--storage=/my disk"),
        ("$DISK/my data", "/my disk/my data"),
        ("$DISK/a,b:c", "/my disk/a,b:c"),
        ('$DISK/"$DISK`id`\\', '/my disk/"$DISK`id`\\'),
        ("rho=$DISK", "rho=$DISK"),
        ("$(id)", "$(id)"),
        ("${DISK$(id)}", "${DISK$(id)}"),
        ("method=FP|MD$", "method=FP|MD$"),
        ("--on-end=$DISK/tell $QUANTLAB_STATE", "--on-end=$DISK/tell $QUANTLAB_STATE"),
    ],
)
def test_a_value_that_begins_with_a_variable_is_expanded(word: str, passed: str) -> None:
    for words, found in (
        ([word], passed),
        (["--quiet", word, "--on-end", "$DISK"], f"--quiet\n{passed}\n--on-end\n$DISK"),
    ):
        line = for_shell(words, with_commands=("--on-end",))
        said = subprocess.run(
            ["bash", "-uc", f"printf '%s\\n' {line}"],
            env={"DISK": "/my disk", "PATH": os.environ["PATH"]},
            capture_output=True,
            text=True,
            check=True,
        )
        assert said.stdout == f"{found}\n"
