"""Wait until a pod runs, and tell the job's log what it waits for.

`poll_timeout` bounds the wait. What keeps a pod from starting is told as soon as it is known, once for each change;
what can never pass ends the wait at once. What becomes of the job then is the caller's: another pull policy may help.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

from runner.job.outcome import FailureReason, RunnerSystemError
from runner.kube.errors import ForbiddenError, KubeError
from runner.kube.logs import read_log_tail
from runner.podspec.containers import HELPER
from runner.podspec.pending import pending_sentence, progress_line
from runner.podspec.status import is_running
from runner.podspec.trouble import Trouble, start_timeout, trouble

if TYPE_CHECKING:
    from runner.config.kubernetes import KubernetesConfig
    from runner.executor.base import LogSink
    from runner.executor.watching import PodWatch
    from runner.kube.client import KubeClient
    from runner.kube.resources import Manifest

EVENTS_AFTER = 3.0
"""Seconds of silence after which the pod's Warning events are asked for: most pods run before."""

EVENTS_INTERVAL = 15.0

REACHABLE_LINES = 10
"""Lines of a log that are asked for to see whether the pod's node answers."""


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
        quiet: bool = False,
    ) -> None:
        """`quiet`: the pod's events tell the job's log what it waits for."""
        self._client = client
        self._watch = watch
        self._sink = sink
        self._namespace = namespace
        self._name = name
        self._settings = settings
        self._quiet = quiet
        self._events: tuple[Manifest, ...] = ()
        self._told = ""

    async def until_running(self) -> Trouble | None:
        """Wait for the build and helper containers; return what keeps them from ever running, None when they do."""
        deadline = anyio.current_time() + self._settings.poll_timeout
        ask_at = anyio.current_time() + EVENTS_AFTER
        while True:
            view = self._watch.view
            if self._watch.gone:
                told = f'pod "{view.path}" was deleted before it ran'
                return Trouble("pod.deleted", FailureReason.RUNNER_SYSTEM_FAILURE, told)
            if is_running(view):
                return None
            if found := trouble(view, self._events):
                return found
            self._tell()
            now = anyio.current_time()
            if now >= deadline:
                return start_timeout(view, self._events)
            if now >= ask_at:
                await self._ask_events()
                ask_at = anyio.current_time() + EVENTS_INTERVAL
                continue
            await self._watch.next_change(timeout=min(deadline, ask_at) - now)

    async def until_reachable(self) -> None:
        """Wait until the pod's node answers a request for the helper's log (`FF_WAIT_FOR_POD_TO_BE_REACHABLE`).

        A node that is new may have no certificate yet. Raises RunnerSystemError after `poll_timeout`, and
        ForbiddenError.
        """
        deadline = anyio.current_time() + self._settings.poll_timeout
        while True:
            try:
                await read_log_tail(self._client, self._namespace, self._name, container=HELPER, lines=REACHABLE_LINES)
            except ForbiddenError:
                raise
            except KubeError as error:
                if anyio.current_time() >= deadline:
                    raise RunnerSystemError(f"timed out waiting for pod to become attachable: {error}") from error
                await anyio.sleep(min(self._settings.poll_interval, max(0.0, deadline - anyio.current_time())))
            else:
                return

    def _tell(self) -> None:
        if self._quiet:
            return
        view = self._watch.view
        line = progress_line(view)
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
