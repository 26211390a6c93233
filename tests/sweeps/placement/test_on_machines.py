"""Where trials run on machines that differ, which GPU they see, and what happens without memory.

GPUs do not exist here: Ray is told that there are some. Memory is limited by a control group, which
is all that the programs of a machine see of the memory.
"""

import os
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sweeps.loading import load_sweep
from sweeps.storage import Storage, TrialState
from sweeps.storage.records import Result
from tests.machines import Machine, Machines
from tests.machines.requirements import skip
from tests.services import wait_until
from tests.sweeps.sweep_files import TINY, changed

pytestmark = pytest.mark.machines

MIG = ("MIG-5a7b0e5c-0d6f-5a3e-8f57-52d3b9d9a3f1", "MIG-61c2a1de-7d1c-5b0f-9a0c-0f7a2b8b9c44")
"""Names of two parts of a GPU."""
OPEN = {"RAY_AUTH_MODE": "disabled", "RAY_enable_worker_prestart": "0"}
"""For Ray, on a network that nobody else reaches."""
CONTROL_GROUPS = Path("/sys/fs/cgroup/memory")

WAIT = """
import sys, time, ray

ray.init(sys.argv[1], log_to_driver=False)
while len(ray.nodes()) < 2:
    time.sleep(0.2)
"""
"""Waits until a cluster has two machines."""

SEEN = '''
@dataclass(frozen=True)
class Seen(Digits):
    """Prints the GPUs that a trial may use."""

    def load(self, *arguments, **options):
        import os
        import time

        print("GPUs:", os.environ.get("CUDA_VISIBLE_DEVICES"))
        time.sleep(3)  # so that two run at once
        return super().load(*arguments, **options)


'''

HEAVY = '''
@dataclass(frozen=True)
class Heavy(Digits):
    """Needs 1.5 GiB for some seconds."""

    def load(self, *arguments, **options):
        import time

        parts = []
        for _ in range(15):
            parts.append(b"x" * (100 * 2**20))
            time.sleep(0.1)
        time.sleep(2)
        del parts
        return super().load(*arguments, **options)


'''


def with_dataset(text: str, name: str, code: str) -> str:
    """TINY, or what was made of it, with another dataset."""
    text = changed(
        text, "@dataclass(frozen=True)\nclass Tanh", f"{code}@dataclass(frozen=True)\nclass Tanh"
    )
    return changed(text, "dataset=Digits(", f"dataset={name}(")


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    with Machines(tmp_path_factory.mktemp("placement")) as machines:
        machines.up("plain", "large")
        yield machines


@pytest.fixture(scope="module")
def address(machines: Machines) -> Iterator[str]:
    """A Ray cluster: a machine with a CPU, and one with a GPU in two parts."""
    plain, large = machines["plain"], machines["large"]
    address = f"{plain.address}:6379"
    start = "ray start --block --disable-usage-stats --object-store-memory=80000000 "
    log = machines.shared / "ray.log"
    with log.open("w") as output:
        plain.start(
            f"{start} --head --port=6379 --node-ip-address={plain.address} --num-cpus=1"
            " --include-dashboard=false --resources='{\"accelerator_type:A100\": 1}'",
            output,
            environment=OPEN,
        )
        large.start(
            f"{start} --address={address} --node-ip-address={large.address} --num-cpus=2"
            " --num-gpus=2 --resources='{\"accelerator_type:H100\": 1}'",
            output,
            environment={**OPEN, "CUDA_VISIBLE_DEVICES": ",".join(MIG)},
        )
        wait_until(
            "the head answers",
            lambda: (
                plain.run(
                    "ray health-check --address " + address, environment=OPEN, check=False
                ).returncode
                == 0
            ),
            pause=0.5,
        )
        plain.run(f"python -c {shlex.quote(WAIT)} {address}", environment=OPEN)
        yield address


def sweep_at(
    machines: Machines, store: Callable[[Path], Path], name: str, text: str
) -> tuple[str, Storage]:
    """Write a sweep and an empty storage where all machines have them."""
    file = machines.shared / f"{name}.py"
    file.write_text(changed(text, 'name="tiny"', f'name="{name}"'))
    folder = store(machines.shared / name)
    for path in (folder, *folder.iterdir()):
        os.chown(path, 1500, 1500)
    return f"sweeps run /shared/{name}.py --storage /shared/{name}", Storage(folder)


def results(machines: Machines, name: str, storage: Storage) -> dict[str, list[Result]]:
    """The results of a sweep by block."""
    found: dict[str, list[Result]] = {}
    for cell in load_sweep(str(machines.shared / f"{name}.py")).cells:
        result = storage.trial(cell.fingerprint).result.read()
        assert result is not None, cell.name
        found.setdefault(cell.block, []).append(result)
    return found


def test_trials_run_where_their_block_says(
    machines: Machines, address: str, storage_with_store: Callable[[Path], Path]
) -> None:
    text = changed(TINY, 'Block("FP")', 'Block("FP", resources={"accelerator_type:H100": 0.5})')
    text = changed(text, '"MD",', '"MD", resources={"accelerator_type:A100": 0.01},')
    command, storage = sweep_at(machines, storage_with_store, "placed", text)
    done = machines["plain"].run(f"{command} --address {address}", environment=OPEN)
    assert "placed: 6 COMPLETE" in done.stdout
    found = results(machines, "placed", storage)
    assert [result.host for result in found["FP"]] == ["large"] * 2
    assert [result.host for result in found["MD"]] == ["plain"] * 4
    peaks = [result.memory_gib for own in found.values() for result in own]
    assert all(peak is not None and 0.1 < peak < 3 for peak in peaks), peaks


def test_each_process_sees_its_own_part_of_a_gpu(
    machines: Machines, address: str, storage_with_store: Callable[[Path], Path]
) -> None:
    """The trials fail then, because there is no GPU."""
    text = with_dataset(TINY, "Seen", SEEN)
    text = changed(text, 'Block("FP")', 'Block("FP", resources={"GPU": 0.5})')
    command, storage = sweep_at(machines, storage_with_store, "seen", text)
    options = f"--address {address} --gpus-per-trial 1 --retries 0"
    done = machines["plain"].run(f"{command} {options}", environment=OPEN, check=False)
    assert done.returncode == 1, done.stdout
    seen = set()
    for cell in load_sweep(str(machines.shared / "seen.py")).cells:
        folder = storage.trial(cell.fingerprint)
        assert folder.state() is TrialState.FAILED
        lines = folder.output_of(0).read_text().splitlines()
        seen |= {line.removeprefix("GPUs: ") for line in lines if line.startswith("GPUs: ")}
    assert seen == set(MIG), "a process sees one of them, and two processes see both"


@contextmanager
def limited(machine: Machine, gib: int) -> Iterator[str]:
    """A control group for the memory of a machine; yields the command that joins it."""
    group = CONTROL_GROUPS / f"quantlab-{os.getpid()}"
    try:
        group.mkdir()
    except OSError as error:
        skip(f"a control group for memory (version 1) cannot be made: {error}")
    try:
        (group / "memory.limit_in_bytes").write_text(str(gib * 2**30))
        machine.run(f"mount --bind {group} {CONTROL_GROUPS}", user="root")
        yield f"echo $$ > {CONTROL_GROUPS}/cgroup.procs"
    finally:
        machine.power_cut()
        wait_until("its processes have ended", lambda: not (group / "cgroup.procs").read_text())
        group.rmdir()


def test_fewer_trials_run_at_once_where_memory_runs_out(
    machines: Machines, storage_with_store: Callable[[Path], Path]
) -> None:
    """Three of them need 6 GiB, besides Ray and the driver. The machine has 5."""
    text = changed(with_dataset(TINY, "Heavy", HEAVY), "seeds=(0, 1)", "seeds=(0,)")
    command, storage = sweep_at(machines, storage_with_store, "heavy", text)
    (small,) = machines.up("small")
    with limited(small, 5) as join:
        monitor = {"RAY_memory_usage_threshold": "0.9", "RAY_memory_monitor_refresh_ms": "100"}
        done = small.run(
            f"{join} && {command} --concurrency 3",
            user="root",
            environment={**OPEN, **monitor},
            timeout_seconds=240,
        )
    assert (
        "the memory of a machine was used up, and Ray has killed a process; now one" in done.stdout
    )
    assert "heavy: 3 COMPLETE" in done.stdout
    assert done.stdout.count("the memory of a machine was used up") == 1, done.stdout
    found = results(machines, "heavy", storage)
    assert len(found["FP"] + found["MD"]) == 3
    for result in found["FP"] + found["MD"]:
        assert result.memory_gib is not None
        assert result.memory_gib > 1.5, "it needs what it has needed at most"
