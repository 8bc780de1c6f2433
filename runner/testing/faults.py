"""Faults on demand: what an embedded server does wrong, by route, and a record of all it was asked.

Law: a fault is an action on one request, and nothing here knows GitLab or Kubernetes. Time never decides: a slow answer
is a `Hold` that the test releases, a lost one is a cut at a named place. `Faults.middleware` is the only door into an
aiohttp application.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, cast

import anyio
from aiohttp import web
from aiohttp.typedefs import Middleware

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
"""The rest of the application, as a middleware sees it."""

ANY = "*"
"""The method of a rule that catches every method."""

_HTML = b"<!DOCTYPE html><html><body><h1>502 Bad Gateway</h1></body></html>"


class Action(Protocol):
    """What happens to a request that a rule has caught; any coroutine function of this shape will do."""

    async def __call__(self, request: web.Request, handler: Handler, /) -> web.StreamResponse:
        """Answer the request: call `handler` for the true effect, or do not."""
        ...


@dataclass(frozen=True, slots=True)
class Reply:
    """Answer with this status, these headers and this body; the request has no effect."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    async def __call__(self, request: web.Request, handler: Handler, /) -> web.StreamResponse:
        """Read the request's body, so that the connection stays usable, and answer."""
        await request.read()
        return web.Response(status=self.status, headers=self.headers, body=self.body)


@dataclass(frozen=True, slots=True)
class Garbage:
    """Let the request have its effect, then answer with a body that nobody can use.

    The true status is kept unless another is given: a job handed out in a broken 201 is lost, as it is behind a broken
    proxy.
    """

    body: bytes = _HTML
    content_type: str = "text/html"
    status: int | None = None

    async def __call__(self, request: web.Request, handler: Handler, /) -> web.StreamResponse:
        """Run the handler and replace its body."""
        answer = await handler(request)
        return web.Response(status=self.status or answer.status, body=self.body, content_type=self.content_type)


@dataclass(frozen=True, slots=True)
class DropRequest:
    """Close the connection before the request's body is read: no effect, and the client cannot know that."""

    async def __call__(self, request: web.Request, handler: Handler, /) -> web.StreamResponse:
        """Close the connection."""
        return drop_connection(request)


@dataclass(frozen=True, slots=True)
class CommitThenDrop:
    """Let the request have its effect, then close the connection without a byte of an answer.

    For handlers that return a whole response. One that streams writes as it goes: cut it with `CutResponse`.
    """

    async def __call__(self, request: web.Request, handler: Handler, /) -> web.StreamResponse:
        """Run the handler, throw its answer away, and close the connection."""
        await handler(request)
        return drop_connection(request)


@dataclass(frozen=True, slots=True)
class CutResponse:
    """Let the request have its effect, then cut the response this many bytes behind its headers.

    Framing counts: chunk sizes of a stream, frame headers of a WebSocket. So this cuts watches and attach streams too.
    """

    after_bytes: int = 0

    async def __call__(self, request: web.Request, handler: Handler, /) -> web.StreamResponse:
        """Put a counting transport under the response and run the handler."""
        protocol = request.protocol
        if protocol.transport is not None:
            # aiohttp's writers ask the protocol for its transport, HTTP and WebSocket alike, and call only write,
            # writelines, is_closing, close, get_extra_info: the cast hides that the rest is delegated by name.
            protocol.transport = cast(asyncio.Transport, _CuttingTransport(protocol.transport, self.after_bytes))
        return await handler(request)


class Hold:
    """Hold a request until the test lets it go: the slow server without a clock.

    Before the effect by default; with `after_effect=True` the effect happens at once and only the answer is late. One
    Hold may catch many requests; `release` lets all of them go, and every later one passes.
    """

    def __init__(self, *, after_effect: bool = False) -> None:
        self._after_effect = after_effect
        self._reached = anyio.Event()
        self._released = anyio.Event()

    async def __call__(self, request: web.Request, handler: Handler, /) -> web.StreamResponse:
        """Wait for `release` before or after the handler."""
        if self._after_effect:
            answer = await handler(request)
            await self._wait()
            return answer
        await request.read()
        await self._wait()
        return await handler(request)

    async def reached(self, *, timeout: float = 10.0) -> None:
        """Wait until a request is being held."""
        with anyio.fail_after(timeout):
            await self._reached.wait()

    def release(self) -> None:
        """Let every held request go on."""
        self._released.set()

    async def _wait(self) -> None:
        self._reached.set()
        # Not bounded here: `Faults.clear`, the client's leaving and the server's end all end it.
        await self._released.wait()


@dataclass(frozen=True, slots=True)
class FaultRule:
    """Do `action` to the next `times` requests that match, after letting `skip` of them pass.

    `path` is a regular expression searched in the path, and in the path with its query, so both `/trace$` and
    `watch=true` say what they mean. `times=None` is for ever.
    """

    method: str
    path: str
    action: Action
    times: int | None = 1
    skip: int = 0

    def matches(self, request: web.Request) -> bool:
        """Tell whether this request is one that the rule is about."""
        return _matches(self.method, self.path, request.method, request.raw_path)


@dataclass(slots=True)
class RecordedRequest:
    """One request as the server saw it; the last fields are filled when it has been answered."""

    method: str
    path: str
    """Without the query."""
    query: Mapping[str, str]
    headers: Mapping[str, str]
    """Names in any case, as aiohttp hands them out."""
    body: bytes
    """Empty when it was longer than `keep_body_bytes` or of unknown length."""
    started_at: float
    """Monotonic seconds."""
    peer: str
    """`host:port` of the client: equal for two requests of one connection."""
    fault: Action | None = None
    status: int | None = None
    """None while unanswered, and when the connection was cut."""
    ended_at: float | None = None


class Faults:
    """The rules in force and the requests seen.

    Bodies of a known length up to `keep_body_bytes` are read before the handler runs: so a handler reads with
    `read`, `text` or `json`, never from `content`.

    The first rule that matches and still has a turn acts; a request without one passes. The record is a ring of
    `keep_requests`.
    """

    def __init__(self, *, keep_requests: int = 100_000, keep_body_bytes: int = 64 * 1024) -> None:
        self.requests: deque[RecordedRequest] = deque(maxlen=keep_requests)
        self._keep_body_bytes = keep_body_bytes
        self._rules: list[_Turns] = []
        self._changed = anyio.Event()

    def add(self, *rules: FaultRule) -> None:
        """Put rules in force, behind those that are."""
        self._rules.extend(_Turns(rule, rule.skip, rule.times) for rule in rules)

    def clear(self) -> None:
        """Forget all rules and let every held request go."""
        for turns in self._rules:
            if isinstance(turns.rule.action, Hold):
                turns.rule.action.release()
        self._rules.clear()

    def seen(self, method: str, path: str) -> tuple[RecordedRequest, ...]:
        """Return the recorded requests of this method (or `ANY`) and this path expression, oldest first."""
        return tuple(entry for entry in self.requests if _matches(method, path, entry.method, _full_path(entry)))

    async def wait_seen(
        self, method: str, path: str, *, count: int = 1, timeout: float = 10.0
    ) -> tuple[RecordedRequest, ...]:
        """Wait until `count` such requests have come in, answered or not; TimeoutError after `timeout`."""
        with anyio.fail_after(timeout):
            while len(found := self.seen(method, path)) < count:
                await self._changed.wait()
        return found

    @property
    def middleware(self) -> Middleware:
        """The aiohttp middleware that records and applies the rules; put it first in the list."""

        @web.middleware
        async def faults(request: web.Request, handler: Handler) -> web.StreamResponse:
            return await self._serve(request, handler)

        return faults

    async def _serve(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        _uncut(request)
        action = self._next_action(request)
        entry = self._record(request, action)
        if not isinstance(action, DropRequest) and 0 < (request.content_length or 0) <= self._keep_body_bytes:
            entry.body = await request.read()
        try:
            answer = await (action(request, handler) if action else handler(request))
        except web.HTTPException as error:
            entry.status = error.status
            raise
        else:
            if request.transport is not None and not request.transport.is_closing():
                entry.status = answer.status
            return answer
        finally:
            entry.ended_at = time.monotonic()

    def _next_action(self, request: web.Request) -> Action | None:
        for turns in self._rules:
            if turns.left != 0 and turns.rule.matches(request):
                if turns.skip > 0:
                    turns.skip -= 1
                    continue
                if turns.left is not None:
                    turns.left -= 1
                return turns.rule.action
        return None

    def _record(self, request: web.Request, action: Action | None) -> RecordedRequest:
        peer = request.transport.get_extra_info("peername") if request.transport else None
        entry = RecordedRequest(
            method=request.method,
            path=request.path,
            query=request.query,
            headers=request.headers,
            body=b"",
            started_at=time.monotonic(),
            peer=f"{peer[0]}:{peer[1]}" if peer else "",
            fault=action,
        )
        self.requests.append(entry)
        self._changed.set()
        self._changed = anyio.Event()
        return entry


def drop_connection(request: web.Request) -> web.Response:
    """Close the request's connection without an answer; return what aiohttp wants returned, which nobody will see."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


@dataclass(slots=True)
class _Turns:
    rule: FaultRule
    skip: int
    left: int | None


class _CuttingTransport:
    """A transport that passes the response's head and `body_bytes` more, then closes the connection."""

    def __init__(self, real: asyncio.Transport, body_bytes: int) -> None:
        self.real = real
        self._left = body_bytes
        self._head: bytes | None = b""

    def __getattr__(self, name: str) -> object:
        return getattr(self.real, name)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        passed = self._take(bytes(data))
        if passed:
            self.real.write(passed)
        if self._head is None and self._left == 0:
            # close, not abort: what was let through must arrive.
            self.real.close()

    def writelines(self, chunks: list[bytes]) -> None:
        self.write(b"".join(chunks))

    def _take(self, data: bytes) -> bytes:
        """Return how much of `data` goes out, and count it."""
        head_length = 0
        if self._head is not None:
            seen, self._head = len(self._head), self._head + data
            end = self._head.find(b"\r\n\r\n")
            if end < 0:
                return data
            head_length, self._head = end + 4 - seen, None
        body = data[head_length : head_length + self._left]
        self._left -= len(body)
        return data[:head_length] + body


def _uncut(request: web.Request) -> None:
    """Take away the counting transport of an earlier response that was shorter than its cut."""
    transport: object = request.protocol.transport
    if isinstance(transport, _CuttingTransport):
        request.protocol.transport = transport.real


def _matches(rule_method: str, rule_path: str, method: str, full_path: str) -> bool:
    if rule_method not in (ANY, method):
        return False
    pattern = re.compile(rule_path)
    return bool(pattern.search(full_path) or pattern.search(full_path.partition("?")[0]))


def _full_path(entry: RecordedRequest) -> str:
    query = "&".join(f"{key}={value}" for key, value in entry.query.items())
    return f"{entry.path}?{query}" if query else entry.path
