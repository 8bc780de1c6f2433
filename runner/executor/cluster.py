"""What the jobs of one runner share in a cluster: the connection, and one list and watch for each namespace."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import anyio
import structlog
from anyio.abc import TaskGroup, TaskStatus

from runner.executor.watching import PodWatch
from runner.kube.errors import ForbiddenError, KubeError

if TYPE_CHECKING:
    from runner.kube.client import KubeClient
    from runner.kube.informer import PodInformer

CLOSE_TIMEOUT = 5.0
REACH_TIMEOUT = 3.0
"""Seconds for which an API server may think about its own version."""


@dataclass(slots=True)
class _Shared:
    """A watch and the jobs that use it."""

    informer: PodInformer
    users: int = 0
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)


class Cluster:
    """Connects when the first job comes, so that a manager starts without a cluster and says so in the job that needs
    it.
    """

    def __init__(
        self,
        connect: Callable[[], Awaitable[KubeClient]],
        make_informer: Callable[[KubeClient, str, str, float], PodInformer],
        *,
        home: str = "",
        connect_as: Callable[[str], Awaitable[KubeClient]] | None = None,
    ) -> None:
        """`home` is the namespace whose watch stays between jobs; `connect_as` connects with a token of a job's own."""
        self._connect = connect
        self._make_informer = make_informer
        self._home = home
        self._connect_as = connect_as
        self._lock = anyio.Lock()
        self._client: KubeClient | None = None
        self._shared: dict[tuple[str, str], _Shared] = {}
        self._group: TaskGroup | None = None
        self._parent: Cluster | None = None

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

    async def out_of_reach(self) -> str:
        """Say in a few words why the API server cannot be asked; empty when it can. A standing watch is answer enough.

        The words name no address, which may hold what is nobody's business.
        """
        if any(shared.informer.watching for shared in self._shared.values()):
            return ""
        try:
            with anyio.fail_after(REACH_TIMEOUT):
                await (await self.client()).server_version(tries=1)
        except TimeoutError:
            return f"the API server has not answered in {REACH_TIMEOUT:.0f} s"
        except ForbiddenError:
            return ""  # it answers, and knows us
        except KubeError as error:
            return f"the API server cannot be asked ({error.reason or error.status or 'no way to it is known'})"
        return ""

    def with_token(self, token: str) -> Cluster:
        """Give the same cluster with a connection for one job, which brings a token of its own.

        It is opened when the job first needs it and lives until the job's `leave`, so that there are never more of them
        than jobs. Its watches run beside those of this one, and see what the token lets them see.
        """
        assert self._connect_as is not None  # given where a configuration lets jobs bring tokens
        own = Cluster(partial(self._connect_as, token), self._make_informer)
        own._parent = self
        return own

    async def watch(self, namespace: str, selector: str, name: str, *, poll_interval: float) -> PodWatch:
        """Follow one pod on the namespace's watch, which runs until its last pod is followed no more.

        That of the home namespace runs until `serve` ends: the next job comes there. Jobs may choose other ones, and
        each job can have one of its own, so theirs would become ever more.
        """
        client = await self.client()
        key = (namespace, selector)
        if key not in self._shared:
            group = self._parent._group if self._parent else self._group
            assert group is not None  # `serve` runs
            self._shared[key] = _Shared(self._make_informer(client, namespace, selector, poll_interval))
            group.start_soon(self._run, self._shared[key], name=f"pods of {namespace}")
        shared = self._shared[key]
        shared.users += 1
        return PodWatch(shared.informer, name, closed=partial(self._give_back, key, shared))

    async def leave(self) -> None:
        """Close what was opened for one job; nothing to do where jobs share it."""
        if self._parent is not None:
            for shared in self._shared.values():
                shared.scope.cancel()
            self._shared.clear()
            await self._close()

    async def serve(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Run the watches until cancelled, then close the connection."""
        try:
            async with anyio.create_task_group() as group:
                self._group = group
                task_status.started()
                await anyio.sleep_forever()
        finally:
            self._group = None
            await self._close()

    @staticmethod
    async def _run(shared: _Shared) -> None:
        # The job that came first began this task, and its lines are not the watch's.
        structlog.contextvars.clear_contextvars()
        with shared.scope:
            await shared.informer.run()

    def _give_back(self, key: tuple[str, str], shared: _Shared) -> None:
        shared.users -= 1
        if not shared.users and key[0] != self._home and self._shared.get(key) is shared:
            del self._shared[key]
            shared.scope.cancel()

    async def _close(self) -> None:
        client, self._client = self._client, None
        if client:
            with anyio.CancelScope(shield=True, deadline=anyio.current_time() + CLOSE_TIMEOUT):
                await client.aclose()
