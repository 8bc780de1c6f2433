"""The events of a job's pod in the job's log: the warnings after a failure, and all of them where the job wants that.

Law: events are for people; without the right to read them a job runs the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import structlog

from runner.kube.errors import ForbiddenError, KubeError
from runner.kube.events import follow_events
from runner.podspec.events import EventTable, ToldEvents, warning_line

if TYPE_CHECKING:
    from runner.executor.base import LogSink
    from runner.kube.client import KubeClient
    from runner.kube.resources import Manifest

log = structlog.get_logger()

WARNINGS_TIMEOUT = 5.0
"""Seconds for the warnings after a failure: the failure is told all the same."""


class PodEvents:
    """The events of one pod."""

    def __init__(self, client: KubeClient, sink: LogSink, *, namespace: str, name: str, warnings: bool) -> None:
        """`warnings` is `print_pod_warning_events`."""
        self._client = client
        self._sink = sink
        self._namespace = namespace
        self._name = name
        self._warnings = warnings
        self._told = ToldEvents()
        self._scope = anyio.CancelScope()

    async def tell_warnings(self) -> None:
        """Write the warnings not told yet, after something failed."""
        if not self._warnings:
            return
        events: tuple[Manifest, ...] = ()
        with anyio.move_on_after(WARNINGS_TIMEOUT):
            try:
                events = await self._client.warning_events(self._namespace, self._name)
            except KubeError as error:
                log.debug("events cannot be listed", pod=self._name, reason=error.message)
        for event in self._told.news(events):
            self._sink.note("warning", warning_line(event))

    async def follow(self, table: EventTable) -> None:
        """Write each event as it comes (`FF_PRINT_POD_EVENTS`), until `close`."""

        def take(event: Manifest) -> None:
            for line in table.lines(event):
                self._sink.note("plain", line)

        self._sink.note("plain", "Subscribing to Kubernetes Pod events...")
        with self._scope:
            try:
                await follow_events(self._client, self._namespace, self._name, take)
            except ForbiddenError as refused:
                self._sink.note("warning", f"The pod's events cannot be shown: {refused.message}")

    def close(self) -> None:
        """Follow no more."""
        self._scope.cancel()
