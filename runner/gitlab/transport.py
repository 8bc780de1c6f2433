"""HTTP clients to GitLab: one per URL and set of TLS files, shared by all runners that have them in common.

Law: the one place that opens connections, and the one place where errors of httpx, aiohttp and TLS become ours. Nothing
here repeats a request or knows what it is about.
"""

from __future__ import annotations

import http.cookiejar
import os
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from time import monotonic

import aiohttp
import anyio
import httpx
import structlog
from httpx_aiohttp import AiohttpTransport

from runner.config.proxies import proxy_for, split_proxy
from runner.gitlab.errors import (
    CoordinatorConfigurationError,
    CoordinatorError,
    CoordinatorProtocolError,
    CoordinatorUnavailableError,
)
from runner.gitlab.tls import TlsFiles, TlsSetup

log = structlog.get_logger()

_CONNECTIONS_MAX = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """Bounds in seconds, GitLab Runner's where it has one."""

    connect_timeout: float = 30.0
    """For TCP and TLS together."""
    answer_timeout: float = 600.0
    """Until the answer to a request for a job begins: GitLab may hold it, 50 s unless its operator says otherwise."""
    update_timeout: float = 120.0
    """The same for requests about a running job, which nobody holds: GitLab itself gives up after 60 s.

    GitLab Runner waits ten minutes here too; a log must not stand still for so long.
    """
    request_timeout: float = 3600.0
    """For a whole request."""
    idle_timeout: float = 60.0
    """How long an idle connection is kept; shorter than the 75 s of common proxies, so ours is the side that closes."""
    connection_max_age: float = 900.0
    """After this age a client is replaced, so that moved servers are seen; 0 or less: never."""


class ClientPool:
    """All clients of the process. Coordinators of one GitLab with the same TLS files share one."""

    def __init__(
        self,
        timeouts: Timeouts | None = None,
        *,
        clock: Callable[[], float] = monotonic,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self._timeouts = timeouts or Timeouts()
        self._clock = clock
        self._environ = environ
        self._clients: dict[tuple[str, TlsFiles], SharedClient] = {}

    @property
    def timeouts(self) -> Timeouts:
        """The bounds of every client."""
        return self._timeouts

    def client(self, url: str, files: TlsFiles) -> SharedClient:
        """Return the client of `url` (without path) and `files`; nothing is opened yet."""
        key = (url, files)
        if key not in self._clients:
            self._clients[key] = SharedClient(url, files, self._timeouts, clock=self._clock, environ=self._environ)
        return self._clients[key]

    def set_connection_max_age(self, seconds: float) -> None:
        """Replace the clients from this age on; those that are older already at their next use. 0 or less: never."""
        self._timeouts = replace(self._timeouts, connection_max_age=seconds)
        for client in self._clients.values():
            client.connection_max_age = seconds

    async def aclose(self) -> None:
        """Close every connection; requests under way end with an error."""
        for client in self._clients.values():
            await client.aclose()
        self._clients.clear()


@dataclass(slots=True)
class _Generation:
    """One httpx client and its TLS, until files change or it is too old."""

    http: httpx.AsyncClient
    tls: TlsSetup
    proxy: str
    """The proxy's address without its password, empty when there is none."""
    fingerprint: tuple[object, ...]
    opened_at: float
    users: int = 0


class SharedClient:
    """The client of one GitLab: made at first use, anew after `connection_max_age` or a change of the TLS files."""

    def __init__(
        self,
        url: str,
        files: TlsFiles,
        timeouts: Timeouts,
        *,
        clock: Callable[[], float],
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self._url = url
        self._files = files
        self._timeouts = timeouts
        self.connection_max_age = timeouts.connection_max_age
        """Seconds; 0 or less: never."""
        self._clock = clock
        self._environ = environ
        self._current: _Generation | None = None
        self._retired: list[_Generation] = []
        self._turn = anyio.Lock()

    @property
    def tls(self) -> TlsSetup | None:
        """What is known about TLS, None before the first use."""
        return self._current.tls if self._current else None

    @asynccontextmanager
    async def use(self) -> AsyncIterator[httpx.AsyncClient]:
        """Lend the client for one request; errors that come out of the block are ours.

        One request begins in each pass of the event loop. A thousand logs that fall due at one moment would hold the
        loop for a second, and fall due together again ever after; so they spread, however many are under way.

        Raises CoordinatorConfigurationError when no client can be made, CoordinatorUnavailableError when GitLab was not
        reached, CoordinatorProtocolError when what came back is not HTTP.
        """
        if not self._url.startswith(("http://", "https://")):
            raise CoordinatorConfigurationError(
                f"The url {self._url} of this runner does not begin with http:// or https://."
            )
        async with self._turn:  # handed on in the next pass
            pass
        generation = self._renewed()
        await self._close_retired()
        generation.users += 1
        try:
            with translated(self._url, generation.tls, proxy=generation.proxy):
                yield generation.http
        finally:
            generation.users -= 1

    async def aclose(self) -> None:
        """Close all connections."""
        generations = [*self._retired, *([self._current] if self._current else [])]
        self._retired, self._current = [], None
        for generation in generations:
            await generation.http.aclose()

    def _renewed(self) -> _Generation:
        now, current = self._clock(), self._current
        files = self._files.found(httpx.URL(self._url).host) if self._url.startswith("https:") else TlsFiles()
        fingerprint = files.fingerprint()
        if current and current.fingerprint == fingerprint and not self._too_old(current, now):
            return current
        tls = self._setup(files, current.tls if current else None)
        made, proxy = open_client(self._url, tls, self._timeouts, self._environ)
        if current:
            self._retired.append(current)
        self._current = _Generation(made, tls, proxy, fingerprint, now)
        return self._current

    def _setup(self, files: TlsFiles, known: TlsSetup | None) -> TlsSetup:
        """Read the files; what cannot be used takes nothing away from what was read before.

        A certificate is often copied before its key: for a moment they do not match. The next change is another try.
        """
        try:
            tls = TlsSetup(files, origin=self._url)
            finding = tls.finding
        except CoordinatorConfigurationError as error:
            if known is None:
                raise
            tls, finding = known, str(error)
        if finding and known is not None and not known.finding:
            log.error("changed TLS files are not taken, what was read before stays in use", reason=finding)
            return known
        if finding:
            log.warning("TLS files cannot be used", reason=finding)
        return tls

    def _too_old(self, generation: _Generation, now: float) -> bool:
        return 0 < self.connection_max_age <= now - generation.opened_at

    async def _close_retired(self) -> None:
        idle = [generation for generation in self._retired if not generation.users]
        self._retired = [generation for generation in self._retired if generation.users]
        for generation in idle:
            await generation.http.aclose()


def open_client(
    url: str, tls: TlsSetup, timeouts: Timeouts, environ: Mapping[str, str] = os.environ
) -> tuple[httpx.AsyncClient, str]:
    """Make a client of one GitLab: no cookies, no redirects, TCP keep-alive, the environment's proxy.

    Returns it with the proxy's address, which has no password any more. Raises CoordinatorConfigurationError for a
    proxy that cannot be used.
    """

    def session() -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(
            ssl=tls.context,
            limit=_CONNECTIONS_MAX,
            keepalive_timeout=timeouts.idle_timeout,
            socket_factory=_keepalive_socket,
        )
        return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())

    named = proxy_for(url, environ)
    try:
        proxy, password = split_proxy(named) if named else ("", {})
    except ValueError as error:
        raise CoordinatorConfigurationError(f"The proxy for GitLab at {url} cannot be used: {error}.") from None
    client = httpx.AsyncClient(
        transport=_Transport(
            verify=tls.context, client=session, proxy=httpx.Proxy(proxy, headers=password) if proxy else None
        ),
        timeout=httpx.Timeout(timeouts.answer_timeout, connect=timeouts.connect_timeout, pool=timeouts.answer_timeout),
        follow_redirects=False,
        cookies=_NoCookies(),
    )
    return client, proxy


class _Transport(AiohttpTransport):
    """Shows the proxy its password: with the CONNECT for TLS, as a header of the request for plain http."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request."""
        if self.proxy and request.url.scheme == "http":
            request.headers.update(self.proxy.headers)
        return await super().handle_async_request(request)


class _NoCookies(http.cookiejar.CookieJar):
    """Keeps none: a balancer's cookie would tie all runners of the process to one server.

    Nor looks for any, which would take a good part of a small request's time.
    """

    def extract_cookies(self, response: object, request: object) -> None:
        """Leave the answer's cookies where they are."""

    def add_cookie_header(self, request: object) -> None:
        """Add none."""


@contextmanager
def translated(url: str, tls: TlsSetup, *, proxy: str = "") -> Iterator[None]:
    """Turn errors of httpx, aiohttp, TLS and sockets into ours; `url` and `proxy` hold no credentials."""
    try:
        yield
    except CoordinatorError:
        raise
    except (httpx.HTTPError, httpx.InvalidURL, aiohttp.ClientError, OSError) as error:
        raise _trouble(error, url, tls, proxy) from error


def _trouble(error: Exception, url: str, tls: TlsSetup, proxy: str) -> CoordinatorError:
    causes = list(_causes(error))
    if proxy and (found := _proxy_trouble(causes, url, proxy)):
        return CoordinatorUnavailableError(found, sent=False)
    if isinstance(error, (httpx.UnsupportedProtocol, httpx.InvalidURL)):
        return CoordinatorConfigurationError(f"The url {url} of this runner is not the address of a GitLab.")
    return _unsent(causes, url, tls) or _sent(error, causes, url)


def _unsent(causes: list[BaseException], url: str, tls: TlsSetup) -> CoordinatorError | None:
    """The error of a request that never left; None when it may have."""
    for cause in causes:
        # aiohttp's own errors are TLS errors too, but know nothing; the one with the facts lies behind them.
        if isinstance(cause, ssl.SSLError) and not isinstance(cause, aiohttp.ClientError):
            return CoordinatorUnavailableError(tls.explain(cause), sent=False)
    # The type of httpx's error does not tell: over aiohttp a server that closed the connection after reading the whole
    # request is a ConnectTimeout. Only aiohttp's own says that the request never left.
    if any(isinstance(cause, aiohttp.ClientConnectorError) for cause in causes):
        return CoordinatorUnavailableError(f"GitLab at {url} was not reached: {_reason(causes)}.", sent=False)
    return None


def _sent(error: Exception, causes: list[BaseException], url: str) -> CoordinatorError:
    if isinstance(error, httpx.DecodingError) or any(
        isinstance(cause, aiohttp.ClientResponseError) for cause in causes
    ):
        return CoordinatorProtocolError(f"What answers at {url} does not speak HTTP as GitLab does: {_reason(causes)}.")
    if any(isinstance(cause, TimeoutError) for cause in causes) or isinstance(error, httpx.ReadTimeout):
        return CoordinatorUnavailableError(f"GitLab at {url} did not answer in time.")
    return CoordinatorUnavailableError(f"The connection to GitLab at {url} was lost: {_reason(causes)}.")


def _proxy_trouble(causes: list[BaseException], url: str, proxy: str) -> str:
    """Say what the proxy did; empty when it was not the proxy."""
    for cause in causes:
        if isinstance(cause, aiohttp.ClientHttpProxyError):
            advice = ". Write its user and password into the proxy's URL" if cause.status == 407 else ""
            return f"The proxy {proxy} does not lead to GitLab at {url}: {cause.status} {cause.message}{advice}."
        if isinstance(cause, aiohttp.ClientProxyConnectionError):
            return f"The proxy {proxy}, which leads to GitLab at {url}, was not reached: {_reason(causes)}."
    return ""


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield the error and what lies behind it, aiohttp's wrapped operating system errors included."""
    seen: set[int] = set()
    pending: list[BaseException | None] = [error]
    while pending:
        cause = pending.pop(0)
        if cause is None or id(cause) in seen:
            continue
        seen.add(id(cause))
        yield cause
        wrapped = getattr(cause, "certificate_error", None) or getattr(cause, "os_error", None)
        pending += [cause.__cause__, wrapped if isinstance(wrapped, BaseException) else None]


def _reason(causes: list[BaseException]) -> str:
    """Return the operating system's word for it where there is one, else the kind of error."""
    for cause in reversed(causes):
        if isinstance(cause, socket.gaierror):
            return str(cause.strerror).lower()
        if isinstance(cause, OSError) and cause.errno and cause.errno > 0:
            return os.strerror(cause.errno).lower()
    return type(causes[-1]).__name__


def _keepalive_socket(
    address: tuple[socket.AddressFamily | int, socket.SocketKind | int, int, str, tuple[object, ...]],
) -> socket.socket:
    """Make a socket that notices within two minutes when the other side has gone: a long poll has no other way."""
    made = socket.socket(family=address[0], type=address[1], proto=address[2])
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 30), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, name):  # not everywhere
            made.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    return made
