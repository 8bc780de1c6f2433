"""Sessions on their way from a question for a job to the job that comes of it.

Law: each question offers GitLab a session of its own, and the job that is its answer gets that session and no other.
Without a session server nothing is offered, and nothing of it is loaded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol

import anyio
from anyio.abc import TaskStatus

from runner.job.durations import format_duration

if TYPE_CHECKING:
    from runner.config.model import SessionServerConfig
    from runner.gitlab.replies import JobReply
    from runner.job.payload import Job
    from runner.terminal.server import SessionServer
    from runner.terminal.session import Session


class Desk(Protocol):
    """Where a session is offered."""

    async def request_job(self, *, long_poll: bool, session: Mapping[str, str] | None = None) -> JobReply:
        """Ask for a job once."""


class Sessions:
    """The sessions of all runners of a process. `serve` once."""

    def __init__(self, server: SessionServer | None = None) -> None:
        self._server = server
        self._given: dict[tuple[int, str], Session] = {}

    async def serve(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Listen until cancelled; returns at once where there is nothing to listen for. SessionServerError."""
        if self._server is None:
            task_status.started()
        else:
            await self._server.serve(task_status=task_status)

    async def request_job(self, desk: Desk, *, long_poll: bool) -> JobReply:
        """Ask for a job, and keep the session that was offered for it."""
        if self._server is None:
            return await desk.request_job(long_poll=long_poll)
        session = self._server.new_session()
        reply = await desk.request_job(long_poll=long_poll, session=session.offer)
        if reply.job is not None:
            self._given[reply.job.id, reply.job.token] = session
        return reply

    def take(self, job: Job) -> Session | None:
        """Let people find a job's session until it is closed; None where the job has none."""
        session = self._given.pop((job.id, job.token), None)
        if session is not None and self._server is not None:
            session.job_id = job.id
            self._server.admit(session)
        return session


async def stay_connected(session: Session, *, timeout: float, note: Callable[[str], None]) -> None:
    """Wait until nobody has a terminal of the session, or its time is over; `note` tells both in the job's log."""
    shown = format_duration(round(timeout))
    note(f"Terminal is connected, will time out in {shown}...")
    end = "Terminal disconnected"
    try:
        with anyio.move_on_after(timeout) as stay:
            await session.until_disconnected()
        if stay.cancelled_caught:
            end = f"terminal session timed out (maximum time allowed - {shown})"
    finally:
        note(end)


def open_sessions(config: SessionServerConfig) -> Sessions:
    """Make what a configuration asks for; nothing is opened before `serve`."""
    if not config.listen_address:
        return Sessions()
    from runner.terminal.server import SessionServer

    return Sessions(
        SessionServer(
            config.listen_address,
            advertise_address=config.advertise_address,
            session_timeout=config.session_timeout,
        )
    )
