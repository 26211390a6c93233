"""The machines that other tests use are as separate as real ones, and leave nothing behind."""

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.machines import Machine, Machines, requirements
from tests.services import wait_until

pytestmark = pytest.mark.machines


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    with Machines(tmp_path_factory.mktemp("machines"), has_ssh=True) as machines:
        machines.up("one", "two")
        yield machines


def said(machine: Machine, command: str, **arguments: str) -> str:
    """What a command prints in a machine."""
    return machine.run(command, **arguments).stdout.strip()  # type: ignore[arg-type]


def test_a_machine_has_its_own_name_address_processes_and_temporary_files(
    machines: Machines,
) -> None:
    one, two = machines["one"], machines["two"]
    assert said(one, "hostname; id -un; pwd") == "one\nsweeper\n/home/sweeper"
    assert said(one, "hostname -I") == one.address == "10.77.0.1"
    assert said(one, "getent hosts two").split() == [two.address, "two"]
    one.run("touch /tmp/mine /dev/shm/mine ~/mine /shared/ours")
    assert said(two, "ls -A /tmp /dev/shm ~ /shared | grep -E 'mine|ours'") == "ours"
    assert (machines.shared / "ours").stat().st_uid == one.path("/tmp/mine").stat().st_uid == 1500
    assert not Path("/tmp/mine").exists()

    output = machines.shared / "sleep.log"
    with output.open("w") as file, one.start("exec sleep 987", file) as sleeping:
        wait_until("it sleeps", lambda: len(one.processes("^sleep 987")) == 1)
        assert two.processes("^sleep 987") == []
        one.run("pkill -TERM -f '^sleep 987'")
        assert sleeping.wait(10) == -signal.SIGTERM


def test_a_machine_runs_this_project_and_cannot_change_it(machines: Machines) -> None:
    one = machines["one"]
    assert said(one, "python -c 'import quantlab; print(quantlab.__file__)'").startswith(
        str(Path(__file__).parents[2])
    )
    for user in ("sweeper", "root"):
        done = one.run(f"touch {Path(__file__)}", user=user, check=False)
        assert done.returncode != 0, "a machine can write to the checkout"


def test_users_log_in_by_ssh_and_may_become_root(machines: Machines) -> None:
    one = machines["one"]
    assert said(one, "ssh two 'hostname; id -un; sudo id -un' 2> /dev/null") == "two\nsweeper\nroot"
    assert said(one, "ssh two id -un 2> /dev/null", user="other") == "other"


def test_a_failing_command_fails_the_test_with_its_output(machines: Machines) -> None:
    with pytest.raises(AssertionError, match=r"exit code 3\nhalf done"):
        machines["one"].run("echo half done >&2; exit 3")


def test_a_power_cut_says_goodbye_to_nobody_and_the_disk_remains(machines: Machines) -> None:
    (three,) = machines.up("three")
    three.run("echo kept > ~/kept; touch /tmp/lost")
    one = machines["one"]
    program = "import socket, time; s = socket.create_server(('', 4000)); time.sleep(99)"
    listen = f"exec python -c {shlex.quote(program)}"
    connect = "exec 3<> /dev/tcp/three/4000; echo connected; read -t 2 <&3; echo read ended with $?"
    with three.start(listen, subprocess.DEVNULL):
        wait_until("it listens", lambda: "4000" in said(three, "ss -Htln"))
        with one.start(connect, subprocess.PIPE) as client:
            assert client.stdout is not None
            assert client.stdout.readline() == "connected\n"
            three.power_cut()
            # A connection that was closed would have ended with 1 at once; 142 is the timeout.
            assert client.stdout.read() == "read ended with 142\n"
    assert not three.is_on
    assert one.run("timeout 1 bash -c '< /dev/tcp/three/22'", check=False).returncode != 0

    three.power_on()
    assert said(three, "cat ~/kept; test ! -e /tmp/lost || echo not lost") == "kept"
    assert said(one, "ssh three hostname 2> /dev/null") == "three"


def test_a_cable_can_be_pulled_and_put_back(machines: Machines) -> None:
    one, two = machines["one"], machines["two"]
    reach = "timeout 1 bash -c '< /dev/tcp/two/22'"
    one.run(reach)
    two.unplug()
    assert one.run(reach, check=False).returncode != 0
    assert said(two, "hostname") == "two"
    two.plug()
    wait_until("two answers", lambda: one.run(reach, check=False).returncode == 0)


def test_two_sites_do_not_see_each_other(machines: Machines, tmp_path: Path) -> None:
    with Machines(tmp_path) as others:
        (same,) = others.up("one")
        assert same.address == machines["one"].address
        same.run("touch /shared/theirs")
        assert not (machines.shared / "theirs").exists()
        reach = f"timeout 1 bash -c '< /dev/tcp/{machines['two'].address}/22'"
        machines["one"].run(reach)
        assert same.run(reach, check=False).returncode != 0


PROGRAM = """
import sys, time
from pathlib import Path
from tests.machines import Machines

with Machines(Path(sys.argv[1])) as machines:
    (one,) = machines.up("one")
    one.run("sleep 7654 > /dev/null 2>&1 &")
    print("up", flush=True)
    {end}
"""


@pytest.mark.parametrize("end", ["1 / 0", "time.sleep(99)"], ids=["error", "killed"])
def test_nothing_is_left_behind(end: str, tmp_path: Path) -> None:
    before = {line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()}
    root = Path(__file__).parents[2]
    program = [sys.executable, "-c", PROGRAM.format(end=end), str(tmp_path / "site")]
    with subprocess.Popen(
        program, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as test:
        assert test.stdout is not None
        assert test.stdout.readline() == "up\n"
        family = psutil.Process(test.pid).children(recursive=True)
        if end != "1 / 0":
            assert [process for process in family if process.cmdline() == ["sleep", "7654"]]
            test.kill()
        assert test.wait(20) != 0
    _, alive = psutil.wait_procs(family, timeout=10)
    assert not alive
    after = {line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()}
    assert after <= before
    assert [path.name for path in (tmp_path / "site" / "disks").iterdir()] == []


def test_who_cannot_have_machines_is_told_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(requirements.REQUIRED, raising=False)
    monkeypatch.setattr(requirements, "PLACES", "/nowhere")
    with pytest.raises(pytest.skip.Exception, match=r"Debian packages iproute2 util-linux$"):
        requirements.require_machines()
    monkeypatch.setenv(requirements.REQUIRED, "1")
    with pytest.raises(pytest.fail.Exception, match="QUANTLAB_REQUIRE_MACHINES is set, but"):
        requirements.require_machines()
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(pytest.fail.Exception, match="must run as root"):
        requirements.require_machines()
