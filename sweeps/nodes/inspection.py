"""Inspection: look at all machines of a cluster before any trial starts.

Machines that join later are looked at by their workers, before these train; see
`sweeps.worker.actor`.
"""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import ray
from ray import cloudpickle
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from quantlab import ConfigurationError
from sweeps.nodes import inspector
from sweeps.nodes import installed as installed_here
from sweeps.nodes.agreement import Agreement
from sweeps.nodes.inspector import Inspector
from sweeps.nodes.installed import Installed

PATIENCE_SECONDS = 60.0
"""How long the machines may take to answer. One that does not is looked at when it trains."""


def inspected(agreement: Agreement) -> Agreement:
    """Look at all machines of the cluster to which this process is connected.

    Args:
        agreement: what the driver has.

    Returns:
        The agreement with the names of the machines that have been inspected.

    Raises:
        ConfigurationError: one of them cannot be used: see `Agreement.unmet`; or the driver does
            not see its locks.
    """
    found = [(node["NodeManagerHostname"], node["NodeID"]) for node in ray.nodes() if node["Alive"]]
    hosts = {name: host for host, name in sorted(found)}
    meeting = agreement.meeting
    for name in hosts:
        meeting.exists(f"{name}.new")  # which may be remembered for a while
    with _inspectors(hosts) as there:
        has = _answers({name: one.installed.remote() for name, one in there.items()})
        for fields in has.values():
            if difference := Installed(**fields).difference(agreement.installed):
                raise ConfigurationError(difference)
        reasons = _answers({name: there[name].unmet.remote(agreement, name) for name in has})
        if reason := next(filter(None, reasons.values()), ""):
            raise ConfigurationError(reason)
        for name in reasons:
            meeting.require_lock_of(name, hosts[name])
        late = [meeting.late(f"{name}.new") for name in reasons]
        for name in reasons:
            meeting.show(f"{name}.answer")
        late += _answers(
            {name: there[name].late.remote(agreement, name) for name in reasons}
        ).values()
    for line in dict.fromkeys(filter(None, late)):
        print(f"sweeps: warning: {line}", file=sys.stderr)
    silent = [host for name, host in hosts.items() if name not in reasons]
    if silent:
        print(
            f"sweeps: warning: {', '.join(silent)} did not answer within {PATIENCE_SECONDS:g} s; "
            "what is mounted and installed there is checked when trials start there",
            file=sys.stderr,
        )
    return replace(agreement, inspected=frozenset(reasons))


@contextmanager
def _inspectors(hosts: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """Start an inspector on each machine, without asking for CPUs of it."""
    sent = (inspector, installed_here)
    for module in sent:
        cloudpickle.register_pickle_by_value(module)
    try:
        actor = ray.remote(num_cpus=0, max_restarts=0)(Inspector)
        there: dict[str, Any] = {
            name: actor.options(
                scheduling_strategy=NodeAffinitySchedulingStrategy(name, soft=False)
            ).remote()
            for name in hosts
        }
    finally:
        for module in sent:
            cloudpickle.unregister_pickle_by_value(module)
    try:
        yield there
    finally:
        for one in there.values():
            ray.kill(one)


def _answers(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return the answers of the machines that answer; others may have left the cluster."""
    ray.wait(list(asked.values()), num_returns=len(asked), timeout=PATIENCE_SECONDS)
    answers = {}
    for name, answer in asked.items():
        try:
            answers[name] = ray.get(answer, timeout=0)
        except RayError:
            continue
    return answers
