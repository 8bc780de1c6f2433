"""What the jobs of one runner share in a cluster: the connection, and one list and watch for each namespace."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import anyio
from anyio.abc import TaskGroup, TaskStatus

if TYPE_CHECKING:
    from runner.kube.client import KubeClient
    from runner.kube.informer import PodInformer

CLOSE_TIMEOUT = 5.0


class Cluster:
    """Connects when the first job comes, so that a manager starts without a cluster and says so in the job that needs
    it.
    """

    def __init__(
        self,
        connect: Callable[[], Awaitable[KubeClient]],
        make_informer: Callable[[KubeClient, str, str, float], PodInformer],
    ) -> None:
        self._connect = connect
        self._make_informer = make_informer
        self._lock = anyio.Lock()
        self._client: KubeClient | None = None
        self._informers: dict[tuple[str, str], PodInformer] = {}
        self._group: TaskGroup | None = None

    @property
    def connected(self) -> KubeClient:
        """The client of a cluster that `client` has been awaited for."""
        assert self._client is not None
        return self._client

    async def client(self) -> KubeClient:
        """Give the connection, made at the first call. Raises KubeError."""
        async with self._lock:
            if self._client is None:
                self._client = await self._connect()
            return self._client

    async def informer(self, namespace: str, selector: str, poll_interval: float) -> PodInformer:
        """Give the watch over our pods in a namespace; it runs until `serve` ends."""
        client = await self.client()
        key = (namespace, selector)
        if key not in self._informers:
            assert self._group is not None  # `serve` runs
            self._informers[key] = self._make_informer(client, namespace, selector, poll_interval)
            self._group.start_soon(self._informers[key].run, name=f"pods of {namespace}")
        return self._informers[key]

    async def serve(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Run the watches until cancelled, then close the connection."""
        try:
            async with anyio.create_task_group() as group:
                self._group = group
                task_status.started()
                await anyio.sleep_forever()
        finally:
            self._group = None
            if self._client:
                with anyio.CancelScope(shield=True, deadline=anyio.current_time() + CLOSE_TIMEOUT):
                    await self._client.aclose()
