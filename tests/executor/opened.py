"""A cluster under test, and what it opens."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio

from runner.executor.cluster import Cluster
from runner.kube.client import KubeClient
from runner.kube.connect import ConnectionSettings, connect
from runner.kube.informer import PodInformer
from runner.testing.kubernetes import KubernetesServer


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


@asynccontextmanager
async def serving(opened: Opened) -> AsyncIterator[Cluster]:
    """A cluster whose home is `default`."""
    cluster = Cluster(opened.client, opened.informer, home="default", connect_as=opened.client_as)
    async with anyio.create_task_group() as group:
        await group.start(cluster.serve)
        yield cluster
        group.cancel_scope.cancel()
