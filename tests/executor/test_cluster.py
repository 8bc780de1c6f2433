"""The connection and the watches that jobs share, and the connection of a job that brings a token."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from runner.executor.cluster import Cluster
from runner.kube.client import KubeClient
from runner.kube.connect import ConnectionSettings, connect
from runner.kube.informer import PodInformer
from runner.testing.kubernetes import KubernetesServer
from tests.executor.parts import pod_manifest


class Opened:
    """The connections and watches that a cluster asked for."""

    def __init__(self, server: KubernetesServer, folder: Path) -> None:
        self.tokens: list[str] = []
        self.clients: list[KubeClient] = []
        self.informers: list[PodInformer] = []
        self._settings = ConnectionSettings(kubeconfig=str(server.kubeconfig(folder / "kubeconfig")))

    async def client(self) -> KubeClient:
        """Connect as the runner."""
        return await self.client_as("")

    async def client_as(self, token: str) -> KubeClient:
        """Connect as whom the token says."""
        self.tokens.append(token)
        self.clients.append(await connect(self._settings))
        return self.clients[-1]

    def informer(self, client: KubeClient, namespace: str, selector: str, poll_interval: float) -> PodInformer:
        """Make a watch."""
        self.informers.append(PodInformer(client, namespace, selector=selector, poll_interval=poll_interval))
        return self.informers[-1]


@pytest.fixture
def opened(server: KubernetesServer, tmp_path: Path) -> Opened:
    """What the cluster under test opens."""
    return Opened(server, tmp_path)


@asynccontextmanager
async def serving(opened: Opened) -> AsyncIterator[Cluster]:
    """A cluster whose home is `default`."""
    cluster = Cluster(opened.client, opened.informer, home="default", connect_as=opened.client_as)
    async with anyio.create_task_group() as group:
        await group.start(cluster.serve)
        yield cluster
        group.cancel_scope.cancel()


async def test_cluster_when_jobs_share_it(opened: Opened) -> None:
    """One connection and one watch for each namespace and selector; all is closed at the end."""
    async with serving(opened) as cluster:
        await cluster.watch("default", "a=b", "one", poll_interval=1.0)
        await cluster.watch("default", "a=b", "two", poll_interval=1.0)
        await cluster.watch("kube-system", "a=b", "one", poll_interval=1.0)
        assert [each.namespace for each in opened.informers] == ["default", "kube-system"]
        assert await opened.informers[0].wait_until_synced(timeout=5)
        assert opened.clients == [cluster.connected]
    with pytest.raises(Exception, match="closed"):
        await opened.clients[0].read("pods", "default", "x")


async def test_watch_ends_when_the_last_job_leaves_a_foreign_namespace(opened: Opened) -> None:
    """Jobs choose namespaces, so their watches would become ever more; that of the home namespace stays."""
    async with serving(opened) as cluster:
        away = [await cluster.watch("kube-system", "", name, poll_interval=1.0) for name in ("one", "two")]
        home = await cluster.watch("default", "", "three", poll_interval=1.0)
        foreign, own = opened.informers
        assert await foreign.wait_until_synced(timeout=5)
        assert await own.wait_until_synced(timeout=5)
        away[0].close()
        away[0].close()
        await anyio.wait_all_tasks_blocked()
        assert foreign.watching
        away[1].close()
        home.close()
        await anyio.wait_all_tasks_blocked()
        assert (foreign.watching, own.watching) == (False, True)
        await cluster.watch("kube-system", "", "four", poll_interval=1.0)
        await cluster.watch("default", "", "five", poll_interval=1.0)
        assert [each.namespace for each in opened.informers] == ["kube-system", "default", "kube-system"]


async def test_with_token_when_a_job_brings_one(server: KubernetesServer, opened: Opened) -> None:
    """It has a connection and watches of its own, which end with it and leave the others alone."""
    server.create("pods", pod_manifest())
    async with serving(opened) as cluster:
        shared = await cluster.client()
        mine = cluster.with_token("abc")
        assert opened.tokens == [""]
        watch = await mine.watch("default", "", "job-pod", poll_interval=1.0)
        assert opened.tokens == ["", "abc"]
        assert mine.connected is not shared
        assert await watch.next_change(timeout=5)
        assert await opened.informers[0].wait_until_synced(timeout=5)
        await mine.leave()
        await mine.leave()
        await anyio.wait_all_tasks_blocked()
        assert not opened.informers[0].watching
        with pytest.raises(Exception, match="closed"):
            await opened.clients[1].read("pods", "default", "job-pod")
        watch.close()
        await cluster.leave()
        assert await shared.read("pods", "default", "job-pod")
