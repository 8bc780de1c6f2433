"""What managers that are gone have left is removed when its time is over, and nothing else ever is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import anyio
import anyio.lowlevel
import pytest
import structlog

from runner.config.model import RunnerConfig
from runner.executor.cluster import Cluster
from runner.executor.sweeping import Sweeper
from runner.kube.client import KubeClient
from runner.testing.kubernetes import KubernetesServer
from tests.executor.opened import Opened, serving
from tests.executor.parts import pod_manifest

NOW = 1_700_000_000.0
BEFORE, AFTER = "2023-11-14T22:13:19Z", "2023-11-14T22:13:21Z"
RUNNER = "manager.runner.gitlab.com/id-short"
EXPIRES = "job.runner.gitlab.com/expires-at"


def sweeper(cluster: Cluster, *, delay: float = 0, interval: float = 600, **kubernetes: Any) -> Sweeper:
    """The sweeper of a runner whose short token is `abcdefghi`."""
    config = {"url": "https://gitlab.example", "token": "glrt-abcdefghijklmnopqrst", "kubernetes": kubernetes}
    return Sweeper(cluster, RunnerConfig.model_validate(config), now=lambda: NOW, delay=delay, interval=interval)


def metadata(*, runner: str = "abcdefghi", annotations: Mapping[str, str] | None = None) -> dict[str, Any]:
    """What the labels and annotations of an object of another manager say."""
    labels = {RUNNER: runner, "manager.runner.gitlab.com/system-id": "r_another", "job.runner.gitlab.com/id": "7"}
    return {"name": "left", "labels": labels, "annotations": {EXPIRES: BEFORE} if annotations is None else annotations}


@pytest.mark.parametrize(
    ("over", "left"),
    [
        ({}, 0),
        ({"annotations": {EXPIRES: AFTER}}, 1),
        ({"annotations": {}}, 1),
        ({"annotations": {EXPIRES: "soon"}}, 1),
        ({"runner": "another00"}, 1),
    ],
    ids=["time is over", "time is not over", "no moment", "no readable moment", "of another runner"],
)
async def test_pod_is_removed_when(server: KubernetesServer, opened: Opened, over: dict[str, Any], left: int) -> None:
    """Its label is the runner's and its moment has passed."""
    server.create("pods", {**pod_manifest(), "metadata": metadata(**over)}, namespace="default")
    async with serving(opened) as cluster:
        await sweeper(cluster, namespace="default").sweep()
    gone = [pod for pod in server.manifests("pods") if pod["metadata"].get("deletionTimestamp")]
    assert len(server.manifests("pods")) - len(gone) == left


async def test_namespace_is_removed_when_each_job_has_its_own(server: KubernetesServer, opened: Opened) -> None:
    """Pods are not looked for then: they go with their namespaces."""
    server.create("namespaces", {"metadata": {**metadata(), "name": "ci-job-7"}})
    server.create("namespaces", {"metadata": {**metadata(annotations={EXPIRES: AFTER}), "name": "ci-job-8"}})
    async with serving(opened) as cluster:
        await sweeper(cluster, namespace="ci", namespace_per_job=True).sweep()
    names = {found["metadata"]["name"] for found in server.manifests("namespaces")}
    assert names & {"ci-job-7", "ci-job-8"} == {"ci-job-8"}


async def test_missing_rights_are_told_once_and_used_when_they_come(server: KubernetesServer, opened: Opened) -> None:
    """A Role of before lacks the right: that is worth one line, and no job suffers."""
    server.create("namespaces", {"metadata": {**metadata(), "name": "ci-job-7"}})
    server.forbid("list", "namespaces")
    with structlog.testing.capture_logs() as lines:
        async with serving(opened) as cluster, anyio.create_task_group() as group:
            group.start_soon(sweeper(cluster, interval=0.01, namespace_per_job=True).run)
            with anyio.fail_after(10):
                while [verb for verb, path in server.requests if path == "/api/v1/namespaces"].count("list") < 3:
                    await anyio.lowlevel.checkpoint()
                server.allow_all()
                while len(lines) < 2:
                    await anyio.lowlevel.checkpoint()
            group.cancel_scope.cancel()
    assert [line["log_level"] for line in lines] == ["warning", "info"]
    assert "namespaces/ci-job-7" not in server.objects("namespaces")


async def test_sweeping_goes_on_after_a_fault(opened: Opened) -> None:
    """Whatever an object looks like, the jobs that run do not suffer."""
    tries = 0

    class Odd(Cluster):
        async def client(self) -> KubeClient:
            nonlocal tries
            tries += 1
            raise TypeError("a secret")

    async with serving(opened) as cluster:
        odd = Odd(cluster._connect, cluster._make_informer)
        with structlog.testing.capture_logs() as lines:
            async with anyio.create_task_group() as group:
                group.start_soon(sweeper(odd, interval=0.01).run)
                with anyio.fail_after(10):
                    while tries < 2:
                        await anyio.lowlevel.checkpoint()
                group.cancel_scope.cancel()
    assert lines[0] == {
        "event": "a fault of this program ended a sweep",
        "fault": "TypeError",
        "log_level": "error",
    }
