"""A SLURM cluster on machines: a controller, from which users submit, and nodes that run jobs."""

import math
import re
import time
from collections.abc import Callable

from tests.machines.machine import Machine
from tests.machines.machines import Machines

CONTROLLER = "login"
NODES = ("node1", "node2")
_CONFIGURATION = """
ClusterName=quantlab
SlurmctldHost={controller}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
StateSaveLocation=/var/spool/slurmctld
SlurmdSpoolDir=/var/spool/slurmd
SlurmctldPidFile=/run/slurmctld.pid
SlurmdPidFile=/run/slurmd.pid
SlurmctldLogFile=/var/log/slurmctld.log
SlurmdLogFile=/var/log/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
SchedulerParameters=bf_interval=2,sched_interval=2,sched_min_interval=100000
ReturnToService=2
SlurmdTimeout=40
KillWait=15
MinJobAge=100000
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
MpiDefault=none
"""


class Slurm:
    """A SLURM cluster, as users of it see it."""

    def __init__(self, machines: Machines) -> None:
        """Switch on a controller and nodes, and start SLURM on them.

        Args:
            machines: Machines, among which there is none yet.
        """
        self.shared = machines.shared
        """The folder /shared of all machines, as the test sees it."""
        self.login, *self.nodes = machines.up(CONTROLLER, *NODES)
        configuration = _CONFIGURATION.format(controller=CONTROLLER)
        nodes = ",".join(NODES)
        for node in self.nodes:
            configuration += (
                f"NodeName={node.name} NodeAddr={node.address} CPUs=2 RealMemory=4000\n"
            )
        for name, rest in (("main", "Default=YES PriorityTier=1"), ("urgent", "PriorityTier=10")):
            configuration += f"PartitionName={name} Nodes={nodes} MaxTime=1:00:00 {rest}\n"
        for machine in (self.login, *self.nodes):
            machine.path("/etc/slurm").mkdir(exist_ok=True)
            machine.path("/etc/slurm/slurm.conf").write_text(configuration)
            self.start(machine)

    def start(self, machine: Machine) -> None:
        """Start the services of SLURM on a machine that has just been switched on."""
        program = "slurmctld" if machine is self.login else "slurmd"
        machine.run(
            f"""
            mkdir -p /run/munge /var/spool/slurmctld /var/spool/slurmd /var/log/munge
            chown -R munge: /run/munge /etc/munge /var/log/munge /var/lib/munge
            head -c 1024 /dev/zero > /etc/munge/munge.key
            chown munge: /etc/munge/munge.key && chmod 400 /etc/munge/munge.key
            setpriv --reuid=munge --regid=munge --init-groups munged
            {program}
            """,
            user="root",
        )

    def state(self, job: str) -> str:
        """The state of a job, such as ``RUNNING``."""
        return self.field(job, "JobState")

    def field(self, job: str, name: str) -> str:
        """A field of ``scontrol show job``."""
        said = self.login.run(f"scontrol --oneliner show job {job}", check=False).stdout
        found = re.search(rf"\b{name}=(\S*)", said)
        assert found is not None, f"{said}\n{self.noted()}"
        return found[1]

    def noted(self) -> str:
        """The last lines of the controller's log, without those on changes by these tests."""
        last = "grep -v update_job /var/log/slurmctld.log | tail -n 60"
        return self.login.run(last, user="root").stdout

    def wait(self, job: str, what: str, holds: Callable[[], bool], *, seconds: float = 400) -> None:
        """Wait for a condition, and fail with what the job has said if it does not hold in time."""
        end = time.monotonic() + seconds
        while not holds():
            said = f"not within {seconds:g} s: {what}; job {job} is {self.state(job)}"
            assert time.monotonic() < end, f"{said}\n{self.said(job)}\n{self.noted()}"
            time.sleep(0.5)

    def wait_for(self, job: str, *states: str) -> None:
        """Wait until a job has one of the given states."""
        self.wait(job, " or ".join(states), lambda: self.state(job) in states)

    def said(self, job: str) -> str:
        """What the job has written to its log."""
        path = self.field(job, "StdOut")
        return self.login.run(f"cat {path}", check=False).stdout

    def idle_nodes(self) -> int:
        """How many nodes have no job, and could start one."""
        return int(self.login.run("sinfo -h -t idle -p main -o %D").stdout or 0)

    def waiting(self) -> str:
        """The jobs that wait or run."""
        return self.login.run("squeue -h -o %A").stdout.strip()

    def power_cut(self, node: Machine) -> None:
        """Take away the power of a node; SLURM is told at once what it would notice in a minute."""
        node.power_cut()
        self.login.run(f"scontrol update NodeName={node.name} State=DOWN Reason=lost", user="root")

    def power_on(self, node: Machine) -> None:
        """Switch a node on again; SLURM uses it as soon as it answers."""
        node.power_on()
        self.start(node)

    def end_in(self, job: str, seconds: int) -> None:
        """Move the time limit of a job, also of the starts that follow, to a time from now."""
        change = f"EndTime=$(date -d '+{seconds} seconds' +%FT%T)"
        if self.state(job) != "RUNNING":
            change = f"TimeLimit={seconds // 60}"
        self.login.run(f"scontrol update JobId={job} {change}", user="root")

    def start_again(self, job: str) -> None:
        """Start a job that has been requeued; SLURM would let it wait for two minutes.

        Nodes refuse a job that starts within a second of its end, whose credential is revoked.
        """
        asked = -math.inf

        def is_running() -> bool:
            nonlocal asked
            if time.monotonic() - asked > 8:  # again, as it cannot be changed while it ends
                asked = time.monotonic()
                soon = f"scontrol update JobId={job} StartTime=now+3"
                self.login.run(soon, user="root", check=False)
            state = self.state(job)
            assert state != "FAILED", f"{self.said(job)}\n{self.noted()}"
            return state == "RUNNING"

        self.wait(job, "it starts again", is_running)
