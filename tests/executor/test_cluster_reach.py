"""Whether a cluster can be asked, as a probe of readiness wants to know it."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from runner.executor import cluster as cluster_module
from runner.executor.cluster import Cluster
from runner.kube.client import KubeClient
from runner.kube.connect import ConnectionSettings, connect
from runner.kube.informer import PodInformer
from runner.kube.retries import RetryPolicy
from runner.testing.faults import FaultRule, Reply
from runner.testing.kubernetes import KubernetesServer


@asynccontextmanager
async def serving(connecting: Callable[[], Awaitable[KubeClient]]) -> AsyncIterator[Cluster]:
    """A cluster of one namespace."""
    made = Cluster(connecting, lambda client, namespace, *_: PodInformer(client, namespace), home="default")
    async with anyio.create_task_group() as group:
        await group.start(made.serve)
        yield made
        group.cancel_scope.cancel()


@pytest.fixture
def asked() -> Counter[str]:
    """What the API server was asked."""
    return Counter()


@pytest.fixture
def connecting(server: KubernetesServer, tmp_path: Path, asked: Counter[str]) -> Callable[[], Awaitable[KubeClient]]:
    """Connects, with patience for five tries."""
    settings = ConnectionSettings(kubeconfig=str(server.kubeconfig(tmp_path / "kubeconfig")))

    def observe(verb: str, resource: str, _status: int, _seconds: float) -> None:
        asked[f"{verb} {resource}"] += 1

    async def made() -> KubeClient:
        return await connect(settings, retry=RetryPolicy(limit=5), observe=observe)

    return made


async def test_out_of_reach_when_there_is_none(
    connecting: Callable[[], Awaitable[KubeClient]], asked: Counter[str]
) -> None:
    """One small question tells; once a watch stands there is none to ask."""
    async with serving(connecting) as cluster:
        assert await cluster.out_of_reach() == ""
        assert asked == {"get version": 1}
        watch = await cluster.watch("default", "", "pod", poll_interval=1.0)
        with anyio.fail_after(5):
            while not cluster._shared["default", ""].informer.watching:
                await anyio.lowlevel.checkpoint()
        assert await cluster.out_of_reach() == ""
        assert asked["get version"] == 1
        watch.close()


@pytest.mark.parametrize(
    ("status", "trouble"),
    [(503, "the API server cannot be asked (503)"), (401, "the API server cannot be asked (401)"), (403, "")],
)
async def test_out_of_reach_when_the_server_refuses(
    server: KubernetesServer,
    connecting: Callable[[], Awaitable[KubeClient]],
    asked: Counter[str],
    status: int,
    trouble: str,
) -> None:
    """The words are few and name no address; one that forbids does answer. Nothing is tried twice for a probe."""
    server.faults.add(FaultRule("GET", "/version$", Reply(status), times=None))
    async with serving(connecting) as cluster:
        assert await cluster.out_of_reach() == trouble
    assert asked["get version"] == 1


async def test_out_of_reach_when_there_is_no_way(tmp_path: Path) -> None:
    """A kubeconfig that is not there is a reason too."""

    async def lost() -> KubeClient:
        return await connect(ConnectionSettings(kubeconfig=str(tmp_path / "none")), environ={})

    async with serving(lost) as cluster:
        assert await cluster.out_of_reach() == "the API server cannot be asked (no way to it is known)"


async def test_out_of_reach_when_nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """A probe has a bound of its own."""

    async def hanging() -> KubeClient:
        await anyio.sleep_forever()
        raise AssertionError

    monkeypatch.setattr(cluster_module, "REACH_TIMEOUT", 0.02)
    async with serving(hanging) as cluster:
        assert "has not answered" in await cluster.out_of_reach()
