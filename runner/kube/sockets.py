"""The sockets below the HTTP sessions of one API server.

Law: a socket that is made here is closed here. A TLS connection that is given up waits up to half a minute for the
peer's goodbye, and nobody but the event loop knows of it then: not the request, not the session that it belonged to.
An event loop that ends meanwhile would leave it to the garbage collector.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

import anyio

if TYPE_CHECKING:
    from aiohttp.connector import AddrInfoType

# A peer that is gone answers no probe: the kernel ends such a connection within 50 s, also one on which we only listen
# (a watch).
_OPTIONS = (
    (socket.SOL_SOCKET, "SO_KEEPALIVE", 1),
    (socket.IPPROTO_TCP, "TCP_KEEPIDLE", 15),
    (socket.IPPROTO_TCP, "TCP_KEEPINTVL", 10),
    (socket.IPPROTO_TCP, "TCP_KEEPCNT", 3),
    (socket.IPPROTO_TCP, "TCP_USER_TIMEOUT", 50_000),
)


class Sockets:
    """Makes the sockets of a connector and knows which of them are open."""

    def __init__(self) -> None:
        self._open: set[socket.socket] = set()
        self._none_open: anyio.Event | None = None

    def __len__(self) -> int:
        """How many are open."""
        return len(self._open)

    def make(self, address: AddrInfoType) -> socket.socket:
        """Make a socket that notices a dead peer; aiohttp's `socket_factory`."""
        made = _WatchedSocket(*address[:3], self._closed)
        self._open.add(made)
        for level, name, value in _OPTIONS:
            # Not every system has every option; those that miss one still have the keepalive of the streams.
            if (option := getattr(socket, name, None)) is not None:
                made.setsockopt(level, option, value)
        return made

    async def aclose(self) -> None:
        """Cut what is open and wait until the event loop has let go of it. The caller bounds the wait."""
        for one in list(self._open):
            # Both directions end at once, which a transport takes for the end of its connection, whatever it waits for.
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        if self._open:
            self._none_open = anyio.Event()
            await self._none_open.wait()

    def _closed(self, one: socket.socket) -> None:
        self._open.discard(one)
        if self._none_open is not None and not self._open:
            self._none_open.set()


class _WatchedSocket(socket.socket):
    """A socket that tells when it is closed."""

    __slots__ = ("_tell",)

    def __init__(self, family: int, kind: int, protocol: int, tell: Callable[[socket.socket], None]) -> None:
        super().__init__(family, kind, protocol)
        self._tell = tell

    def close(self) -> None:
        super().close()
        self._tell(self)
