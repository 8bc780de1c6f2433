"""One session: the address and secret that GitLab is given, and who is in.

Law: made before there is a job, opened when the job has a place, closed with it. One terminal at a time. Closing ends
whatever is open and waits for it, but never long.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import TYPE_CHECKING, Protocol

import anyio

if TYPE_CHECKING:
    from runner.kube.exec import Terminal
    from runner.kube.service_proxy import ServicePort

PREFIX = "/session/"
MOST_VISITORS = 100
"""Requests of one session at a time; those beyond are refused."""

CLOSE_TIMEOUT = 5.0

_SECRET_BYTES = 16


class Place(Protocol):
    """What a session needs of the place where a job runs."""

    def terminal(self) -> AbstractAsyncContextManager[Terminal]:
        """Open a shell there. Raises KubeError."""

    async def service_port(self, name: str, port: str) -> ServicePort | None:
        """Give the way to a port of the job's images, None for no such port. Raises KubeError."""


class BusyError(Exception):
    """The session takes no more of this kind, or has ended."""


class Session:
    """One job's session. Belongs to one event loop."""

    def __init__(self, *, base_url: str, certificate: str, timeout: float, closed: Callable[[Session], None]) -> None:
        """`closed` is called once, when the session is over."""
        self.path = f"{PREFIX}{secrets.token_hex(_SECRET_BYTES)}"
        """Where it is, without a slash at the end."""
        self.job_id = 0
        """The job that came with it; 0 before one has."""
        self.timeout = timeout
        """Seconds for which an open terminal keeps the job after its script."""
        self._token = secrets.token_hex(_SECRET_BYTES)
        self._base_url = base_url
        self._certificate = certificate
        self._closed: Callable[[Session], None] | None = closed
        self._place: Place | None = None
        self._opened = anyio.Event()
        self._visitors: set[anyio.CancelScope] = set()
        self._empty = anyio.Event()
        self._terminal_left: anyio.Event | None = None

    @property
    def offer(self) -> Mapping[str, str]:
        """What GitLab is told with the question for a job: `session` of `jobs/request`."""
        return {
            "url": f"{self._base_url}{self.path}",
            "certificate": self._certificate,
            "authorization": self._token,
        }

    @property
    def connected(self) -> bool:
        """Whether a terminal is open."""
        return self._terminal_left is not None

    def admits(self, authorization: str) -> bool:
        """Whether a header `Authorization` is the session's secret, which has no scheme before it."""
        # Bytes that are no UTF-8 come as surrogates.
        return hmac.compare_digest(authorization.encode(errors="surrogateescape"), self._token.encode())

    def open(self, place: Place) -> None:
        """The job has a place: those who wait for a terminal get one."""
        self._place = place
        self._opened.set()

    async def place(self, *, timeout: float) -> Place | None:
        """Wait for the job's place; None when the time is over, or the session."""
        with anyio.move_on_after(timeout):
            await self._opened.wait()
        return self._place

    async def until_disconnected(self) -> None:
        """Wait until no terminal is open."""
        while self._terminal_left is not None:
            await self._terminal_left.wait()

    @contextmanager
    def visit(self) -> Iterator[None]:
        """Hold a request in the session, which ends it when it is closed. BusyError when there are too many."""
        if self._closed is None or len(self._visitors) >= MOST_VISITORS:
            raise BusyError
        with anyio.CancelScope() as scope:
            self._visitors.add(scope)
            try:
                yield
            finally:
                self._visitors.discard(scope)
                if not self._visitors:
                    self._empty.set()

    @contextmanager
    def claim_terminal(self) -> Iterator[None]:
        """Hold the one terminal. BusyError when somebody else does."""
        if self._terminal_left is not None:
            raise BusyError
        left = self._terminal_left = anyio.Event()
        try:
            yield
        finally:
            self._terminal_left = None
            left.set()

    async def aclose(self) -> None:
        """End the session and what is open in it; once is enough. Takes `CLOSE_TIMEOUT` at most."""
        closed, self._closed = self._closed, None
        if closed is None:
            return
        closed(self)
        self._place = None
        self._opened.set()
        self._empty = anyio.Event()
        for scope in self._visitors:
            scope.cancel()
        if self._visitors:
            with anyio.move_on_after(CLOSE_TIMEOUT):
                await self._empty.wait()
