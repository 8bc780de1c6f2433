"""A server that plays one side of a transcript, and what of it is bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import anyio
import orjson
from anyio.abc import SocketStream

from runner.testing.loopback import LoopbackServer


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


class ScriptedServer(LoopbackServer):
    """Give these answers one after the other, whatever is asked, and keep what was."""

    def __init__(self, *answers: bytes) -> None:
        super().__init__()
        self._answers = iter(answers)
        self.heard: list[Heard] = []

    @property
    def url(self) -> str:
        """Where it listens, once it is entered."""
        return f"http://127.0.0.1:{self.port}"

    async def _answer(self, stream: SocketStream) -> None:
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
