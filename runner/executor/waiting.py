"""Wait until a pod runs, and tell the job's log what it waits for.

`poll_timeout` bounds the wait. What keeps a pod from starting is told as soon as it is known, once for each change;
what can never pass ends the job at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

from runner.job.outcome import RunnerSystemError
from runner.kube.errors import KubeError
from runner.podspec.pending import pending_sentence
from runner.podspec.status import is_running
from runner.podspec.trouble import start_timeout, trouble

if TYPE_CHECKING:
    from runner.config.kubernetes import KubernetesConfig
    from runner.executor.base import LogSink
    from runner.executor.watching import PodWatch
    from runner.kube.client import KubeClient
    from runner.kube.resources import Manifest

EVENTS_AFTER = 3.0
"""Seconds of silence after which the pod's Warning events are asked for: most pods run before."""

EVENTS_INTERVAL = 15.0


class PodWait:
    """One pod's way from its creation to Running."""

    def __init__(
        self,
        client: KubeClient,
        watch: PodWatch,
        sink: LogSink,
        *,
        namespace: str,
        name: str,
        settings: KubernetesConfig,
    ) -> None:
        self._client = client
        self._watch = watch
        self._sink = sink
        self._namespace = namespace
        self._name = name
        self._settings = settings
        self._events: tuple[Manifest, ...] = ()
        self._told = ""

    async def until_running(self) -> None:
        """Wait for the build and helper containers. Raises JobError with the cluster's own words."""
        deadline = anyio.current_time() + self._settings.poll_timeout
        ask_at = anyio.current_time() + EVENTS_AFTER
        while True:
            view = self._watch.view
            if self._watch.gone:
                raise RunnerSystemError(f'pod "{view.path}" was deleted before it ran')
            if is_running(view):
                return
            found = trouble(view, self._events)
            if found:
                raise found.error()
            self._tell()
            now = anyio.current_time()
            if now >= deadline:
                raise start_timeout(view, self._events).error()
            if now >= ask_at:
                await self._ask_events()
                ask_at = anyio.current_time() + EVENTS_INTERVAL
                continue
            await self._watch.next_change(timeout=min(deadline, ask_at) - now)

    def _tell(self) -> None:
        view = self._watch.view
        node = view.node or "<unknown>"
        line = f"Waiting for pod {view.path} to be running on the node {node}, status is {view.phase}"
        sentence = pending_sentence(view, self._events)
        if sentence and self._settings.print_pod_warning_events:
            line = f"{line}\n\t{sentence}"
        if line != self._told:
            self._told = line
            for text in line.split("\n"):
                self._sink.note("plain", text)

    async def _ask_events(self) -> None:
        """Fetch the Warning events; without the right to do so the pod's own status has to do."""
        if not self._settings.print_pod_warning_events:
            return
        try:
            self._events = await self._client.warning_events(self._namespace, self._name)
        except KubeError:
            self._events = ()
