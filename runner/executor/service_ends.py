"""Services that end before their job does: named in the job's log, with the last lines that they wrote.

A job whose database has died fails in its own words, somewhere else; these lines say why. A service may also be meant
to end, so nothing follows for the job: only one that it waits for fails it (`runner.executor.health`).

Law: the lines are for people; without the right to read logs the job runs the same, and the service is named alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

from runner.executor.service_logs import shows_services
from runner.kube.errors import ForbiddenError, KubeError
from runner.kube.logs import read_log_tail
from runner.trace.journal import service_kind

if TYPE_CHECKING:
    from runner.executor.base import LogSink
    from runner.executor.watching import PodWatch
    from runner.kube.client import KubeClient
    from runner.podspec.request import PodRequest

LAST_LINES = 20
"""Lines of a service's log that are shown once it has ended."""

READ_TIMEOUT = 5.0
"""Seconds for reading them: the service is named all the same."""

LOOK_INTERVAL = 60.0
"""Seconds after which a silent watch is looked at all the same."""


class ServiceEnds:
    """The services of one pod that runs; `watch` is for this alone and is closed with it."""

    def __init__(self, client: KubeClient, sink: LogSink, pod: PodRequest, *, watch: PodWatch) -> None:
        self._client = client
        self._sink = sink
        self._pod = pod
        self._watch = watch
        self._told: set[str] = set()
        self._telling = anyio.Lock()
        self._scope = anyio.CancelScope()

    async def follow(self) -> None:
        """Tell of each service that ends, until `close`."""
        with self._scope:
            try:
                while len(self._told) < len(self._pod.services):
                    await self.tell()
                    await self._watch.next_change(timeout=LOOK_INTERVAL)
            except ForbiddenError:
                return  # whoever else watches the pod says so

    async def tell(self) -> None:
        """Tell of the services that have ended and have not been told of; those that end with the pod do not count."""
        async with self._telling:
            view = self._watch.view
            if not (self._watch.gone or view.deleted or view.disruption):
                await self._tell()

    async def _tell(self) -> None:
        for index, service in enumerate(self._pod.services):
            container = self._watch.view.container(service.name)
            if container is None or container.ended is None or service.name in self._told:
                continue
            self._told.add(service.name)
            ended = container.ended
            reason = f" ({ended.reason})" if ended.reason else ""
            named = f'The service "{service.name}" ({service.image}) ended with exit code {ended.exit_code}{reason}'
            if ended.exit_code == 0:
                self._sink.note("plain", named)
                continue
            # Read before anything is said, so that both stand together.
            lines = await self._last_lines(service.name)
            self._sink.note("warning", named)
            if lines:
                self._sink.note(service_kind(index), "\n".join(("Its last lines:", *lines)))

    def close(self) -> None:
        """Watch no more: what ends from now on ends with the pod."""
        self._scope.cancel()
        self._watch.close()

    async def _last_lines(self, container: str) -> list[str]:
        """What the service wrote last; nothing where the job's log has it, and where it cannot be had."""
        found = b""
        if not shows_services(self._pod):
            with anyio.move_on_after(READ_TIMEOUT):
                found = await self._tail(container)
        return found.decode(errors="replace").replace("\r\n", "\n").splitlines()[-LAST_LINES:]

    async def _tail(self, container: str) -> bytes:
        pod = self._pod
        try:
            return await read_log_tail(
                self._client, pod.pod_namespace, pod.names.pod, container=container, lines=LAST_LINES
            )
        except KubeError:
            return b""
