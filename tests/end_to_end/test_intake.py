"""When a job is asked for and when its slot is free again, end to end."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import orjson
import pytest

from runner.testing.faults import FaultRule, Reply
from runner.testing.kubelets import ScriptedKubelet
from runner.testing.kubernetes import KubernetesServer

if TYPE_CHECKING:
    from tests.end_to_end.targets import Cluster

pytestmark = pytest.mark.slow

NO_SOURCES = {"GIT_STRATEGY": "none"}


def set_quota(server: KubernetesServer, *, used: int) -> None:
    """Let the jobs' namespace have a quota of one pod, of which so many are there."""
    if server.objects("resourcequotas"):
        server.delete("resourcequotas", "q")
    amounts = {"hard": {"pods": "1"}, "used": {"pods": str(used)}}
    spec = {"hard": amounts["hard"]}
    server.create("resourcequotas", {"metadata": {"name": "q"}, "spec": spec, "status": amounts})


@pytest.mark.only_on("embedded")
async def test_no_job_is_asked_for_while_the_quota_is_full(cluster: Cluster) -> None:
    """It stays with GitLab, which is not even asked; when there is room it comes."""
    async with KubernetesServer(kubelet=ScriptedKubelet()) as server:
        set_quota(server, used=1)
        async with cluster.harness(cluster=server, kubernetes={"capacity_aware": True}) as h:
            job = h.queue(variables=NO_SOURCES)
            await server.faults.wait_seen("GET", "/resourcequotas", count=2, timeout=20)
            assert job.assigned_at is None
            assert h.gitlab.faults.seen("POST", "/jobs/request") == ()
            set_quota(server, used=0)
            await job.wait_finished(timeout=30)
            assert job.state == "success", job.text


@pytest.mark.only_on("real")
async def test_jobs_come_one_after_the_other_when_the_quota_is_of_one_pod(cluster: Cluster) -> None:
    """None of them waits here, none fails: the next is asked for when the one before has left."""
    namespace = f"runner-room-{random.randrange(10**6, 10**9)}"
    cluster.kubectl("create", "namespace", namespace)
    try:
        cluster.kubectl("create", "quota", "small", "--hard=pods=1", "-n", namespace)
        async with cluster.harness(kubernetes={"namespace": namespace, "capacity_aware": True}) as h:
            jobs = [h.queue(script=["echo there is room"], variables=NO_SOURCES) for _ in range(3)]
            for job in jobs:
                await job.wait_finished(timeout=90)
            assert [job.state for job in jobs] == ["success"] * 3
            assert not any("waits for room" in job.text for job in jobs)
    finally:
        cluster.kubectl("delete", "namespace", namespace, "--wait=false")


async def test_the_next_job_runs_while_the_end_of_the_last_one_is_reported(cluster: Cluster) -> None:
    """One slot: GitLab does not take the first job's end for a while, and the second one is run meanwhile."""
    async with cluster.harness(concurrent=1) as h:
        first = h.queue(script=["true"], variables=NO_SOURCES)
        refused = FaultRule("PUT", f"/jobs/{first.id}$", Reply(503), times=None)
        await h.gitlab.faults.wait_seen("PATCH", f"/jobs/{first.id}/trace", timeout=60)
        h.gitlab.faults.add(refused)
        second = h.queue(script=["true"], variables=NO_SOURCES)
        await second.wait_finished(timeout=60)
        assert (second.state, first.finished) == ("success", False)
        h.gitlab.faults.clear()
        await first.wait_finished(timeout=60)
        assert first.state == "success"


FULL = 'pods "x" is forbidden: exceeded quota: q, requested: pods=1, used: pods=1, limited: pods=1'


@pytest.mark.only_on("embedded")
@pytest.mark.parametrize(
    ("end", "state", "reason"),
    [
        ("cancel", "canceled", "unknown_failure"),
        ("abort", "canceled", None),
        ("time-out", "failed", "job_execution_timeout"),
        ("the process's end", "failed", "runner_interrupted"),
        ("drain, then room", "success", None),
    ],
)
async def test_a_job_that_waits_for_room_can_be_ended(
    cluster: Cluster, end: str, state: str, reason: str | None
) -> None:
    """Like any other; a manager that takes no more jobs waits for it, and nothing is left."""
    status = {"kind": "Status", "status": "Failure", "code": 403, "reason": "Forbidden", "message": FULL}
    full = FaultRule(
        "POST", "/pods$", Reply(403, {"Content-Type": "application/json"}, orjson.dumps(status)), times=None
    )
    async with KubernetesServer(kubelet=ScriptedKubelet()) as server:
        server.faults.add(full)
        async with cluster.harness(cluster=server, keep_alive_interval=0.5) as h:
            job = h.queue(variables=NO_SOURCES, timeout=5 if end == "time-out" else 600)
            await job.wait_trace(b"waits for room", timeout=20)
            if end in ("cancel", "abort"):
                job.cancel(force=end == "abort")
            elif end == "the process's end":
                h.manager.abort()
            elif end == "drain, then room":
                h.manager.drain()
                server.faults.clear()
            await job.wait_finished(timeout=40)
            assert (job.state, job.failure_reason) == (state, reason), job.text
            assert h.gitlab.violations == []
            await h.wait_until_empty()
