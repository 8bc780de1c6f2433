"""A TCP proxy that can cut: what lies between a client and a server that cannot be told to fail.

Public. It knows no protocol, so TLS passes through; point a kubeconfig at its `address` with the server's name for
TLS kept.
"""

from __future__ import annotations

from types import TracebackType
from typing import Self

import anyio
from anyio.abc import ByteStream, SocketStream, TaskGroup

from runner.testing.loopback import LoopbackPort

_CHUNK_BYTES = 64 * 1024


class CuttingProxy:
    """Forward connections to `host:port` from a port of loopback until `cut` ends them all."""

    def __init__(self, host: str, port: int) -> None:
        self._target = host, port
        self._streams: set[ByteStream] = set()
        self._port = LoopbackPort(self._forward)
        self.refusing = False
        """Close new connections at once."""

    @property
    def port(self) -> int:
        """The proxy's own port, once it is started."""
        return self._port.number

    async def __aenter__(self) -> Self:
        await self._port.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._port.__aexit__(kind, error, trace)

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
