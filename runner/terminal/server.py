"""The session server: HTTPS, by which GitLab brings people to running jobs.

Law: a request is for one session, found by its path, and has to bring the session's secret; everything else is
refused with a bare status. A session is found from the moment its job has come until the job is over.
"""

from __future__ import annotations

import os
import socket
import ssl
from contextlib import AsyncExitStack
from urllib.parse import unquote

import anyio
import structlog
from aiohttp import web
from anyio.abc import TaskStatus

from runner.kube.errors import KubeError
from runner.terminal.addresses import SessionServerError, join_address, split_address
from runner.terminal.certificates import ServerCertificate, make_certificate
from runner.terminal.forwarding import forward, refusal, wants_socket
from runner.terminal.frames import PROTOCOLS
from runner.terminal.relay import Relay
from runner.terminal.session import PREFIX, BusyError, Place, Session

log = structlog.get_logger()

PLACE_TIMEOUT = 60.0
"""Seconds for which a person waits for the job's place, as in GitLab Runner."""

MESSAGE_BYTES = 1024 * 1024
"""The largest message that a person's end may send."""

HEAD_TIMEOUT = 30.0
"""Seconds in which a connection has to bring the head of its first request, and of each further one."""

CLOSE_TIMEOUT = 5.0


class SessionServer:
    """All sessions of one process. `serve` once."""

    def __init__(
        self,
        listen_address: str,
        *,
        advertise_address: str = "",
        session_timeout: float = 1800.0,
        place_timeout: float = PLACE_TIMEOUT,
    ) -> None:
        self._listen_address = listen_address
        self._advertise_address = advertise_address
        self._session_timeout = session_timeout
        self._place_timeout = place_timeout
        self._sessions: dict[str, Session] = {}
        self._begun: dict[int, web.StreamResponse | None] = {}
        self._base_url = ""
        self._certificate: ServerCertificate | None = None

    async def serve(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Listen until cancelled. SessionServerError when the address cannot be listened at."""
        host, port, advertised = self._addresses()
        certificate = await anyio.to_thread.run_sync(make_certificate, advertised[0])
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self._handle)
        application.on_response_prepare.append(self._note_begun)
        # A person who has gone ends what was begun for them. Packed bodies go to services as they are.
        runner = web.AppRunner(
            application,
            access_log=None,
            handle_signals=False,
            handler_cancellation=True,
            shutdown_timeout=CLOSE_TIMEOUT,
            keepalive_timeout=HEAD_TIMEOUT,
            auto_decompress=False,
        )
        await runner.setup()
        try:
            try:
                site = _site(runner, host, port, certificate.context)
                await site.start()
            except OSError as error:
                why = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
                raise SessionServerError(
                    f"session_server: cannot listen at {self._listen_address} ({why}): "
                    "set listen_address to an address of this machine and a free port."
                ) from error
            if not self._advertise_address:
                advertised = (advertised[0], runner.addresses[0][1])
            self._certificate = certificate
            self._base_url = f"https://{join_address(*advertised)}"
            log.info("the session server listens", listen_address=self._listen_address, advertised=self._base_url)
            task_status.started()
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True, deadline=anyio.current_time() + 2 * CLOSE_TIMEOUT):
                await runner.cleanup()

    def new_session(self) -> Session:
        """Make a session to offer GitLab; it is found once `admit` has been called."""
        assert self._certificate is not None  # `serve` has started
        return Session(
            base_url=self._base_url,
            certificate=self._certificate.pem,
            timeout=self._session_timeout,
            closed=self._forget,
        )

    def admit(self, session: Session) -> None:
        """Let people find a session: its job has come. It stays until it is closed."""
        self._sessions[session.path] = session

    def _forget(self, session: Session) -> None:
        self._sessions.pop(session.path, None)

    def _addresses(self) -> tuple[str, int, tuple[str, int]]:
        try:
            host, port = split_address(self._listen_address)
            advertised = split_address(self._advertise_address) if self._advertise_address else (host, port)
        except ValueError as error:
            raise SessionServerError(f"session_server: {error}") from None
        return host, port, advertised

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        """Find the session, check its secret, and bring the request to what it asks for."""
        path = request.rel_url.raw_path
        identifier, _, wanted = path.removeprefix(PREFIX).partition("/")
        session = self._sessions.get(f"{PREFIX}{identifier}") if path.startswith(PREFIX) else None
        service = wanted.removeprefix("proxy/").split("/", 2) if wanted.startswith("proxy/") else []
        if session is None or (wanted != "exec" and len(service) != 3):
            return refusal(404)
        if not session.admits(request.headers.get("Authorization", "")):
            log.warning("a session was asked for without its secret", remote=request.remote)
            return refusal(401)
        answer: web.StreamResponse | None = None
        self._begun[id(request)] = None
        try:
            with structlog.contextvars.bound_contextvars(job=session.job_id), session.visit():
                if wanted == "exec":
                    answer = await self._terminal(request, session)
                else:
                    answer = await self._service(request, session, *service)
        except BusyError:
            return refusal(503)
        finally:
            begun = self._begun.pop(id(request))
        return answer or begun or refusal(503)

    async def _note_begun(self, request: web.Request, answer: web.StreamResponse) -> None:
        """Remember an answer that its session's end may cut: it is ended then, not followed by another."""
        if id(request) in self._begun:
            self._begun[id(request)] = answer

    async def _terminal(self, request: web.Request, session: Session) -> web.StreamResponse:
        """`<endpoint>/exec`."""
        if request.method != "GET" or not wants_socket(request):
            return refusal(405)
        place = await session.place(timeout=self._place_timeout)
        if place is None:
            return refusal(503)
        try:
            with session.claim_terminal():
                return await _connect(request, place)
        except BusyError:
            return refusal(423)

    async def _service(
        self, request: web.Request, session: Session, name: str, port: str, uri: str
    ) -> web.StreamResponse:
        """`<endpoint>/proxy/<service>/<port>/<uri>`."""
        place = await session.place(timeout=0)
        if place is None:
            return refusal(503)
        try:
            found = await place.service_port(unquote(name), unquote(port))
        except KubeError as error:
            log.warning("a service of a job cannot be reached", reason=error.message)
            return refusal(503)
        if found is None:
            return refusal(404)
        query = request.rel_url.raw_query_string
        uri = f"{uri}?{query}" if query else uri
        return await forward(request, found, uri, outer=f"{session.path}/proxy/{name}/{port}")


def _site(runner: web.AppRunner, host: str, port: int, context: ssl.SSLContext) -> web.BaseSite:
    """Where it listens: `[::]` or no host is every address, of IPv4 too, as in GitLab Runner. Raises OSError."""
    if host not in {"", "::"} or not socket.has_dualstack_ipv6():
        return web.TCPSite(runner, "0.0.0.0" if host in {"", "::"} else host, port, ssl_context=context)
    listener = socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=128)
    return web.SockSite(runner, listener, ssl_context=context)


async def _connect(request: web.Request, place: Place) -> web.StreamResponse:
    """Open a shell, then the person's WebSocket, and tie them together."""
    async with AsyncExitStack() as stack:
        try:
            terminal = await stack.enter_async_context(place.terminal())
        except KubeError as error:
            log.warning("a terminal could not be opened", reason=error.message)
            return refusal(500)
        person = web.WebSocketResponse(
            protocols=PROTOCOLS, autoping=False, compress=False, max_msg_size=MESSAGE_BYTES, timeout=CLOSE_TIMEOUT
        )
        await person.prepare(request)
        log.info("a terminal is connected", remote=request.remote)
        await Relay(person, terminal).run()
    log.info("a terminal is disconnected", remote=request.remote)
    return person
