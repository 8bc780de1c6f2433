"""Attach to a container, and run a command in one: streams of frames over one WebSocket.

Law: one connection, no reconnect and no task of its own; whoever reads waits, pings and notices a dead peer while
waiting. An exit code comes from the error channel alone: a connection that ends without one is lost, never a success.
Closing is shielded, with a deadline.

Bytes flow only as fast as they are taken: a reader that stops makes the API server, the kubelet and at last the
container's own writes wait, for every reader of that container. So read on, or close.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING

import aiohttp
import anyio

from runner.kube.channels import (
    ERROR,
    PROTOCOLS,
    ExitStatus,
    Frame,
    decode,
    encode,
    half_close,
    parse_exit,
    resizing,
)
from runner.kube.errors import ForbiddenError, KubeError
from runner.kube.resources import resource_path
from runner.kube.transport import Request

if TYPE_CHECKING:
    from runner.kube.client import KubeClient

KEEPALIVE_INTERVAL = 15.0
"""Silence after which a ping is sent; load balancers cut what is idle for minutes."""

DEAD_AFTER = 4
"""Keepalive intervals of silence, pings unanswered, after which the peer counts as dead."""

SEND_TIMEOUT = 60.0
CLOSE_TIMEOUT = 5.0
OPEN_TIMEOUT = 60.0

_FAREWELL_TIMEOUT = 10.0
_STATUS_BYTES = 64 * 1024

# A kubelet cuts streams without a message for 4 hours, and a ping is none. An empty message is, and nobody reads it.
_PINGS_PER_MESSAGE = 20


class StreamLostError(KubeError):
    """An attach or exec connection ended without proof of how things stand at the other end."""

    def __init__(self, message: str, *, reason: str = "ConnectionLost", farewell: ExitStatus | None = None) -> None:
        super().__init__(message, reason=reason)
        self.farewell = farewell
        """What the server said on the error channel before it ended an attach; None when it said nothing.

        Its code says how the attach ended, 0 also when the container ended with another; only the pod tells that.
        """


class PodStream:
    """What attach and exec have in common: stdin, and the wait for what comes back.

    One task may send while another receives.
    """

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, *, subject: str, keepalive_interval: float) -> None:
        self._socket = socket
        self._subject = subject
        self._interval = keepalive_interval
        self._silence = 0.0
        self._next_ping = keepalive_interval
        self._pings = 0
        self._status = b""
        self._end: StreamLostError | None = None
        self._drained = False

    @property
    def protocol(self) -> str:
        """The channel protocol that the server chose."""
        return self._socket.protocol or ""

    async def send(self, data: bytes) -> None:
        """Send bytes to stdin, in messages of at most 32 KiB. StreamLostError when the connection takes no more.

        Returns when the connection has taken them, which proves nothing about the container.
        """
        for message in encode(data):
            await self._transmit(message)

    async def close_stdin(self) -> bool:
        """Close stdin and keep reading; true when the server can do that.

        False means v4 (API servers before 1.30), which has no half-close: a command that waits for the end of its stdin
        waits for ever. So give such a command its length (`head -c`) or an `exit` to read.
        """
        message = half_close(self.protocol)
        if message is None:
            return False
        await self._transmit(message)
        return True

    async def resize(self, *, columns: int, rows: int) -> None:
        """Tell the TTY its size; a stream without one ignores it. StreamLostError as for `send`."""
        await self._transmit(resizing(columns=columns, rows=rows))

    async def aclose(self) -> None:
        """Say goodbye, wait a moment for the answer, and cut the connection."""
        with suppress(OSError), anyio.move_on_after(CLOSE_TIMEOUT, shield=True), _own_cancellation():
            await self._socket.close()

    async def _next_frame(self) -> Frame | None:
        """Return the next frame of an output channel, or None once the server has closed in order.

        May be cancelled at any time without losing a frame.
        """
        while not self._drained:
            if self._end is not None:
                raise self._end
            message = await self._next_message()
            match message.type:
                case aiohttp.WSMsgType.BINARY:
                    frame = decode(message.data)
                    if frame is not None and frame.channel != ERROR:
                        return frame
                    if frame is not None:
                        self._status = (self._status + frame.data)[:_STATUS_BYTES]
                case aiohttp.WSMsgType.PING:
                    await self._control(self._socket.pong(message.data))
                case aiohttp.WSMsgType.PONG:
                    pass
                case aiohttp.WSMsgType.CLOSE if message.data == aiohttp.WSCloseCode.OK:
                    self._drained = True
                case _:
                    self._end = self._ended_by(message)
        return None

    async def _next_message(self) -> aiohttp.WSMessage:
        """Wait for a message, pinging. Silence counts only while we wait: a slow consumer is not a dead peer."""
        while True:
            patience = min(self._next_ping, _FAREWELL_TIMEOUT) if self._status else self._next_ping
            # aiohttp takes 0 for "without end".
            limit = max(patience - self._silence, 0.001)
            started = time.monotonic()
            try:
                message = await self._socket.receive(timeout=limit)
            except BaseException as error:
                # Also when our caller gives up waiting: what was waited so far is silence all the same. A process that
                # was stopped for minutes has not listened that long, so no wait counts for more than its limit.
                self._silence += min(time.monotonic() - started, limit)
                if not isinstance(error, TimeoutError):
                    raise
            else:
                self._silence, self._next_ping = 0.0, self._interval
                return message
            await self._keep_alive()

    async def _keep_alive(self) -> None:
        """Ping when it is time, and give up on a peer that answers none."""
        if self._status and self._silence >= _FAREWELL_TIMEOUT:
            self._end = self._lost("was not closed after its status")
            raise self._end
        if self._silence >= DEAD_AFTER * self._interval:
            self._end = self._lost(f"was silent for {self._silence:.0f} s", reason="PeerSilent")
            raise self._end
        if self._silence >= self._next_ping:
            self._next_ping += self._interval
            self._pings += 1
            await self._control(self._socket.ping())
            if self._pings % _PINGS_PER_MESSAGE == 0:
                await self._control(self._socket.send_bytes(b""))

    async def _transmit(self, message: bytes) -> None:
        try:
            with anyio.fail_after(SEND_TIMEOUT), _own_cancellation():
                await self._socket.send_bytes(message)
        except TimeoutError as error:
            raise self._lost("took no bytes for too long", reason="SendTimeout") from error
        except (aiohttp.ClientError, OSError) as error:
            raise self._lost(f"broke while sending ({type(error).__name__})") from error

    async def _control(self, sending: Awaitable[None]) -> None:
        """Send a ping or its like. A connection that takes none may still have something to read."""
        with suppress(aiohttp.ClientError, OSError), anyio.move_on_after(self._interval), _own_cancellation():
            await sending

    def _ended_by(self, message: aiohttp.WSMessage) -> StreamLostError:
        match message.type:
            case aiohttp.WSMsgType.CLOSE:
                return self._lost(f"was closed with code {message.data} {message.extra or ''}".rstrip())
            case aiohttp.WSMsgType.TEXT:
                return self._lost("carried a text message, which no channel protocol has", reason="ProtocolError")
        cause = self._socket.exception() or message.data
        return self._lost(f"broke ({cause})" if cause else "broke")

    def _lost(self, words: str, *, reason: str = "ConnectionLost") -> StreamLostError:
        farewell = parse_exit(self._status) if self._status else None
        said = f"; the server said: {farewell.message}" if farewell and farewell.message else ""
        return StreamLostError(f"The connection to {self._subject} {words}{said}.", reason=reason, farewell=farewell)


class AttachStream(PodStream):
    """The streams of a container's main process."""

    async def receive(self) -> Frame:
        """Return the next bytes of stdout or stderr. StreamLostError at the end, however it came: look at the pod.

        Safe to cancel: no frame is lost. Between stdout and stderr there is no order.
        """
        frame = await self._next_frame()
        if frame is None:
            raise self._lost("was closed by the server", reason="Closed")
        return frame


class ExecStream(PodStream):
    """The streams of a command started in a container. Closing it does not end the command."""

    @property
    def drained(self) -> bool:
        """Whether the server closed in order, so that no output is missing."""
        return self._drained

    @property
    def exit_status(self) -> ExitStatus | None:
        """How the command ended, once `receive` has returned None."""
        return parse_exit(self._status) if self._status and (self._drained or self._end is not None) else None

    async def receive(self) -> Frame | None:
        """Return the next bytes of stdout or stderr, None at the end. StreamLostError when no status came before it.

        Safe to cancel: no frame is lost. A status that came before the connection broke is proof of the exit code, and
        `drained` is then false: the end of the output may be missing.
        """
        try:
            frame = await self._next_frame()
        except StreamLostError as lost:
            if lost.farewell is None or not lost.farewell.status:
                raise
            return None
        if frame is None and not self._status:
            raise self._lost("was closed without an exit status", reason="NoStatus")
        return frame

    async def wait(self) -> ExitStatus:
        """Read to the end, throw the rest of the output away and return the status. StreamLostError without one."""
        while await self.receive() is not None:
            pass
        return parse_exit(self._status)


@asynccontextmanager
async def open_attach(
    client: KubeClient,
    namespace: str,
    pod: str,
    *,
    container: str,
    stdin: bool = False,
    stdout: bool = False,
    stderr: bool = False,
    tty: bool = False,
    keepalive_interval: float = KEEPALIVE_INTERVAL,
    open_timeout: float = OPEN_TIMEOUT,
) -> AsyncIterator[AttachStream]:
    """Attach to a running container. Raises KubeError when the server refuses, with its words.

    What the container wrote before is not repeated. Attaching again to `stdin: true, stdinOnce: false` works any number
    of times.
    """
    query = _query(container, stdin=stdin, stdout=stdout, stderr=stderr and not tty, tty=tty)
    socket = await _open(client, _request("attach", namespace, pod, query=query, timeout=open_timeout))
    stream = AttachStream(socket, subject=f"{namespace}/{pod}:{container}", keepalive_interval=keepalive_interval)
    try:
        yield stream
    finally:
        await stream.aclose()


@asynccontextmanager
async def open_exec(
    client: KubeClient,
    namespace: str,
    pod: str,
    *,
    container: str,
    command: Sequence[str],
    stdin: bool = False,
    stdout: bool = True,
    stderr: bool = True,
    tty: bool = False,
    keepalive_interval: float = KEEPALIVE_INTERVAL,
    open_timeout: float = OPEN_TIMEOUT,
) -> AsyncIterator[ExecStream]:
    """Run a command in a container. Raises KubeError when the server refuses.

    The command is part of the URL and thus of audit logs: no secrets in it. It goes on when the connection is lost.
    """
    query = _query(container, stdin=stdin, stdout=stdout, stderr=stderr and not tty, tty=tty)
    query += tuple(("command", part) for part in command)
    socket = await _open(client, _request("exec", namespace, pod, query=query, timeout=open_timeout))
    stream = ExecStream(socket, subject=f"{namespace}/{pod}:{container}", keepalive_interval=keepalive_interval)
    try:
        yield stream
    finally:
        await stream.aclose()


@contextmanager
def _own_cancellation() -> Iterator[None]:
    """Turn a cancellation that nobody asked for into ConnectionAbortedError.

    All writers to an aiohttp connection that is full wait for one future, and the cancellation of one of them cancels
    that future: the others, and whoever writes next, are handed a cancellation that was never theirs. A task would end
    without a word.
    """
    try:
        yield
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise ConnectionAbortedError("an earlier write was given up") from error


def _query(container: str, **wanted: bool) -> tuple[tuple[str, str], ...]:
    return (("container", container), *((name, "true") for name, value in wanted.items() if value))


def _request(kind: str, namespace: str, pod: str, *, query: tuple[tuple[str, str], ...], timeout: float) -> Request:
    return Request(
        verb="get",
        resource=f"pods/{kind}",
        subject=f"{kind} of pods {namespace}/{pod}",
        path=resource_path("pods", namespace, pod, kind),
        query=query,
        timeout=timeout,
    )


async def _open(client: KubeClient, request: Request) -> aiohttp.ClientWebSocketResponse:
    try:
        socket = await client.transport.open_socket(request)
    except ForbiddenError as error:
        # A WebSocket is a GET, and from Kubernetes 1.35 on `create` is checked as well; Roles written for SPDY clients
        # have `create` alone.
        raise ForbiddenError(
            f"{error.message}; the Role needs the verbs get and create on {request.resource}",
            status=error.status,
            reason=error.reason,
        ) from error
    if socket.protocol not in PROTOCOLS:
        with anyio.move_on_after(CLOSE_TIMEOUT, shield=True):
            await socket.close()
        raise KubeError(
            f"{request.sentence}: the server speaks none of {', '.join(PROTOCOLS)}.", reason="ProtocolError"
        )
    return socket
