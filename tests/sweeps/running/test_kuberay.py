"""examples/kuberay.yaml, as far as it can be checked without a Kubernetes cluster."""

import copy
import re
import shlex
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from lightkube.models.core_v1 import PersistentVolumeClaim, PodTemplateSpec
from ray.autoscaler._private.kuberay.autoscaling_config import (
    _derive_autoscaling_config_from_ray_cr,
)

from sweeps.cli.command import command_parser

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "examples" / "kuberay.yaml").read_text(encoding="utf-8")
CLAIM, JOB = yaml.safe_load_all(TEXT)
CLUSTER: dict[str, Any] = JOB["spec"]["rayClusterSpec"]


def fields(text: str) -> set[str]:
    return set(text.split())


# The fields of KubeRay's types in their version v1, from its API reference.
JOB_FIELDS = fields(
    "activeDeadlineSeconds backoffLimit rayClusterSpec submitterPodTemplate metadata "
    "clusterSelector submitterConfig managedBy deletionStrategy entrypoint runtimeEnvYAML jobId "
    "submissionMode entrypointResources entrypointNumCpus entrypointNumGpus "
    "ttlSecondsAfterFinished shutdownAfterJobFinishes suspend preRunningDeadlineSeconds"
)
CLUSTER_FIELDS = fields(
    "authOptions suspend managedBy autoscalerOptions headServiceAnnotations "
    "enableInTreeAutoscaling gcsFaultToleranceOptions headGroupSpec rayVersion "
    "workerGroupSpecs upgradeStrategy"
)
AUTOSCALER_FIELDS = fields(
    "resources image imagePullPolicy securityContext idleTimeoutSeconds upscalingMode version env "
    "envFrom volumeMounts"
)
HEAD_FIELDS = fields(
    "template headService enableIngress resources labels rayStartParams serviceType"
)
WORKER_FIELDS = fields(
    "suspend groupName replicas minReplicas maxReplicas idleTimeoutSeconds resources labels "
    "rayStartParams template scaleStrategy numOfHosts"
)


def groups() -> list[dict[str, Any]]:
    return [CLUSTER["headGroupSpec"], *CLUSTER["workerGroupSpecs"]]


def require_known(value: Any, kind: type) -> None:
    """Check types and required fields, and that no field is unknown, which Kubernetes refuses."""
    assert msgspec.to_builtins(msgspec.convert(value, kind)) == value


def test_the_fields_are_those_of_kuberay() -> None:
    assert (JOB["apiVersion"], JOB["kind"]) == ("ray.io/v1", "RayJob")
    assert JOB["spec"].keys() <= JOB_FIELDS
    assert JOB["spec"]["submitterConfig"].keys() <= {"backoffLimit"}
    assert JOB["spec"]["submissionMode"] in ("K8sJobMode", "HTTPMode", "InteractiveMode")
    assert CLUSTER.keys() <= CLUSTER_FIELDS
    assert CLUSTER["authOptions"] == {"mode": "token"}
    assert CLUSTER["autoscalerOptions"].keys() <= AUTOSCALER_FIELDS
    assert {"rayStartParams", "template"} <= CLUSTER["headGroupSpec"].keys() <= HEAD_FIELDS
    for group in CLUSTER["workerGroupSpecs"]:
        required = {"groupName", "minReplicas", "maxReplicas", "rayStartParams", "template"}
        assert required <= group.keys() <= WORKER_FIELDS
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]


def test_the_pods_and_the_volume_are_those_of_kubernetes() -> None:
    require_known(CLAIM, PersistentVolumeClaim)
    for group in groups():
        require_known(group["template"], PodTemplateSpec)
        pod = group["template"]["spec"]
        mounted = {mount["name"] for mount in pod["containers"][0]["volumeMounts"]}
        assert mounted == {volume["name"] for volume in pod["volumes"]}
    wrong = copy.deepcopy(CLUSTER["headGroupSpec"]["template"])
    wrong["spec"]["containers"][0]["volumeMount"] = []
    with pytest.raises(AssertionError):
        require_known(wrong, PodTemplateSpec)


def test_the_autoscaler_of_ray_reads_the_groups() -> None:
    """Workers have a GPU and start at none, and the head trains nothing."""
    config = _derive_autoscaling_config_from_ray_cr(
        {"metadata": {"name": "c", "namespace": "n"}, "spec": copy.deepcopy(CLUSTER)}
    )
    types = config["available_node_types"]
    head, gpu = types[config["head_node_type"]], types["gpu"]
    assert head["resources"]["CPU"] == 0
    assert (gpu["resources"]["CPU"], gpu["resources"]["GPU"]) == (4, 1)
    assert (gpu["min_workers"], gpu["max_workers"]) == (0, 8)
    assert config["idle_timeout_minutes"] == 5


def test_the_command_knows_its_options() -> None:
    program, *arguments = shlex.split(JOB["spec"]["entrypoint"])
    assert program == "sweeps"
    options = command_parser().parse_args(arguments)
    assert options.storage.is_relative_to("/shared")
    assert options.data.is_relative_to("/shared")


def test_the_values_to_change_and_the_version() -> None:
    assert re.findall(r"# CHANGE (\d of \d)", TEXT) == ["1 of 3", "2 of 3", "3 of 3"]
    images = {container["image"] for group in groups() for container in containers(group)}
    assert len(images) == 1
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    assert f"ray=={CLUSTER['rayVersion']}\n" in pins
    page = (ROOT / "docs" / "kubernetes.md").read_text(encoding="utf-8")
    assert f"FROM rayproject/ray:{CLUSTER['rayVersion']}-py311-gpu" in page
    kubernetes = ".".join(version("lightkube-models").split(".")[:2])
    assert f"the types of Kubernetes {kubernetes}" in " ".join(page.split())


def containers(group: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = group["template"]["spec"]["containers"]
    return found
