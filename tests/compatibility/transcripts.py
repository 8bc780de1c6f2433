"""A server that plays one side of a transcript, and what of it is bytes."""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import anyio
import orjson
from anyio.abc import SocketStream, TaskGroup
from anyio.streams.stapled import MultiListener


def shown(text: str) -> bytes:
    """The bytes of a log as transcripts show them: `ESC` and `CR` are one byte each, without a blank before `CR`."""
    return text.replace(" CR ESC", "\r\x1b").replace("ESC", "\x1b").encode()


@dataclass(frozen=True, slots=True)
class Heard:
    """One request as it came."""

    head: str
    body: bytes

    @property
    def line(self) -> str:
        """Method and path."""
        return self.head.partition("\r\n")[0].removesuffix(" HTTP/1.1")

    def header(self, name: str) -> str | None:
        """The value of a header, None without one."""
        for line in self.head.split("\r\n")[1:]:
            key, _, value = line.partition(": ")
            if key.lower() == name.lower():
                return value
        return None

    @property
    def json(self) -> dict[str, Any]:
        """The body, whose `info` is left out where it is only told again."""
        found: dict[str, Any] = orjson.loads(self.body)
        return found


def answer(status: str, *headers: str, body: bytes = b"") -> bytes:
    """An answer as GitLab writes it."""
    lines = [f"HTTP/1.1 {status}", *headers]
    if not status.startswith("204"):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class ScriptedServer:
    """Give these answers one after the other, whatever is asked, and keep what was."""

    def __init__(self, *answers: bytes) -> None:
        self._answers = iter(answers)
        self._group: TaskGroup | None = None
        self._listener: MultiListener[SocketStream] | None = None
        self.url = ""
        self.heard: list[Heard] = []

    async def __aenter__(self) -> Self:
        self._group = await anyio.create_task_group().__aenter__()
        self._listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
        self.url = f"http://127.0.0.1:{self._listener.extra(anyio.abc.SocketAttribute.local_port)}"
        self._group.start_soon(self._listener.serve, self._serve)
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

    async def _serve(self, stream: SocketStream) -> None:
        async with stream:
            data = b""
            while True:
                try:
                    while b"\r\n\r\n" not in data:
                        data += await stream.receive()
                    head, _, data = data.partition(b"\r\n\r\n")
                    heard = Heard(head.decode("latin-1"), b"")
                    length = int(heard.header("Content-Length") or 0)
                    while len(data) < length:
                        data += await stream.receive()
                except (anyio.EndOfStream, anyio.BrokenResourceError):
                    return
                self.heard.append(Heard(heard.head, data[:length]))
                data = data[length:]
                await stream.send(next(self._answers))
