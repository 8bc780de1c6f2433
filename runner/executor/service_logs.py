"""What a job's services print, in the job's log (`CI_DEBUG_SERVICES`).

Each service's container is followed from its first line for as long as the stages run. Its lines go through the journal
as the manager's other notes do, so a log that is made again has them at the same place; each begins with the time at
which its node took the line, which tells where to go on.

Law: the lines are for people; without the right to read logs the job runs the same.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import anyio

from runner.job.settings import JobSettings
from runner.kube.errors import ForbiddenError
from runner.kube.logs import follow_log
from runner.podspec.names import without_tag
from runner.trace.journal import service_kind

if TYPE_CHECKING:
    from runner.executor.base import LogSink
    from runner.kube.client import KubeClient
    from runner.podspec.request import PodRequest
    from runner.podspec.services import PodService

MOST_CHARACTERS = 4 << 20
"""What is shown of one service at most, as much as a job's log may hold by default: notes are kept until the pod has
them."""

BATCH_CHARACTERS = 4096
"""Lines become one note when they are so many; four bytes a character are no more than a note can hold."""

BATCH_INTERVAL = 0.2
"""Seconds for which lines are collected: a note for each would cost more than the lines."""


def shows_services(pod: PodRequest) -> bool:
    """Whether the job asks for its services' logs, and its runner lets it."""
    forbidden = pod.config.debug_trace_disabled
    return JobSettings.of(pod.variables, debug_trace_disabled=forbidden).debug_services


class ServiceLogs:
    """The logs of one pod's services."""

    def __init__(self, client: KubeClient, sink: LogSink, pod: PodRequest) -> None:
        self._client = client
        self._sink = sink
        self._pod = pod
        self._scope = anyio.CancelScope()

    async def follow(self) -> None:
        """Write the lines as they come, until `close`."""
        with self._scope:
            async with anyio.create_task_group() as group:
                for index, service in enumerate(self._pod.services):
                    batch = _Batch(self._sink, service, kind=service_kind(index))
                    group.start_soon(self._follow, service, batch, group.cancel_scope)

    def close(self) -> None:
        """Follow no more."""
        self._scope.cancel()

    async def _follow(self, service: PodService, batch: _Batch, scope: anyio.CancelScope) -> None:
        pod = self._pod
        follow = partial(follow_log, self._client, pod.pod_namespace, pod.names.pod, timestamps=True)
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(batch.write_now_and_then)
                try:
                    await follow(container=service.name, take=batch.take)
                except ValueError as trouble:
                    batch.write()
                    self._sink.note("warning", f"The log of service {service.name} is shown no further: {trouble}")
                except ForbiddenError as refused:
                    if not scope.cancel_called:
                        self._sink.note("warning", f"The services' logs cannot be shown: {refused.message}")
                    scope.cancel()
                group.cancel_scope.cancel()
        finally:
            batch.write()


class _Batch:
    """Lines of one service on their way to the log."""

    def __init__(self, sink: LogSink, service: PodService, *, kind: str) -> None:
        self._sink = sink
        self._kind = kind
        self._prefix = f"[service:{'-'.join((without_tag(service.image), *service.aliases))}] "
        self._lines: list[str] = []
        self._size = 0
        self._left = MOST_CHARACTERS
        self._came = anyio.Event()

    def take(self, line: str) -> None:
        """Take a line. Raises ValueError for one too many."""
        shown = self._prefix + line
        self._left -= len(shown) + 1
        if self._left < 0:
            raise ValueError(f"it is longer than {MOST_CHARACTERS} characters")
        if self._lines and self._size + len(shown) > BATCH_CHARACTERS:
            self.write()
        self._lines.append(shown)
        self._size += len(shown) + 1
        self._came.set()

    def write(self) -> None:
        """Write what there is as one note."""
        if self._lines:
            self._sink.note(self._kind, "\n".join(self._lines))
        self._lines, self._size = [], 0

    async def write_now_and_then(self) -> None:
        """Write lines a moment after they came, until cancelled."""
        while True:
            await self._came.wait()
            await anyio.sleep(BATCH_INTERVAL)
            self._came = anyio.Event()
            self.write()
