"""A TCP proxy that can cut: what lies between a client and a server that cannot be told to fail.

Public. It knows no protocol, so TLS passes through; point a kubeconfig at its `address` with the server's name for
TLS kept.
"""

from __future__ import annotations

import anyio
from anyio.abc import ByteStream, SocketStream, TaskGroup

from runner.testing.loopback import LoopbackServer

_CHUNK_BYTES = 64 * 1024


class CuttingProxy(LoopbackServer):
    """Forward connections to `host:port` from a port of loopback until `cut` ends them all."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__()
        self._target = host, port
        self._streams: set[ByteStream] = set()
        self.refusing = False
        """Close new connections at once."""

    async def cut(self) -> int:
        """End every connection at once, as a dying network device does; how many there were."""
        streams, self._streams = self._streams, set()
        for stream in streams:
            await anyio.aclose_forcefully(stream)
        return len(streams) // 2

    async def _answer(self, near: SocketStream) -> None:
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
