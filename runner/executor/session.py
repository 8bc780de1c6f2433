"""The conversation with a pod's helper agent, across any number of connections.

One connection may end at any byte; the conversation goes on with the next one where the log and the journal stand
(docs/decisions/001). What the agent sends goes to the job's log; what it is told is kept until it has confirmed it.
"""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING

import anyio
import structlog

from runner.executor.outbox import Key, Outbox
from runner.executor.synced import SyncedBytes, SyncedLines
from runner.kube.attach import StreamLostError
from runner.kube.channels import STDERR, STDOUT
from runner.kube.errors import ForbiddenError, KubeError
from runner.trace.journal import (
    ExitEntry,
    JournalError,
    LostEntry,
    NoteEntry,
    RanEntry,
    StartEntry,
    command_line,
    note_command,
    parse_entry,
    put_commands,
)

if TYPE_CHECKING:
    from runner.executor.base import LogSink
    from runner.kube.attach import AttachStream
    from runner.trace.journal import Entry

log = structlog.get_logger()

WINDOW_BYTES = 512 * 1024
"""How far the agent may be ahead of our acknowledgement:

What a dead connection can hold without blocking the next (decision 001).
"""

ACK_BYTES = WINDOW_BYTES // 4
RECONNECT_INTERVALS = (0.05, 0.2, 0.5, 1.0, 2.0, 5.0)
SYNC_TIMEOUT = 30.0
"""Seconds for an agent to answer a new connection."""

DEAF_TIMEOUT = 300.0
"""Seconds of connections that no agent answers, after which the pod is given up.

A container whose runtime was started again has lost its stdin for ever.
"""

PING_INTERVAL = 30.0
SILENCE_TIMEOUT = 75.0
TROUBLE_LINES = 20
MAX_REFUSALS = 5


class PodSession:
    """Commands to a helper agent, and its journal and log to the job's log.

    Runs as one background task of the job's group.
    """

    def __init__(
        self,
        connect: Callable[[], AbstractAsyncContextManager[AttachStream]],
        sink: LogSink,
        *,
        job_id: int,
        sync_timeout: float = SYNC_TIMEOUT,
        deaf_timeout: float = DEAF_TIMEOUT,
    ) -> None:
        self._connect = connect
        self._sink = sink
        self._sync_timeout = sync_timeout
        self._deaf_timeout = deaf_timeout
        self._unanswered = 0.0
        self._log = log.bind(job=job_id)
        self._outbox = Outbox()
        self._unsent: deque[bytes] = deque()
        self._changed = anyio.Event()
        self._wake_writer = anyio.Event()
        self._acknowledged = 0
        self._started: set[str] = set()
        self._ran: set[str] = set()
        self._sealed: dict[str, bool] = {}
        self._heard_at = 0.0
        self._refusals = 0
        self.connections = 0
        """Connections made so far."""
        self.connected = False
        """Whether there is a connection now."""
        self.ended = False
        """Whether the conversation is over: nothing more will come."""
        self.refused = ""
        """Why it cannot go on although the pod is well: the API server refuses it, or the pod cannot store a script."""
        self.trouble: deque[str] = deque(maxlen=TROUBLE_LINES)
        """The agent's own error output, its last lines."""

    # What the environment asks -----------------------------------------------------------------------------------

    def attach_log(self) -> None:
        """Send the manager's notes through the journal from now on, the earlier ones first."""
        for note in self._sink.attach(self.note):
            self.note(note)

    def note(self, note: NoteEntry) -> None:
        """Have a line of the manager's own written into the journal."""
        key, lines = ("note", str(note.seq)), (note_command(note),)
        self._outbox.post(key, lines)
        self._send(lines)

    async def begin(self, attempt: str, text: str) -> bool:
        """Put the attempt's script into the scripts volume, and its start into the journal, so that its title stands
        before its output.

        True once the agent has checked the one and written the other, false when the conversation ended first.
        """
        self._sealed.pop(attempt, None)
        lines = tuple(put_commands(attempt, text.encode()))
        self._outbox.post(("file", attempt), lines)
        self._send(lines)
        self._post(("begin", attempt), f"begin {attempt}")
        return await self.wait_for(lambda: attempt in self._sealed and attempt in self._started)

    def run_here(self, attempt: str) -> None:
        """Start the attempt in the helper container."""
        self._post(("run", attempt), f"run {attempt}")

    def stop_here(self, attempt: str, grace: float) -> None:
        """End the attempt in the helper container: TERM, `grace` seconds, KILL."""
        self._post(("stop", attempt), f"stop {attempt} {grace:.0f}")

    def has_run(self, attempt: str) -> bool:
        """Whether the attempt has been started by its container's agent."""
        return attempt in self._ran or self._sink.result(attempt) is not None

    def wake(self) -> None:
        """Let `wait_for` look again. It is called for every frame, so who waits makes the next event."""
        self._changed.set()

    async def wait_for(self, happened: Callable[[], bool]) -> bool:
        """Wait until something has happened; false when the conversation ended without it. The caller bounds it."""
        while not happened() and not self.ended:
            await self._change()
        return happened()

    async def until_quiet(self) -> None:
        """Wait until the connection there is has brought all it can."""
        while self.connected and not self.ended:
            await self._change()

    def end(self, reason: str) -> None:
        """Nothing more will come: let everybody who waits go on."""
        if not self.ended:
            self._log.debug("conversation over", reason=reason)
        self.ended = True
        self.wake()

    # The background ----------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Keep the conversation going until cancelled, or until it is over."""
        failures = 0
        while not self.ended:
            before = self._sink.offset, self._sink.lines
            try:
                async with self._connect() as stream:
                    self.connections += 1
                    self.connected = True
                    await self._converse(stream)
            except StreamLostError as lost:
                self._log.debug("attach lost", reason=str(lost))
            except ForbiddenError as refused:
                self.refuse(f"the API server does not allow attaching to the pod: {refused.message}")
            except KubeError as trouble:
                self._log.debug("attach failed", reason=str(trouble))
            self.connected = False
            failures = 0 if (self._sink.offset, self._sink.lines) != before else failures + 1
            self.wake()
            await anyio.sleep(RECONNECT_INTERVALS[min(failures, len(RECONNECT_INTERVALS) - 1)])

    async def _converse(self, stream: AttachStream) -> None:
        token = secrets.token_hex(16)
        self._unsent.clear()
        self._acknowledged = self._sink.offset
        resume = f"resume {token} {self._sink.offset} {self._sink.lines} {WINDOW_BYTES}"
        self._send((b"\n", command_line(resume), *self._outbox))
        self._heard_at = began = anyio.current_time()
        output, lines = SyncedBytes(token.encode("ascii")), SyncedLines(token.encode("ascii"))
        async with anyio.create_task_group() as group:
            group.start_soon(self._write, stream, group.cancel_scope)
            group.start_soon(self._expect_answer, lines, group.cancel_scope)
            await self._read(stream, output, lines)
            group.cancel_scope.cancel()
        self._unanswered = 0.0 if lines.synced else self._unanswered + anyio.current_time() - began
        if self._unanswered >= self._deaf_timeout:
            self.refuse("the pod's agent does not answer any more: was the node's container runtime started again?")

    async def _expect_answer(self, lines: SyncedLines, scope: anyio.CancelScope) -> None:
        """Give a connection up that no agent answers."""
        await anyio.sleep(self._sync_timeout)
        if not lines.synced:
            self._log.warning("the pod's agent does not answer, connecting anew")
            scope.cancel()

    async def _read(self, stream: AttachStream, output: SyncedBytes, lines: SyncedLines) -> None:
        """Take frames until the connection is lost."""
        try:
            while True:
                frame = await stream.receive()
                self._heard_at = anyio.current_time()
                if frame.channel == STDOUT:
                    fresh = output.feed(bytes(frame.data))
                    if fresh:
                        self._sink.data(fresh)
                elif frame.channel == STDERR:
                    for line in lines.feed(bytes(frame.data)):
                        self._take(line)
                if self._sink.offset - self._acknowledged >= ACK_BYTES:
                    self._acknowledged = self._sink.offset
                    self._send((command_line(f"ack {self._acknowledged}"),))
                self.wake()
        except (StreamLostError, JournalError) as lost:
            self._log.debug("conversation ended", reason=str(lost), synced=lines.synced)

    async def _write(self, stream: AttachStream, scope: anyio.CancelScope) -> None:
        """Send what is posted; ask for a sign of life when it is quiet, and give the connection up without one."""
        pings = 0
        try:
            while True:
                while self._unsent:
                    # One message for all of it: a system call for each line is what a job's start would mostly cost.
                    lines = b"".join(self._unsent)
                    self._unsent.clear()
                    await stream.send(lines)
                with anyio.move_on_after(PING_INTERVAL) as quiet:
                    await self._wake_writer.wait()
                if quiet.cancelled_caught:
                    if anyio.current_time() - self._heard_at > SILENCE_TIMEOUT:
                        self._log.warning("the pod's agent is silent, connecting anew")
                        scope.cancel()
                        return
                    pings += 1
                    await stream.send(command_line(f"ping {pings}"))
        except StreamLostError:
            return  # the reader sees the same end and says why

    async def _change(self) -> None:
        """Wait for the next `wake`."""
        if self._changed.is_set():
            self._changed = anyio.Event()
        await self._changed.wait()

    def _post(self, key: Key, command: str) -> None:
        lines = (command_line(command),)
        self._outbox.post(key, lines)
        self._send(lines)

    def _send(self, lines: tuple[bytes, ...]) -> None:
        self._unsent.extend(lines)
        self._wake_writer.set()
        self._wake_writer = anyio.Event()

    def _take(self, line: bytes) -> None:
        """One line of the agent's stderr after the sync mark."""
        word, _, rest = line.partition(b" ")
        if word == b"j":
            number, _, text = rest.partition(b" ")
            self._take_entry(int(number), parse_entry(text))
        elif word in (b"sealed", b"bad"):
            self._take_answer(word == b"sealed", rest.decode("ascii", "replace"))
        elif word != b"pong" and line:
            self.trouble.append(line.decode("utf-8", "replace"))

    def _take_entry(self, number: int, entry: Entry) -> None:
        if number < self._sink.lines:
            return
        if number > self._sink.lines:
            raise JournalError(f"journal line {self._sink.lines} is missing, got {number}")
        self._sink.entry(entry)
        match entry:
            case NoteEntry(seq=seq):
                self._outbox.confirm(("note", str(seq)))
            case StartEntry(attempt=attempt):
                self._started.add(attempt)
                self._outbox.confirm(("begin", attempt))
            case RanEntry(attempt=attempt):
                self._ran.add(attempt)
                self._outbox.confirm(("run", attempt))
            case ExitEntry(attempt=attempt) | LostEntry(attempt=attempt):
                self._outbox.confirm(("run", attempt))
                self._outbox.confirm(("stop", attempt))

    def _take_answer(self, good: bool, name: str) -> None:
        key = ("file", name)
        if good:
            self._outbox.confirm(key)
            self._sealed[name] = True
            return
        self._refusals += 1
        if self._refusals > MAX_REFUSALS:
            self.refuse(
                f"the helper could not store the script {name}: {'; '.join(self.trouble) or 'is its volume full?'}"
            )
            return
        self._send(self._outbox.lines(key))  # a part was lost: send the whole file again

    def refuse(self, reason: str) -> None:
        """End the conversation although the pod is well."""
        self.refused = self.refused or reason
        self.end(reason)
