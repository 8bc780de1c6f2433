"""HTTP clients to GitLab: one per URL and set of TLS files, shared by all runners that have them in common.

Law: the one place that opens connections, and the one place where errors of httpx, aiohttp and TLS become ours. Nothing
here repeats a request or knows what it is about.
"""

from __future__ import annotations

import http.cookiejar
import ipaddress
import os
import socket
import ssl
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from time import monotonic

import aiohttp
import anyio
import httpx
from httpx_aiohttp import AiohttpTransport

from runner.gitlab.errors import (
    CoordinatorConfigurationError,
    CoordinatorError,
    CoordinatorProtocolError,
    CoordinatorUnavailableError,
)
from runner.gitlab.tls import TlsFiles, TlsSetup

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

    def __init__(self, timeouts: Timeouts | None = None, *, clock: Callable[[], float] = monotonic) -> None:
        self._timeouts = timeouts or Timeouts()
        self._clock = clock
        self._clients: dict[tuple[str, TlsFiles], SharedClient] = {}

    @property
    def timeouts(self) -> Timeouts:
        """The bounds of every client."""
        return self._timeouts

    def client(self, url: str, files: TlsFiles) -> SharedClient:
        """Return the client of `url` (without path) and `files`; nothing is opened yet."""
        key = (url, files)
        if key not in self._clients:
            self._clients[key] = SharedClient(url, files, self._timeouts, clock=self._clock)
        return self._clients[key]

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
    fingerprint: tuple[int, ...]
    opened_at: float
    users: int = 0


class SharedClient:
    """The client of one GitLab: made at first use, anew after `connection_max_age` or a change of the TLS files."""

    def __init__(self, url: str, files: TlsFiles, timeouts: Timeouts, *, clock: Callable[[], float]) -> None:
        self._url = url
        self._files = files
        self._timeouts = timeouts
        self._clock = clock
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
            with translated(self._url, generation.tls):
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
        now, fingerprint = self._clock(), self._files.fingerprint()
        current = self._current
        if current and current.fingerprint == fingerprint and not self._too_old(current, now):
            return current
        # First what may fail: with broken files the old client stays in use.
        tls = TlsSetup(self._files, https=self._url.startswith("https:"))
        if current:
            self._retired.append(current)
        self._current = _Generation(open_client(self._url, tls, self._timeouts), tls, fingerprint, now)
        return self._current

    def _too_old(self, generation: _Generation, now: float) -> bool:
        return 0 < self._timeouts.connection_max_age <= now - generation.opened_at

    async def _close_retired(self) -> None:
        idle = [generation for generation in self._retired if not generation.users]
        self._retired = [generation for generation in self._retired if generation.users]
        for generation in idle:
            await generation.http.aclose()


def open_client(url: str, tls: TlsSetup, timeouts: Timeouts) -> httpx.AsyncClient:
    """Make a client of one GitLab: no cookies, no redirects, TCP keep-alive, the environment's proxy."""

    def session() -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(
            ssl=tls.context,
            limit=_CONNECTIONS_MAX,
            keepalive_timeout=timeouts.idle_timeout,
            socket_factory=_keepalive_socket,
        )
        return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())

    proxy = proxy_for(url)
    return httpx.AsyncClient(
        transport=AiohttpTransport(verify=tls.context, client=session, proxy=httpx.Proxy(proxy) if proxy else None),
        timeout=httpx.Timeout(timeouts.answer_timeout, connect=timeouts.connect_timeout, pool=timeouts.answer_timeout),
        follow_redirects=False,
        cookies=_NoCookies(),
    )


class _NoCookies(http.cookiejar.CookieJar):
    """Keeps none: a balancer's cookie would tie all runners of the process to one server.

    Nor looks for any, which would take a good part of a small request's time.
    """

    def extract_cookies(self, response: object, request: object) -> None:
        """Leave the answer's cookies where they are."""

    def add_cookie_header(self, request: object) -> None:
        """Add none."""


def proxy_for(url: str) -> str | None:
    """Return the proxy that HTTP_PROXY, HTTPS_PROXY and NO_PROXY, in either case, name for `url`, or None.

    NO_PROXY knows host names with their subdomains, and unlike Python's own reading also address ranges such as
    10.0.0.0/8.
    """
    parsed = httpx.URL(url)
    proxy = urllib.request.getproxies().get(parsed.scheme)
    if not proxy or urllib.request.proxy_bypass(parsed.netloc.decode("ascii")) or _in_no_proxy_range(parsed.host):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


@contextmanager
def translated(url: str, tls: TlsSetup) -> Iterator[None]:
    """Turn errors of httpx, aiohttp, TLS and sockets into ours; `url` holds no credentials."""
    try:
        yield
    except CoordinatorError:
        raise
    except (httpx.HTTPError, httpx.InvalidURL, aiohttp.ClientError, OSError) as error:
        raise _trouble(error, url, tls) from error


def _trouble(error: Exception, url: str, tls: TlsSetup) -> CoordinatorError:
    causes = list(_causes(error))
    for cause in causes:
        # aiohttp's own errors are TLS errors too, but know nothing; the one with the facts lies behind them.
        if isinstance(cause, ssl.SSLError) and not isinstance(cause, aiohttp.ClientError):
            return CoordinatorUnavailableError(tls.explain(cause, url), sent=False)
    if isinstance(error, (httpx.UnsupportedProtocol, httpx.InvalidURL)):
        return CoordinatorConfigurationError(f"The url {url} of this runner is not the address of a GitLab.")
    # The type of httpx's error does not tell: over aiohttp a server that closed the connection after reading the whole
    # request is a ConnectTimeout. Only aiohttp's own says that the request never left.
    if any(isinstance(cause, aiohttp.ClientConnectorError) for cause in causes):
        return CoordinatorUnavailableError(f"GitLab at {url} was not reached: {_reason(causes)}.", sent=False)
    if isinstance(error, httpx.DecodingError) or any(
        isinstance(cause, aiohttp.ClientResponseError) for cause in causes
    ):
        return CoordinatorProtocolError(f"What answers at {url} does not speak HTTP as GitLab does: {_reason(causes)}.")
    if any(isinstance(cause, TimeoutError) for cause in causes) or isinstance(error, httpx.ReadTimeout):
        return CoordinatorUnavailableError(f"GitLab at {url} did not answer in time.")
    return CoordinatorUnavailableError(f"The connection to GitLab at {url} was lost: {_reason(causes)}.")


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


def _in_no_proxy_range(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    for entry in (os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or "").split(","):
        try:
            if "/" in entry and address in ipaddress.ip_network(entry.strip(), strict=False):
                return True
        except ValueError:
            continue
    return False


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
