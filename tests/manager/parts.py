"""Where the manager's jobs run in tests: a place that does what a test says, and no caches."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager, nullcontext

import anyio
import anyio.abc

from runner.executor.base import JobRequest, LogSink
from runner.job.payload import Job
from runner.job.verdict import Evidence
from runner.kube.errors import KubeError
from runner.kube.exec import Terminal
from runner.kube.service_proxy import ServicePort
from runner.manager.material import JobMaterial
from runner.shell.cache_links import CacheLinks
from runner.shell.context import Script

Stage = Callable[[str, anyio.Event], Awaitable[Evidence]]


class Room:
    """A place whose stages succeed, but for those that the test has told otherwise."""

    def __init__(self, **stages: Stage) -> None:
        self.stages = stages
        self.did: list[str] = []
        self.trouble: Exception | None = None
        self.trouble_after: anyio.Event | None = None
        self.removing = anyio.Event()
        self.removing.set()
        self.shares_builds_dir = False
        self.name = "room"

    async def serve(self, *, task_status: anyio.abc.TaskStatus[None]) -> None:
        """Nothing is held."""
        task_status.started()

    async def out_of_reach(self) -> str:
        """It is here."""
        return ""

    async def has_room(self, beside: int) -> bool:
        """There always is."""
        return True

    def expected(self, job: Job) -> AbstractContextManager[None]:
        """It has room for all."""
        return nullcontext()

    def environment(self, request: JobRequest, log: LogSink) -> Room:
        """It is its own executor."""
        return self

    async def prepare(self, group: anyio.abc.TaskGroup) -> None:
        """Be ready, or say why not."""
        self.did.append("prepare")
        if self.trouble_after:
            await self.trouble_after.wait()
        if self.trouble:
            raise self.trouble

    async def run(self, script: Script, *, attempt: str, stop: anyio.Event) -> Evidence:
        """Do as told."""
        self.did.append(attempt)
        stage = self.stages.get(script.stage)
        if stage is None:
            return Evidence(attempt, exit_code=0, drained=True)
        return await stage(attempt, stop)

    def terminal(self) -> AbstractAsyncContextManager[Terminal]:
        """There is no shell here."""
        raise KubeError("A room has no terminal.")

    async def service_port(self, name: str, port: str) -> ServicePort | None:
        """Nor a service."""
        return None

    async def remove(self) -> None:
        """Be gone, when the test lets it."""
        self.did.append("remove")
        await self.removing.wait()


class HeldRoom(Room):
    """A room that tells whether somebody serves it."""

    def __init__(self, **stages: Stage) -> None:
        super().__init__(**stages)
        self.held = False

    async def serve(self, *, task_status: anyio.abc.TaskStatus[None]) -> None:
        """Hold it until cancelled."""
        self.held = True
        task_status.started()
        try:
            await anyio.sleep_forever()
        finally:
            self.held = False


class NoCaches:
    """Caches stay where they are."""

    async def links(self, material: JobMaterial, stage: str) -> Mapping[str, CacheLinks]:
        """Sign nothing."""
        return {}
