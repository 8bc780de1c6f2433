"""A job's log on its way from the pod to GitLab.

`Trace` is the sink that the executor writes to and the task that sends. What it stores is decided by
`runner.trace.rendering`, when it is sent by `runner.trace.patching`; here are only the clock, the file and the
waiting. Its background task stands outside the job's abort scope, and `finish` sends by itself: when everything
around is being cancelled, the background task makes no step any more.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable
from contextlib import contextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, Protocol

import anyio
import structlog

from runner.trace.answers import PatchResult, UpdateResult
from runner.trace.buffer import TraceBuffer
from runner.trace.journal import NoteEntry
from runner.trace.patching import Done, Patch, Signal, Touch, TraceSession, Update, Wait

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runner.job.outcome import Outcome
    from runner.trace.journal import Entry, ExitEntry, LostEntry
    from runner.trace.rendering import Renderer

log = structlog.get_logger()

SPOOL_BYTES = 64 * 1024
"""A log up to this size stays in memory; most jobs never touch the disk."""

KEEP_ALIVE_INTERVAL = 30.0
"""Seconds after which GitLab is asked how a job without new output is meant to go on."""

FINAL_RETRY_LIMIT = 10
"""How often a GitLab that is there may refuse the last requests; for one that is away `finish`'s caller has a bound."""


class JobDesk(Protocol):
    """GitLab for one job: its coordinator with the job's id and token."""

    async def patch_trace(self, *, start: int, data: bytes) -> PatchResult:
        """Append to the job's log."""

    async def update_job(
        self, *, state: str, reason: str = "", exit_code: int = 0, checksum: str = "", size: int = 0
    ) -> UpdateResult:
        """Report the job's state."""


class Trace:
    """One job's log.

    Notes come from the manager, bytes and entries from the executor; all of it goes out in one order.
    """

    def __init__(
        self,
        desk: JobDesk,
        renderer: Renderer,
        *,
        limit_bytes: int,
        on_signal: Callable[[Signal], None],
        keep_alive_interval: float = KEEP_ALIVE_INTERVAL,
        dynamic_keep_alive: bool = False,
        final_retry_limit: int = FINAL_RETRY_LIMIT,
        moved: Callable[[int, int], None] = lambda received, sent: None,
        now: Callable[[], float] = time.time,
    ) -> None:
        """`moved` hears of the bytes that came from the place in all, and of those that GitLab has taken just now."""
        self._desk = desk
        self._renderer = renderer
        self._file = tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES)  # noqa: SIM115 -- closed by `close`
        self._buffer = TraceBuffer(self._file, limit_bytes)
        self._session = TraceSession(
            anyio.current_time(), keep_alive_interval=keep_alive_interval, dynamic_keep_alive=dynamic_keep_alive
        )
        self._on_signal = on_signal
        self._final_retry_limit = final_retry_limit
        self._moved = moved
        self._now = now
        self._enough = anyio.Event()
        self._enough_bytes = 0.0
        self._notes: dict[int, NoteEntry] = {}
        self._seq = 0
        self._relay: Callable[[NoteEntry], None] | None = None
        self._busy = anyio.Lock()
        self._finishing = False

    # The manager's own lines -------------------------------------------------------------------------------------

    def note(self, kind: str, text: str) -> None:
        """Write a line of the manager's own at this place of the log.

        While the pod's journal is attached the line goes through it, so that the log can be made again from the pod; it
        shows up when the journal has it.
        """
        self._seq += 1
        note = NoteEntry(self._seq, kind, self._renderer.received, self._now(), self._renderer.clipped(text))
        self._notes[note.seq] = note
        if self._relay:
            self._relay(note)
        else:
            self._store(self._renderer.note(note))

    @contextmanager
    def section(self, name: str, title: str) -> Iterator[None]:
        """Frame what is written meanwhile as a section of the log, for stages that run before the pod does."""
        self.note("section_start", name)
        self.note("title", title)
        try:
            yield
        finally:
            self.note("section_end", name)

    def attach(self, relay: Callable[[NoteEntry], None]) -> tuple[NoteEntry, ...]:
        """Let further notes go through the environment's journal; return those written before."""
        earlier = tuple(self._notes.values())
        self._relay = relay
        return earlier

    def detach(self) -> None:
        """Write notes directly again, first those that the environment never confirmed."""
        self._relay = None
        self._store(self._renderer.finish())
        for note in self._notes.values():
            if note.seq not in self._renderer.seen_notes:
                self._store(self._renderer.note(note))

    # The executor's bytes ----------------------------------------------------------------------------------------

    @property
    def offset(self) -> int:
        """Raw bytes taken from the environment."""
        return self._renderer.received

    @property
    def lines(self) -> int:
        """Journal entries taken from the environment."""
        return self._renderer.lines

    def data(self, raw: bytes) -> None:
        """Take the next raw bytes of the job's output."""
        self._store(self._renderer.data(raw))

    def entry(self, entry: Entry) -> None:
        """Take the next entry of the journal."""
        self._store(self._renderer.entry(entry))

    def result(self, attempt: str) -> ExitEntry | LostEntry | None:
        """Say how an attempt ended, once all of its output has been rendered."""
        return self._renderer.result(attempt)

    # Sending -----------------------------------------------------------------------------------------------------

    async def send(self) -> None:
        """Send what there is when it is due, until cancelled or until `finish` takes over. Runs beside the job."""
        while not self._finishing:
            request = self._session.next_request(anyio.current_time())
            if isinstance(request, Wait):
                await self._wait(request)
            elif isinstance(request, Done):
                return
            else:
                await self._carry_out(request)

    async def finish(self, outcome: Outcome, reason: str) -> bool:
        """Send the rest of the log and the final state; say whether GitLab has taken it. `reason` is GitLab's word
        for the failure.

        The caller bounds it and shields it.
        """
        self._finishing = True
        self._changed()
        # A request under way is waited for: one that is called off may have been taken, and costs a 416 and its pause.
        async with self._busy:
            self._store(self._renderer.finish())
            self._session.finish(outcome.state, reason, outcome.exit_code, retry_limit=self._final_retry_limit)
        while True:
            request = self._session.next_request(anyio.current_time())
            if isinstance(request, Done):
                return request.delivered
            if isinstance(request, Wait):
                await anyio.sleep(max(0.0, request.until - anyio.current_time()))
            else:
                await self._carry_out(request)

    def final_note(self, kind: str, text: str) -> None:
        """Write how the job ended, beyond the log's limit too."""
        self._seq += 1
        note = NoteEntry(self._seq, kind, self._renderer.received, self._now(), self._renderer.clipped(text))
        self._buffer.write_final(self._renderer.note(note))
        self._changed()

    def close(self) -> None:
        """Forget the log."""
        self._moved(self._renderer.received, 0)
        self._file.close()

    @property
    def checksum(self) -> str:
        """The log's checksum as GitLab wants it."""
        return self._buffer.checksum

    @property
    def size(self) -> int:
        """The log's size in bytes."""
        return self._buffer.size

    def _store(self, rendered: bytes) -> None:
        if not rendered:
            return
        self._buffer.write(rendered)
        self._changed()

    def _changed(self) -> None:
        self._session.grew(self._buffer.size)
        if self._finishing or self._buffer.size >= self._enough_bytes:
            self._enough.set()

    async def _wait(self, wait: Wait) -> None:
        """Wait for the moment or the size; a log that grows by a line wakes nobody before."""
        self._enough, self._enough_bytes = anyio.Event(), math.inf if wait.size is None else wait.size
        timeout = None if math.isinf(wait.until) else max(0.0, wait.until - anyio.current_time())
        with anyio.move_on_after(timeout):
            await self._enough.wait()

    async def _carry_out(self, request: Patch | Touch | Update) -> None:
        async with self._busy:
            reply = await self._ask(request)
            signals = self._session.receive(reply, anyio.current_time())
        for signal in signals:
            self._on_signal(signal)

    async def _ask(self, request: Patch | Touch | Update) -> UpdateResult:
        if isinstance(request, Patch):
            data = self._buffer.read(request.start, request.end - request.start)
            reply = await self._desk.patch_trace(start=request.start, data=data)
            self._moved(self._renderer.received, len(data) if reply.status == HTTPStatus.ACCEPTED else 0)
            return reply
        if isinstance(request, Touch):
            return await self._desk.update_job(state="running", checksum=self.checksum, size=self.size)
        return await self._desk.update_job(
            state=request.state,
            reason=request.reason,
            exit_code=request.exit_code,
            checksum=self.checksum,
            size=self.size,
        )
