"""What a kubelet, a scheduler or an administrator can do to a job's pod, on a real cluster; nothing of it is green."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import anyio
import pytest

if TYPE_CHECKING:
    from runner.testing.gitlab_jobs import JobRecord
    from tests.end_to_end.targets import Cluster

pytestmark = [pytest.mark.slow, pytest.mark.only_on("real")]

NO_SOURCES = {"GIT_STRATEGY": "none"}


async def pod_of(cluster: Cluster, job: JobRecord) -> str:
    """The name of a job's pod."""
    return await anyio.to_thread.run_sync(cluster.pod_of, job.id)


async def started(job: JobRecord, word: str = "running-now") -> None:
    """Wait until the job's script has printed a word."""
    await job.wait(lambda record: word in record.text.splitlines(), timeout=60)


async def until_no_pods(cluster: Cluster) -> None:
    """Wait until no pod of a job is left."""
    await anyio.to_thread.run_sync(
        lambda: cluster.kubectl(
            "wait", "--for=delete", "pods", "-l", "job.runner.gitlab.com/id", "--timeout=60s", timeout=70
        )
    )


async def test_a_script_that_uses_too_much_memory_is_told_so(cluster: Cluster) -> None:
    """The memory limit kills a child of the script: exit code 137, and the log says that memory was the cause."""
    async with cluster.harness(kubernetes={"memory_limit": "48Mi"}) as h:
        job = await h.run(script=["echo running-now", "tail /dev/zero"], variables=NO_SOURCES, timeout=120)
        assert (job.state, job.failure_reason, job.exit_code) == ("failed", "script_failure", 137), job.text
        assert "memory" in job.text, job.text
        await until_no_pods(cluster)


async def test_a_pod_deleted_under_its_job_is_a_system_failure(cluster: Cluster) -> None:
    """Somebody deletes the pod by force: the job fails at once, names the deletion, and keeps the log it had."""
    async with cluster.harness() as h:
        job = h.queue(script=["echo running-now", "sleep 60"], variables=NO_SOURCES)
        await started(job)
        pod = await pod_of(cluster, job)
        await anyio.to_thread.run_sync(lambda: cluster.kubectl("delete", "pod", pod, "--grace-period=0", "--force"))
        await job.wait_finished(timeout=30)
        assert (job.state, job.failure_reason) == ("failed", "runner_system_failure"), job.text
        assert "running-now" in job.text
        assert "deleted" in job.text or "not found" in job.text, job.text


async def test_an_evicted_pod_is_a_system_failure(cluster: Cluster) -> None:
    """The eviction API takes the pod away: the job fails as the cluster's doing."""
    async with cluster.harness() as h:
        job = h.queue(script=["echo running-now", "sleep 60"], variables=NO_SOURCES)
        await started(job)
        pod = await pod_of(cluster, job)
        eviction = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": pod, "namespace": cluster.namespace},
        }
        path = f"/api/v1/namespaces/{cluster.namespace}/pods/{pod}/eviction"
        await anyio.to_thread.run_sync(
            lambda: cluster.kubectl("create", "--raw", path, "-f", "-", stdin=json.dumps(eviction))
        )
        await job.wait_finished(timeout=60)
        assert (job.state, job.failure_reason) == ("failed", "runner_system_failure"), job.text


async def test_an_image_that_is_not_there_is_named(cluster: Cluster) -> None:
    """The kubelet's own words about the pull stand in the log, and nothing is left."""
    async with cluster.harness() as h:
        job = await h.run(script=["true"], image="localhost/nowhere/missing:1", variables=NO_SOURCES)
        assert job.state == "failed"
        assert job.failure_reason in {
            "image_pull_failure",
            "runner_configuration_error",
            "runner_external_dependency_failure",
        }, job.text
        assert "image pull failed" in job.text
        assert "localhost/nowhere/missing:1" in job.text
        await until_no_pods(cluster)


async def test_a_pod_that_no_node_can_take_says_why(cluster: Cluster) -> None:
    """More CPU than any node has: the scheduler's reason is told while waiting, and again at `poll_timeout`."""
    async with cluster.harness(kubernetes={"cpu_request": "500", "poll_timeout": 6}) as h:
        job = await h.run(script=["true"], variables=NO_SOURCES)
        assert (job.state, job.failure_reason) == ("failed", "runner_system_failure"), job.text
        assert "timed out waiting for pod to start" in job.text
        assert "cpu" in job.text.lower(), job.text
        await until_no_pods(cluster)


async def test_services_answer_at_their_aliases(cluster: Cluster) -> None:
    """A service runs beside the job and is reached by its alias and by its image's name."""
    web = {
        "name": cluster.busybox_image,
        "alias": "web",
        "entrypoint": ["sh", "-c"],
        "command": ["mkdir -p /tmp/w && echo served > /tmp/w/index.html && exec httpd -f -p 8080 -h /tmp/w"],
    }
    async with cluster.harness() as h:
        job = await h.run(
            script=["for i in 1 2 3 4 5 6 7 8 9; do wget -q -O - http://web:8080/ && exit 0; sleep 1; done; exit 1"],
            services=[web],
            variables=NO_SOURCES,
        )
        assert job.state == "success", job.text
        assert "\nserved\n" in job.text


async def test_a_job_time_out_takes_the_pod_down(cluster: Cluster) -> None:
    """A job beyond its time is a job_execution_timeout, and its pod is gone."""
    async with cluster.harness() as h:
        job = await h.run(script=["echo running-now", "sleep 100"], variables=NO_SOURCES, timeout=8)
        assert (job.state, job.failure_reason) == ("failed", "job_execution_timeout"), job.text
        assert "execution took longer than 8s seconds" in job.text
        await until_no_pods(cluster)
