"""How one attempt of a stage runs in a pod.

`AttachStages` is the way of docs/decisions/001: agents, a journal, exit records. `ExecStages` is
`FF_USE_LEGACY_KUBERNETES_EXECUTION_STRATEGY`: one exec for each stage, whose connection is its life. Both give
evidence, never a judgement.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import anyio
import structlog

from runner.executor.patience import patiently
from runner.job.outcome import RunnerSystemError
from runner.job.stages import container
from runner.job.verdict import Evidence
from runner.kube.attach import StreamLostError
from runner.kube.channels import STDERR, STDOUT
from runner.kube.errors import ForbiddenError, KubeError
from runner.shell.detect import shell_detect_text
from runner.trace.journal import ExitEntry, LogEntry, LostEntry, StartEntry, command_line

if TYPE_CHECKING:
    from runner.executor.base import LogSink
    from runner.executor.session import PodSession
    from runner.executor.watching import PodWatch
    from runner.kube.attach import AttachStream, ExecStream
    from runner.shell.context import Script

log = structlog.get_logger()

STOP_GRACE = 10.0
"""Seconds between TERM and KILL for a stage that is stopped."""

STOP_TIMEOUT = STOP_GRACE + 15.0
"""Seconds after which a stage that was stopped counts as lost."""

LAUNCH_TIMEOUT = 5.0
"""Seconds for the build container's agent to take a stage before it is told again; it starts it once all the same."""

DRAIN_TIMEOUT = 2.0
"""Seconds for what is already on its way when the pod has come to its end."""

EXEC_OPEN_TIMEOUT = 60.0
"""Seconds for which an exec is asked for while the API server is away."""

LAUNCH_PAUSES = (0.1, 0.5, 1.0, 2.0)


class Stages(Protocol):
    """A way of running stages in a pod that runs."""

    async def serve(self) -> None:
        """What goes on beside the stages, until cancelled."""

    async def run(self, script: Script, *, attempt: str, stop: anyio.Event) -> Evidence:
        """Run one attempt and say what was seen of it."""


class AttachStages:
    """Stages under agents; any connection may be lost at any time."""

    def __init__(
        self,
        session: PodSession,
        watch: PodWatch,
        sink: LogSink,
        *,
        attach_build: Callable[[], AbstractAsyncContextManager[AttachStream]],
    ) -> None:
        self._session = session
        self._watch = watch
        self._sink = sink
        self._attach_build = attach_build

    async def serve(self) -> None:
        """Hold the conversation, and end it when the pod has come to its end."""
        async with anyio.create_task_group() as group:
            group.start_soon(self._session.run)
            try:
                await self._watch.until_ended()
            except ForbiddenError as refused:
                self._session.refuse(f"the API server does not allow reading the pod any more: {refused.message}")
                return
            # The record and the log's end may be on their way already.
            with anyio.move_on_after(DRAIN_TIMEOUT):
                await self._session.until_quiet()
            self._session.end("the pod has ended")
            group.cancel_scope.cancel()

    async def run(self, script: Script, *, attempt: str, stop: anyio.Event) -> Evidence:
        """Put the script in its place, start it once, and wait for its record and the whole of its output."""
        if await self._session.begin(attempt, script.text):
            async with anyio.create_task_group() as group:
                group.start_soon(self._start, attempt, container(script.stage))
                group.start_soon(self._stop_when_told, stop, attempt, container(script.stage))
                await self._session.wait_for(lambda: self._sink.result(attempt) is not None)
                group.cancel_scope.cancel()
        if self._session.refused:
            raise RunnerSystemError(self._session.refused)
        return self._evidence(attempt)

    def _evidence(self, attempt: str) -> Evidence:
        match self._sink.result(attempt):
            case ExitEntry(code=code, oom_kills=oom_kills, time=at):
                return Evidence(
                    attempt, exit_code=code, oom_kills=oom_kills, drained=True, pod=self._watch.fate, recorded_at=at
                )
            case LostEntry(time=at):
                return Evidence(attempt, lost=True, drained=True, pod=self._watch.fate, recorded_at=at)
        return Evidence(attempt, pod=self._watch.fate, connection_lost=True)

    async def _start(self, attempt: str, where: str) -> None:
        if where == "helper":
            self._session.run_here(attempt)
        else:
            await self._tell_build(f"run {attempt}", lambda: self._session.has_run(attempt))

    async def _stop_when_told(self, stop: anyio.Event, attempt: str, where: str) -> None:
        await stop.wait()
        if where == "helper":
            self._session.stop_here(attempt, STOP_GRACE)
        else:
            command = f"stop {attempt} {STOP_GRACE:.0f}"
            with anyio.move_on_after(STOP_TIMEOUT):
                await self._tell_build(command, lambda: self._sink.result(attempt) is not None)
        await anyio.sleep(STOP_TIMEOUT)
        log.warning("a stage does not stop", attempt=attempt)
        self._session.end("a stage did not stop")

    async def _tell_build(self, command: str, done: Callable[[], bool]) -> None:
        """Tell the build container's agent something until it shows; saying it twice does nothing."""
        tries = 0
        while not done():
            try:
                async with self._attach_build() as stream:
                    await stream.send(b"\n" + command_line(command))
                    with anyio.move_on_after(LAUNCH_TIMEOUT):
                        await self._session.wait_for(done)
            except KubeError as trouble:
                log.debug("telling the build container failed", reason=str(trouble))
                await anyio.sleep(LAUNCH_PAUSES[min(tries, len(LAUNCH_PAUSES) - 1)])
            tries += 1


@dataclass(frozen=True, slots=True)
class _ExecEnd:
    """How an exec ended."""

    code: int | None = None
    """None: the connection ended without one."""
    drained: bool = False
    """Whether all output was read."""
    refusal: KubeError | None = None
    """Why it could not be started at all."""


class ExecStages:
    """One exec for each stage. A connection that is lost is a stage that is lost: nothing proves how it ended."""

    def __init__(
        self,
        open_exec: Callable[[str, tuple[str, ...]], AbstractAsyncContextManager[ExecStream]],
        watch: PodWatch,
        sink: LogSink,
    ) -> None:
        self._open_exec = open_exec
        self._watch = watch
        self._sink = sink

    async def serve(self) -> None:
        """Nothing goes on beside an exec."""

    async def run(self, script: Script, *, attempt: str, stop: anyio.Event) -> Evidence:
        """Feed the script to a shell and read to its end.

        A stopped stage is left to the pod's removal, as the original does. Raises KubeError when it cannot be started.
        """
        self._sink.entry(StartEntry(attempt, self._sink.offset, time.time()))
        end = _ExecEnd()
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as group:
                group.start_soon(_cancel_when, stop, scope)
                end = await self._execute(script, attempt)
                group.cancel_scope.cancel()
        now = time.time()
        if end.code is None:
            self._sink.entry(LostEntry(attempt, self._sink.offset, now))
            if end.refusal:
                raise end.refusal
            return Evidence(attempt, connection_lost=True, pod=await self._watch.fate_now())
        self._sink.entry(ExitEntry(attempt, end.code, 0, self._sink.offset, now))
        return Evidence(
            attempt,
            exit_code=end.code,
            drained=end.drained,
            connection_lost=not end.drained,
            pod=await self._watch.fate_now(),
            recorded_at=now,
        )

    async def _execute(self, script: Script, attempt: str) -> _ExecEnd:
        """Run the script and say how that ended."""
        try:
            async with AsyncExitStack() as stack:
                stream = await self._open(stack, container(script.stage))
                await self._feed(stream, script.text)
                while frame := await stream.receive():
                    if frame.channel in (STDOUT, STDERR):
                        self._sink.data(bytes(frame.data))
                        self._sink.entry(LogEntry(self._sink.offset, time.time()))
                status = stream.exit_status
                return _ExecEnd(status.code if status else None, drained=stream.drained)
        except StreamLostError as lost:
            log.warning("the connection of a stage was lost", attempt=attempt, reason=str(lost))
            return _ExecEnd()
        except KubeError as refusal:
            return _ExecEnd(refusal=refusal)

    async def _open(self, stack: AsyncExitStack, where: str) -> ExecStream:
        """Start the shell; trying again does no harm, for it does nothing before it is fed."""
        command = ("sh", "-c", shell_detect_text())
        return await patiently(
            lambda: stack.enter_async_context(self._open_exec(where, command)), timeout=EXEC_OPEN_TIMEOUT
        )

    @staticmethod
    async def _feed(stream: ExecStream, text: str) -> None:
        await stream.send(text.encode() if text.endswith("\n") else text.encode() + b"\n")
        if not await stream.close_stdin():
            # Without a half-close the shell has to leave by itself at the end of the script.
            await stream.send(b"exit\n")


async def _cancel_when(stop: anyio.Event, scope: anyio.CancelScope) -> None:
    await stop.wait()
    scope.cancel()
