"""Requests, byte streams and WebSockets to one API server.

Law: the only module that starts an aiohttp request. Every wait has a bound, every status is looked at, every failure
becomes a KubeError here, every request is observed. What may be sent again is decided above (client, informer), but
for a 401, after which the credentials are renewed and the request is sent once more: a refused request had no effect.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Protocol, TypedDict, TypeVar
from urllib.parse import urlencode

import aiohttp
import anyio
from yarl import URL

from runner.kube.channels import PROTOCOLS
from runner.kube.errors import KubeError
from runner.kube.sockets import Sockets
from runner.kube.troubles import RefusedError, bad_address, parse_object, refuse, translated

if TYPE_CHECKING:
    import ssl

    from runner.kube.resources import Manifest

_Answer = TypeVar("_Answer", aiohttp.ClientResponse, aiohttp.ClientWebSocketResponse)

Observer = Callable[[str, str, int, float], None]
"""Called after each request with verb, resource, status (0: no answer) and seconds until the answer's head."""

CALL_CONNECTIONS = 64
"""Connections for plain calls; further calls wait for one.

Streams have connections of their own, so neither starves the other.
"""

HANDSHAKES = 100
"""WebSocket upgrades at a time: 2,000 at once cost seconds of processor for TLS alone."""

CONNECT_TIMEOUT = 10.0
MESSAGE_BYTES = 32 * 1024 * 1024
"""The largest WebSocket message taken; servers send 32 KiB."""

_ADDED = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")
"""Headers that aiohttp would add to a request of another's."""
_CLOSE_TIMEOUT = 2.0


class Credentials(Protocol):
    """What proves who we are, request by request."""

    @property
    def generation(self) -> int:
        """Grows with each renewal."""

    async def headers(self) -> dict[str, str]:
        """Return the headers of the next request, renewed when they are about to expire. Raises KubeError."""

    async def renew(self, refused: Mapping[str, str]) -> bool:
        """Renew what the server has refused; false when there is nothing newer. Concurrent calls renew once."""


class Anonymous:
    """No credentials, or a client certificate alone."""

    generation = 0

    async def headers(self) -> dict[str, str]:
        """Return none."""
        return {}

    async def renew(self, refused: Mapping[str, str]) -> bool:
        """There is nothing to renew."""
        del refused
        return False


@dataclass(frozen=True, slots=True)
class Connection:
    """The way to one API server, as the settings or a kubeconfig describe it."""

    host: str
    """Scheme, host, port and an optional path, without a slash at the end."""
    credentials: Credentials = field(default_factory=Anonymous)
    tls: ssl.SSLContext | None = None
    """Shared by all connections; None for plain HTTP."""
    server_hostname: str | None = None
    """The name to find in the server's certificate when it is not the host's."""
    proxy: str | None = None
    proxy_headers: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request, and how to speak of it."""

    verb: str
    """The verb as a Role has it: get, list, watch, create, patch, delete."""
    resource: str
    """The resource as a Role has it: `pods`, `pods/attach`."""
    subject: str
    """What it is about, for a person: `pods ci/runner-1`."""
    path: str
    method: str = "GET"
    query: tuple[tuple[str, str], ...] = ()
    body: bytes | None = field(default=None, repr=False)
    content_type: str = "application/json"
    timeout: float = 30.0

    @property
    def sentence(self) -> str:
        """The beginning of an error's sentence."""
        return f"Cannot {self.verb} {self.subject}"


class ByteStream:
    """The body of a streamed answer."""

    def __init__(self, response: aiohttp.ClientResponse, request: Request, host: str) -> None:
        self._response = response
        self._request = request
        self._host = host

    async def receive(self) -> bytes:
        """Return the next bytes, none at the end. UnavailableError when the connection breaks or is silent too long."""
        with translated(self._request, self._host):
            return await self._response.content.readany()


class Transport:
    """The HTTP sessions of one connection. Made inside a running event loop; `aclose` ends everything."""

    def __init__(self, connection: Connection, *, user_agent: str, observe: Observer | None = None) -> None:
        self.connection = connection
        self._user_agent = user_agent
        self._observe = observe
        self._sockets = Sockets()
        self._calls = self._session(CALL_CONNECTIONS)
        self._streams = self._session(0)
        self._retired: aiohttp.ClientSession | None = None
        self._generation = connection.credentials.generation
        self._handshakes = anyio.Semaphore(HANDSHAKES)

    async def call(self, request: Request) -> Manifest:
        """Send a request and return the object that it answers with. Raises KubeError."""
        timeout = aiohttp.ClientTimeout(total=request.timeout, sock_connect=CONNECT_TIMEOUT)
        response = await self._attempt(request, lambda headers: self._send(self._calls, request, headers, timeout))
        async with response:
            with translated(request, self.connection.host):
                body = await response.read()
        return parse_object(body, request, response.status)

    @asynccontextmanager
    async def stream(self, request: Request, *, idle_timeout: float) -> AsyncIterator[ByteStream]:
        """Send a request and read its answer as it comes; silence longer than `idle_timeout` ends it."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT, sock_read=idle_timeout)
        response = await self._attempt(request, lambda headers: self._send(self._streams, request, headers, timeout))
        try:
            yield ByteStream(response, request, self.connection.host)
        finally:
            response.close()

    @asynccontextmanager
    async def forward(
        self,
        request: Request,
        *,
        headers: Sequence[tuple[str, str]],
        body: AsyncIterable[bytes] | None,
        idle_timeout: float,
    ) -> AsyncIterator[tuple[aiohttp.ClientResponse, ByteStream]]:
        """Pass another's request on, with our credentials and nothing else of ours; every status is an answer.

        Sent once, whatever happens to it. `request.path` has its query already.
        """
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT, sock_read=idle_timeout)
        started = time.monotonic()
        own = await self.connection.credentials.headers()
        with translated(request, self.connection.host):
            response = await self._streams.request(
                request.method,
                self._url(request),
                data=body,
                headers=[*headers, *own.items()],
                timeout=timeout,
                allow_redirects=False,
                auto_decompress=False,
                raise_for_status=False,
                skip_auto_headers=_ADDED,
                **self._route(),
            )
        self._count(request, response.status, started)
        try:
            yield response, ByteStream(response, request, self.connection.host)
        finally:
            response.close()

    async def forward_socket(
        self, request: Request, *, headers: Sequence[tuple[str, str]], protocols: Sequence[str]
    ) -> aiohttp.ClientWebSocketResponse:
        """Pass another's upgrade to a WebSocket on; the caller closes it."""

        async def upgrade(own: Mapping[str, str]) -> aiohttp.ClientWebSocketResponse:
            everything = [*headers, *own.items()]
            return await self._streams.ws_connect(
                self._url(request), protocols=protocols, headers=everything, max_msg_size=MESSAGE_BYTES, **self._route()
            )

        with translated(request, self.connection.host), anyio.fail_after(request.timeout):
            return await self._attempt(request, upgrade)

    async def open_socket(self, request: Request) -> aiohttp.ClientWebSocketResponse:
        """Upgrade to a WebSocket that speaks one of the channel protocols; the caller closes it.

        At most `HANDSHAKES` at a time; the request's timeout covers the wait for a turn. A refusal keeps the server's
        Status.
        """
        with translated(request, self.connection.host), anyio.fail_after(request.timeout):
            async with self._handshakes:
                return await self._attempt(request, lambda headers: self._upgrade(request, headers))

    async def aclose(self) -> None:
        """Close every connection, also when cancelled: streams that are open end with an error of ours."""
        with anyio.move_on_after(_CLOSE_TIMEOUT, shield=True):
            for session in (self._calls, self._streams, self._retired):
                if session is not None:
                    await session.close()
        # A session no longer knows the connections that it has let go of, and some of them linger.
        with anyio.move_on_after(_CLOSE_TIMEOUT, shield=True):
            await self._sockets.aclose()

    def _session(self, limit: int) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(
            limit=limit, ssl=self.connection.tls or True, socket_factory=self._sockets.make, keepalive_timeout=30.0
        )
        return aiohttp.ClientSession(
            connector=connector,
            raise_for_status=refuse,
            # A load balancer's cookie would tie us to one API server of several.
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": self._user_agent},
        )

    async def _attempt(self, request: Request, send: Callable[[Mapping[str, str]], Awaitable[_Answer]]) -> _Answer:
        """Send with credentials, and once more with renewed ones when they are refused; count both."""
        for last in (False, True):
            headers = await self.connection.credentials.headers()
            started = time.monotonic()
            try:
                with translated(request, self.connection.host):
                    answer = await send(headers)
            except RefusedError as refused:
                self._count(request, refused.status, started)
                if last or refused.status != HTTPStatus.UNAUTHORIZED or not await self._renew(headers):
                    raise refused.error(request) from None
            except KubeError as error:
                self._count(request, error.status, started)
                raise
            else:
                status = answer.status if isinstance(answer, aiohttp.ClientResponse) else HTTPStatus.SWITCHING_PROTOCOLS
                self._count(request, status, started)
                return answer
        raise AssertionError("the last refusal is raised")

    async def _send(
        self,
        session: aiohttp.ClientSession,
        request: Request,
        headers: Mapping[str, str],
        timeout: aiohttp.ClientTimeout,
    ) -> aiohttp.ClientResponse:
        if request.body is not None:
            headers = {**headers, "Content-Type": request.content_type}
        return await session.request(
            request.method,
            self._url(request),
            data=request.body,
            headers=headers,
            timeout=timeout,
            allow_redirects=False,
            **self._route(),
        )

    async def _upgrade(self, request: Request, headers: Mapping[str, str]) -> aiohttp.ClientWebSocketResponse:
        return await self._streams.ws_connect(
            self._url(request),
            protocols=PROTOCOLS,
            headers=headers,
            max_msg_size=MESSAGE_BYTES,
            # aiohttp's heartbeat takes a slow consumer for a dead peer and throws away what was buffered.
            heartbeat=None,
            autoping=False,
            # Answering a close while a frame is awaited could be cancelled, and the close code with it.
            autoclose=False,
            timeout=aiohttp.ClientWSTimeout(ws_receive=None, ws_close=_CLOSE_TIMEOUT),
            **self._route(),
        )

    async def _renew(self, refused: Mapping[str, str]) -> bool:
        credentials = self.connection.credentials
        if not await credentials.renew(refused):
            return False
        if credentials.generation == self._generation:
            return True
        self._generation = credentials.generation
        # A client certificate is judged on each request but shown once per connection, so connections made with the
        # old one are of no use. Calls under way keep theirs until the next renewal.
        retired, self._retired = self._retired, self._calls
        self._calls = self._session(CALL_CONNECTIONS)
        if retired is not None:
            await retired.close()
        return True

    def _url(self, request: Request) -> URL:
        query = f"?{urlencode(request.query)}" if request.query else ""
        try:
            # The path is quoted already; a second round would spoil it.
            return URL(f"{self.connection.host}{request.path}{query}", encoded=True)
        except ValueError as error:
            raise bad_address(request, self.connection.host) from error

    def _route(self) -> _Route:
        way = self.connection
        return _Route(
            proxy=way.proxy, proxy_headers=dict(way.proxy_headers) or None, server_hostname=way.server_hostname
        )

    def _count(self, request: Request, status: int, started: float) -> None:
        if self._observe is not None:
            self._observe(request.verb, request.resource, status, time.monotonic() - started)


class _Route(TypedDict):
    proxy: str | None
    proxy_headers: dict[str, str] | None
    server_hostname: str | None
