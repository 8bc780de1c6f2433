"""What an image's entrypoint prints, in the job's log."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from runner.testing.kubelets import ProcessKubelet
from runner.testing.kubernetes import KubernetesServer

if TYPE_CHECKING:
    from tests.end_to_end.targets import Cluster

pytestmark = [pytest.mark.slow, pytest.mark.only_on("embedded")]

ENTRYPOINT = ("sh", "-c", 'echo entering; echo trouble >&2; sleep 0.5; echo entered; exec "$@"', "entrypoint")
FLAGS = {"GIT_STRATEGY": "none", "FF_KUBERNETES_HONOR_ENTRYPOINT": "true"}
HELPER = ("sh", "-c", 'exec "$@"', "entrypoint")


def server() -> KubernetesServer:
    """A Kubernetes on which the build's image has an entrypoint that talks."""
    return KubernetesServer(kubelet=ProcessKubelet(entrypoints={"talking": ENTRYPOINT, "helper": HELPER}))


@pytest.mark.parametrize("legacy", ["false", "true"])
async def test_job_log_has_the_entrypoints_lines_when_it_is_honored(cluster: Cluster, legacy: str) -> None:
    """Both of its streams, each line once; and the job's own lines."""
    flags = {**FLAGS, "FF_USE_LEGACY_KUBERNETES_EXECUTION_STRATEGY": legacy}
    async with server() as kubernetes, cluster.harness(cluster=kubernetes, kubernetes={"helper_image": "helper"}) as h:
        job = await h.run(image="talking", variables=flags, script=["sleep 1", "echo the job"])

    assert job.state == "success", job.text
    lines = job.text.splitlines()
    assert [lines.count(line) for line in ("entering", "trouble", "entered", "the job")] == [1, 1, 1, 1], job.text
    assert lines.index("entering") < lines.index("entered")


async def test_job_runs_when_the_entrypoints_output_may_not_be_read(cluster: Cluster) -> None:
    """A warning says which right is missing."""
    async with server() as kubernetes, cluster.harness(cluster=kubernetes, kubernetes={"helper_image": "helper"}) as h:
        kubernetes.forbid("get", "pods/log")
        job = await h.run(image="talking", variables=FLAGS, script=["echo the job"])

    assert job.state == "success", job.text
    assert "The entrypoint's output cannot be shown: " in job.text
    assert "pods/log" in job.text


async def test_log_of_the_container_is_not_asked_for_without_the_flag(cluster: Cluster) -> None:
    """No request that the job does not need."""
    async with server() as kubernetes, cluster.harness(cluster=kubernetes) as h:
        job = await h.run(variables={"GIT_STRATEGY": "none"}, script=["echo the job"])

    assert job.state == "success", job.text
    assert ("get", "pods/log") not in h.kube_requests
