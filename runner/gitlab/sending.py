"""One request to GitLab: sent, followed through redirects, its answer read whole.

Law: what may be sent twice is the caller's to know; here only `repeated` repeats. Tokens leave for no other host.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from uuid import uuid4

import anyio
import httpx

from runner.gitlab.backoff import is_retriable, jittered, server_delay
from runner.gitlab.errors import CoordinatorConfigurationError, CoordinatorError, CoordinatorProtocolError
from runner.gitlab.features import ClientInfo
from runner.gitlab.tls import TlsFiles, TlsSetup
from runner.gitlab.transport import ClientPool
from runner.trace.answers import CLIENT_FAILED, NETWORK_FAILED

Observe = Callable[[str, str, int, float], None]
"""Called after each request with method, route (`jobs/:id/trace`), status (negative: no answer) and seconds."""

JSON = "application/json"

_REPLY_BYTES_MAX = 1 << 20
_REDIRECTS_MAX = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request, ready to be sent, and what bounds it."""

    method: str
    path: str
    route: str
    headers: Mapping[str, str]
    content: bytes
    answer_timeout: float
    reply_bytes: int = _REPLY_BYTES_MAX
    on_answer: Callable[[], None] = lambda: None
    """Called when the head of the answer is there."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What GitLab answered, whole."""

    status: int
    headers: httpx.Headers
    body: bytes
    correlation_id: str = ""
    """By which GitLab's own logs know the request: its word, else ours."""


class Sender:
    """Sends requests to the GitLab at `url`, which may end with the `/ci` of former times."""

    def __init__(
        self,
        url: str,
        *,
        info: ClientInfo,
        pool: ClientPool,
        tls: TlsFiles | None = None,
        observe: Observe | None = None,
        fraction: Callable[[], float] = random.random,
    ) -> None:
        try:
            parsed = httpx.URL(url.rstrip("/").removesuffix("/ci").rstrip("/"))
        except httpx.InvalidURL as error:
            raise CoordinatorConfigurationError(f"The url of this runner is no address of a GitLab: {error}.") from None
        # Credentials in the URL would reach every error's text; GitLab reads tokens only.
        self.base = str(parsed.copy_with(userinfo=b"", query=None, fragment=None)).rstrip("/")
        """The address of GitLab, without `/ci`, credentials and a slash at the end."""
        self._info = info
        self._timeouts = pool.timeouts
        self._client = pool.client(self.base, tls or TlsFiles())
        self._observe = observe or (lambda method, route, status, seconds: None)
        self._fraction = fraction

    @property
    def tls(self) -> TlsSetup | None:
        """What is known about TLS, None before the first request."""
        return self._client.tls

    async def repeated(self, call: Call, attempts: int) -> Reply:
        """Exchange; while GitLab is unavailable wait and repeat. Only for calls that may have their effect twice."""
        for attempt in range(1, attempts + 1):
            try:
                answer = await self.exchange(call)
            except CoordinatorError as error:
                if attempt == attempts or isinstance(error, (CoordinatorConfigurationError, CoordinatorProtocolError)):
                    raise
                delay = None
            else:
                if attempt == attempts or not is_retriable(answer.status):
                    return answer
                delay = server_delay(answer.headers, time.time())
            await anyio.sleep(jittered(attempt, self._fraction()) if delay is None else delay)
        raise AssertionError("attempts is at least 1")

    async def exchange(self, call: Call) -> Reply:
        """Send one request and read its answer. Raises CoordinatorError."""
        started, status = time.monotonic(), NETWORK_FAILED
        try:
            async with self._client.use() as client:
                with anyio.fail_after(self._timeouts.request_timeout):
                    answer = await self._sent(client, call)
            status = answer.status
        except CoordinatorError as error:
            status = failed_status(error)
            raise
        else:
            return answer
        finally:
            self._observe(call.method, call.route, status, time.monotonic() - started)

    async def _sent(self, client: httpx.AsyncClient, call: Call) -> Reply:
        """Send, following redirects that stay on the host and keep the method."""
        url = httpx.URL(f"{self.base}/api/v4/{call.path}")
        for _ in range(_REDIRECTS_MAX):
            answer = await self._sent_once(client, call, url)
            if answer.status not in {307, 308} or not answer.headers.get("Location"):
                return answer
            target = url.join(answer.headers["Location"])
            if not _may_follow(url, target):
                return answer
            url = target
        raise CoordinatorProtocolError(f"GitLab at {self.base} redirects in a circle: correct `url`.")

    async def _sent_once(self, client: httpx.AsyncClient, call: Call, url: httpx.URL) -> Reply:
        headers = {"User-Agent": self._info.user_agent, "X-Request-Id": uuid4().hex, **call.headers}
        timeouts = self._timeouts
        timeout = httpx.Timeout(call.answer_timeout, connect=timeouts.connect_timeout)
        async with client.stream(call.method, url, headers=headers, content=call.content, timeout=timeout) as response:
            call.on_answer()
            body = bytearray()
            async for part in response.aiter_bytes():
                body += part
                if len(body) > call.reply_bytes:
                    raise CoordinatorProtocolError(
                        f"GitLab answered {call.method} {call.route} with more than {call.reply_bytes} bytes.",
                        status=response.status_code,
                    )
        # httpx knots a response and its stream together, and the request's body hangs on them: a mebibyte of log would
        # wait for the collector of garbage.
        response.stream = httpx.ByteStream(b"")
        known = response.headers.get("X-Request-Id") or headers["X-Request-Id"]
        return Reply(response.status_code, response.headers, bytes(body), known)


def failed_status(error: CoordinatorError) -> int:
    """The negative status that stands for a request without an answer."""
    return CLIENT_FAILED if isinstance(error, CoordinatorConfigurationError) else NETWORK_FAILED


def _may_follow(url: httpx.URL, target: httpx.URL) -> bool:
    """Tell whether our tokens may go to `target`: the same server, or the same host over https."""
    if (url.scheme, url.host, url.port) == (target.scheme, target.host, target.port):
        return True
    return url.host == target.host and target.scheme == "https" and url.scheme == "http" and target.port is None
