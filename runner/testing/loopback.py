"""A port of loopback that hands each connection to somebody: the common ground of what speaks no HTTP of a library's.

Law: nothing of it outlives its `async with`, neither the port nor a connection.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

import anyio
from anyio.abc import SocketStream, TaskGroup
from anyio.streams.stapled import MultiListener


class LoopbackPort:
    """Listen on a free port while entered; each connection is a task of `answer`."""

    def __init__(self, answer: Callable[[SocketStream], Awaitable[None]]) -> None:
        self._answer = answer
        self._group: TaskGroup | None = None
        self._listener: MultiListener[SocketStream] | None = None
        self.number = 0
        """The port, once it is entered."""

    async def __aenter__(self) -> Self:
        self._group = await anyio.create_task_group().__aenter__()
        self._listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
        self.number = self._listener.extra(anyio.abc.SocketAttribute.local_port)
        self._group.start_soon(self._listener.serve, self._answer)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._group is not None
        assert self._listener is not None
        self._group.cancel_scope.cancel()
        try:
            await self._group.__aexit__(kind, error, trace)
        finally:
            with anyio.CancelScope(shield=True):
                await self._listener.aclose()
