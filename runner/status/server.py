"""The status server: metrics, probes, the list of jobs and a page, over plain HTTP.

Law: it only shows. Whoever reaches it can change nothing and learns no secret; it asks GitLab nothing, so that GitLab's
trouble never restarts a manager with running jobs.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections.abc import Awaitable, Callable, Iterator
from importlib import resources
from typing import TYPE_CHECKING

import anyio
import orjson
import structlog
from aiohttp import web
from anyio.abc import TaskStatus

from runner.status.address import ListenError
from runner.status.board import ProcessState
from runner.status.pulse import LAG_MAX, Pulse
from runner.status.readiness import Readiness
from runner.status.snapshot import job_list, snapshot

if TYPE_CHECKING:
    from runner.status.address import Address
    from runner.status.board import StatusBoard
    from runner.status.metrics import Metrics

log = structlog.get_logger()

_CLOSE_TIMEOUT = 2.0
_HEAD_TIMEOUT = 75.0
"""Seconds in which a connection has to bring the head of a request; longer than most scrapers' intervals."""

_NO_IPV6 = {errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL}  # a machine may know it and have none
_READY = frozenset({ProcessState.RUNNING, ProcessState.GRACEFUL_SHUTDOWN, ProcessState.FORCEFUL_SHUTDOWN})
_PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


class StatusServer:
    """Shows a board. `serve` is one task; the port is open when it has started."""

    def __init__(self, address: Address, board: StatusBoard, metrics: Metrics | None = None) -> None:
        """Without `metrics` there is no `/metrics`."""
        self._address = address
        self._board = board
        self._metrics = metrics
        self._pulse = Pulse(board.meter.lagged)
        self._readiness = Readiness(board)
        self.port = 0
        """The port that is listened at, once `serve` has started."""

    async def serve(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Listen until cancelled. Raises ListenError."""
        runner = web.AppRunner(
            self._app(),
            access_log=None,
            handle_signals=False,
            shutdown_timeout=_CLOSE_TIMEOUT,
            keepalive_timeout=_HEAD_TIMEOUT,
        )
        with open_socket(self._address) as listener:
            self.port = listener.getsockname()[1]
            try:
                await runner.setup()
                await web.SockSite(runner, listener).start()
                log.info("status server listening", address=str(self._address), port=self.port)
                async with anyio.create_task_group() as group:
                    group.start_soon(self._pulse.run, name="pulse")
                    task_status.started()
            finally:
                with anyio.CancelScope(shield=True, deadline=anyio.current_time() + _CLOSE_TIMEOUT * 2):
                    await runner.cleanup()

    def _app(self) -> web.Application:
        app = web.Application()
        routes: dict[str, Callable[[web.Request], Awaitable[web.Response]]] = {
            "/": self._page,
            "/api/status": self._snapshot,
            "/debug/jobs/list": self._jobs,
            "/debug/process/state": self._state,
            "/health/ready": self._ready,
            "/healthz": self._healthz,
            "/readyz": self._readyz,
        }
        if self._metrics is not None:
            routes["/metrics"] = self._exposition
        for path, handler in routes.items():
            app.router.add_get(path, handler)  # HEAD too; any other method is a 405
        return app

    async def _exposition(self, request: web.Request) -> web.Response:
        assert self._metrics is not None  # or there is no such path
        body, content_type = self._metrics.page(request.headers.get("Accept", ""))
        return web.Response(body=body, headers={"Content-Type": content_type})

    async def _jobs(self, _request: web.Request) -> web.Response:
        return web.Response(text=job_list(self._board), headers={"X-List-Version": "2"})

    async def _state(self, _request: web.Request) -> web.Response:
        return web.Response(text=self._board.state.value)

    async def _ready(self, _request: web.Request) -> web.Response:
        ready = self._board.state in _READY
        return web.Response(text="ready\n" if ready else "not ready\n", status=200 if ready else 503)

    async def _healthz(self, _request: web.Request) -> web.Response:
        lag = self._pulse.lag
        if lag < LAG_MAX:
            return web.Response(text=f"ok\nloop: {lag:.3f} s late\n")
        return web.Response(text=f"failing\nloop: {lag:.1f} s late, {LAG_MAX:.0f} are allowed\n", status=503)

    async def _readyz(self, _request: web.Request) -> web.Response:
        checks = await self._readiness.checks()
        failing = any(check.trouble for check in checks)
        lines = ["failing" if failing else "ok", *(f"{check.name}: {check.trouble or 'ok'}" for check in checks)]
        return web.Response(text="\n".join(lines) + "\n", status=503 if failing else 200)

    async def _snapshot(self, _request: web.Request) -> web.Response:
        body = orjson.dumps(snapshot(self._board))
        return web.Response(body=body, content_type="application/json", headers={"Cache-Control": "no-store"})

    async def _page(self, _request: web.Request) -> web.Response:
        text = resources.files("runner.status").joinpath("page.html").read_text(encoding="utf-8")
        return web.Response(text=text, content_type="text/html", headers=_PAGE_HEADERS)


@contextlib.contextmanager
def open_socket(address: Address) -> Iterator[socket.socket]:
    """Listen at an address: without a host, or at `[::]`, at all of this machine's, IPv6 included where there is any.

    Raises ListenError.
    """
    try:
        listener = _listener(address)
    except OSError as error:
        # Python writes the address into the words of an error that has them.
        known = error.errno and error.errno > 0 and not isinstance(error, socket.gaierror)
        reason = (os.strerror(error.errno or 0) if known else str(error.strerror or error)).lower()
        told = f"The status server cannot listen at {address}: {reason}. Free it, or set another listen_address."
        raise ListenError(told) from error
    with listener:
        yield listener


def _listener(address: Address) -> socket.socket:
    if address.host not in {"", "::"}:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, where = found[0]
        return socket.create_server(where[:2], family=family, backlog=128)
    if socket.has_dualstack_ipv6():
        try:
            return socket.create_server(("", address.port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=128)
        except OSError as error:
            if error.errno not in _NO_IPV6:
                raise
    return socket.create_server(("", address.port), backlog=128)
