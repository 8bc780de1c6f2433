"""A job's log on its way to GitLab, with a desk that answers as the test says."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from runner.job.outcome import Outcome
from runner.manager.tracing import Trace
from runner.trace.answers import PatchResult, UpdateResult
from runner.trace.journal import LogEntry, NoteEntry
from runner.trace.masking import Masker
from runner.trace.patching import Signal
from runner.trace.rendering import Renderer


class Desk:
    """A GitLab that stores what it takes."""

    def __init__(self) -> None:
        self.stored = b""
        self.updates: list[tuple[str, str, int]] = []
        self.patch_answers: deque[PatchResult] = deque()
        self.job_status = "running"
        self.gate = anyio.Event()
        self.gate.set()
        self.changed = anyio.Event()

    async def patch_trace(self, *, start: int, data: bytes) -> PatchResult:
        """Store, unless the test has another answer."""
        await self.gate.wait()
        self._tell()
        if self.patch_answers:
            return self.patch_answers.popleft()
        if start != len(self.stored):
            return PatchResult(status=416, range_end=len(self.stored), interval=0.01)
        self.stored += data
        return PatchResult(status=202, job_status=self.job_status, range_end=len(self.stored), interval=0.01)

    async def update_job(
        self, *, state: str, reason: str = "", exit_code: int = 0, checksum: str = "", size: int = 0
    ) -> UpdateResult:
        """Note what was told."""
        self.updates.append((state, reason, size))
        self._tell()
        return UpdateResult(status=200, job_status=self.job_status)

    async def until_stored(self, part: bytes) -> None:
        """Wait for bytes."""
        with anyio.fail_after(5):
            while part not in self.stored:
                await self.changed.wait()

    def _tell(self) -> None:
        self.changed.set()
        self.changed = anyio.Event()


class Scene:
    """A trace that sends beside the test."""

    def __init__(self, *, keep_alive_interval: float = 30.0, limit_bytes: int = 1 << 20) -> None:
        self.desk = Desk()
        self.signals: list[Signal] = []
        self.trace = Trace(
            self.desk,
            Renderer(Masker((b"secret-value",), ()), timestamps=False, sections=False),
            limit_bytes=limit_bytes,
            on_signal=self.signals.append,
            keep_alive_interval=keep_alive_interval,
            now=lambda: 100.0,
        )

    def output(self, data: bytes) -> None:
        """The job prints."""
        self.trace.data(data)
        self.trace.entry(LogEntry(self.trace.offset, 100.0))

    @asynccontextmanager
    async def sending(self) -> AsyncIterator[None]:
        """Send in the background."""
        async with anyio.create_task_group() as group:
            group.start_soon(self.trace.send)
            yield
            group.cancel_scope.cancel()


@pytest.fixture
def scene_of() -> Iterator[Callable[..., Scene]]:
    """Makes scenes, and closes their logs."""
    made: list[Scene] = []

    def make(**over: Any) -> Scene:
        made.append(Scene(**over))
        return made[-1]

    yield make
    for scene in made:
        scene.trace.close()


async def test_send_when_the_job_prints(scene_of: Callable[..., Scene]) -> None:
    """Notes and output go out in their order, masked; the end names the whole log."""
    scene = scene_of()
    scene.trace.note("plain", "header")
    async with scene.sending():
        await scene.desk.until_stored(b"header")
        scene.output(b"it is secret-value\n")
        await scene.desk.until_stored(b"it is [MASKED]")
        scene.trace.final_note("green", "Job succeeded")
        assert await scene.trace.finish(Outcome.success(), "")
    assert scene.desk.stored == (b"\x1b[0Kheader\x1b[0;m\nit is [MASKED]\n\x1b[32;1mJob succeeded\x1b[0;m\n")
    assert scene.desk.updates == [("success", "", len(scene.desk.stored))]


async def test_finish_when_a_patch_is_under_way(scene_of: Callable[..., Scene]) -> None:
    """It is waited for, not sent a second time."""
    scene = scene_of()
    scene.desk.gate = anyio.Event()
    async with scene.sending(), anyio.create_task_group() as group:
        scene.output(b"one\n")
        for _ in range(5):
            await anyio.lowlevel.checkpoint()
        scene.output(b"two\n")
        group.start_soon(scene.trace.finish, Outcome.success(), "")
        for _ in range(5):
            await anyio.lowlevel.checkpoint()
        scene.desk.gate.set()
    assert scene.desk.stored == b"one\ntwo\n"
    assert scene.desk.updates == [("success", "", 8)]


async def test_finish_when_nobody_sends(scene_of: Callable[..., Scene]) -> None:
    """When everything around is cancelled it sends by itself."""
    scene = scene_of()
    scene.output(b"one\n")
    assert await scene.trace.finish(Outcome(state="failed", reason=None), "script_failure")
    assert scene.desk.stored == b"one\n"
    assert scene.desk.updates == [("failed", "script_failure", 4)]


async def test_send_when_the_log_does_not_grow(scene_of: Callable[..., Scene]) -> None:
    """Silence is broken by a sign of life, whose answer brings a cancel; each signal is told once."""
    scene = scene_of(keep_alive_interval=0.01)
    scene.desk.job_status = "canceling"
    async with scene.sending():
        with anyio.fail_after(5):
            while len(scene.desk.updates) < 3:
                await scene.desk.changed.wait()
    assert scene.signals == [Signal.CANCELING]


@pytest.mark.parametrize("status", [403, 404])
async def test_send_when_gitlab_gave_the_job_up(scene_of: Callable[..., Scene], status: int) -> None:
    """A 403 is an abort; a 404 may only be a mislaid log."""
    scene = scene_of(keep_alive_interval=0.01)
    scene.desk.patch_answers.append(PatchResult(status=status, interval=0.01))
    async with scene.sending():
        scene.output(b"one\n")
        if status == 404:
            await scene.desk.until_stored(b"one\n")
        else:
            with anyio.fail_after(5):
                while not scene.signals:
                    await scene.desk.changed.wait()
                    await anyio.lowlevel.checkpoint()
    assert scene.signals == ([Signal.ABORT] if status == 403 else [])


async def test_notes_when_the_journal_confirms_only_some(scene_of: Callable[..., Scene]) -> None:
    """While attached notes go to the relay; what it never confirmed is written at the end, nothing twice."""
    scene = scene_of()
    relayed: list[NoteEntry] = []
    scene.trace.note("plain", "before")
    assert [note.text for note in scene.trace.attach(relayed.append)] == ["before"]
    scene.trace.note("plain", "confirmed")
    scene.trace.note("plain", "lost")
    assert [note.text for note in relayed] == ["confirmed", "lost"]
    scene.trace.entry(relayed[0])
    scene.trace.detach()
    assert await scene.trace.finish(Outcome.success(), "")
    plain = scene.desk.stored.replace(b"\x1b[0K", b"").replace(b"\x1b[0;m", b"")
    assert plain.splitlines() == [b"before", b"confirmed", b"lost"]


async def test_final_note_when_the_limit_is_reached(scene_of: Callable[..., Scene]) -> None:
    """How the job ended is told beyond the log's limit too."""
    scene = scene_of(limit_bytes=100)
    scene.output(b"x" * 500 + b"\n")
    scene.trace.final_note("error", "Job failed: out of room")
    assert await scene.trace.finish(Outcome.success(), "")
    assert b"Job failed: out of room" in scene.desk.stored
    assert scene.trace.size == len(scene.desk.stored) < 500
