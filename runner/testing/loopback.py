"""A server on a port of loopback, without a library between: the common ground of proxies and scripted answers.

Law: nothing of it outlives its `async with`, neither the port nor a connection.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self

import anyio
from anyio.abc import SocketStream, TaskGroup
from anyio.streams.stapled import MultiListener


class LoopbackServer(ABC):
    """Listen on a free port while entered; each connection is a task of `_answer`."""

    def __init__(self) -> None:
        self._group: TaskGroup | None = None
        self._listener: MultiListener[SocketStream] | None = None
        self.port = 0
        """The port, once it is entered."""

    @abstractmethod
    async def _answer(self, stream: SocketStream) -> None:
        """Talk on one connection."""

    async def __aenter__(self) -> Self:
        self._group = await anyio.create_task_group().__aenter__()
        self._listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
        self.port = self._listener.extra(anyio.abc.SocketAttribute.local_port)
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
