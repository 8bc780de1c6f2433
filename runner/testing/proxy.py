"""A TCP proxy that can cut: what lies between a client and a server that cannot be told to fail.

Public. It knows no protocol, so TLS passes through; point a kubeconfig at its `address` with the server's name for
TLS kept.
"""

from __future__ import annotations

from types import TracebackType
from typing import Self

import anyio
from anyio.abc import ByteStream, SocketStream, TaskGroup
from anyio.streams.stapled import MultiListener

_CHUNK_BYTES = 64 * 1024


class CuttingProxy:
    """Forward connections to `host:port` from a port of loopback until `cut` ends them all."""

    def __init__(self, host: str, port: int) -> None:
        self._target = host, port
        self._streams: set[ByteStream] = set()
        self._group: TaskGroup | None = None
        self._listener: MultiListener[SocketStream] | None = None
        self.port = 0
        """The proxy's own port, once it is started."""
        self.refusing = False
        """Close new connections at once."""

    async def __aenter__(self) -> Self:
        self._group = await anyio.create_task_group().__aenter__()
        self._listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
        self.port = self._listener.extra(anyio.abc.SocketAttribute.local_port)
        self._group.start_soon(self._listener.serve, self._forward)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._group is not None
        assert self._listener is not None
        self._group.cancel_scope.cancel()
        await self._group.__aexit__(kind, error, trace)
        with anyio.CancelScope(shield=True):
            await self._listener.aclose()

    async def cut(self) -> int:
        """End every connection at once, as a dying network device does; how many there were."""
        streams, self._streams = self._streams, set()
        for stream in streams:
            await anyio.aclose_forcefully(stream)
        return len(streams) // 2

    async def _forward(self, near: SocketStream) -> None:
        if self.refusing:
            await anyio.aclose_forcefully(near)
            return
        try:
            far = await anyio.connect_tcp(*self._target)
        except OSError:
            await anyio.aclose_forcefully(near)
            return
        self._streams |= {near, far}
        async with near, far, anyio.create_task_group() as group:
            group.start_soon(pump, near, far, group)
            group.start_soon(pump, far, near, group)
        self._streams -= {near, far}


async def pump(source: ByteStream, sink: ByteStream, group: TaskGroup) -> None:
    """Carry bytes from one stream to another; the end of either ends the group."""
    try:
        while True:
            await sink.send(await source.receive(_CHUNK_BYTES))
    except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
        group.cancel_scope.cancel()
