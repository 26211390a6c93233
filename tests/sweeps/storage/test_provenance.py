"""The command that trains trials, as others read it."""

import pytest

from sweeps.storage.provenance import running_here
from sweeps.storage.records import Origin


@pytest.mark.parametrize(
    ("environment", "job"),
    [
        ({}, ""),
        ({"SLURM_JOB_ID": "77"}, "SLURM job 77"),
        (
            {"SLURM_JOB_ID": "79", "SLURM_ARRAY_JOB_ID": "77", "SLURM_ARRAY_TASK_ID": "2"},
            "SLURM job 77_2",
        ),
    ],
)
def test_a_command_knows_the_job_that_it_is_part_of(
    environment: dict[str, str], job: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SLURM_JOB_ID", "SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    running = running_here(Origin(command="sweeps run mine.py"))
    assert running.job == job
    assert str(running).endswith(f", {job}" if job else f"process {running.process}")
