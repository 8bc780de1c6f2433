"""An HTTP proxy for tests: CONNECT for TLS, whole URLs for plain http, with or without a password.

Public. Point HTTP_PROXY or HTTPS_PROXY at its `url`. It resolves no name: `routes` says where each leads, so that a
test sees that a client has left this to the proxy.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from urllib.parse import urlsplit

import anyio
from anyio.abc import ByteStream, SocketStream

from runner.testing.loopback import LoopbackServer
from runner.testing.proxy import pump

_HEAD_BYTES_MAX = 64 * 1024
_END = b"\r\n\r\n"


class HttpProxy(LoopbackServer):
    """Forward what asks for a host of `routes` to the port of loopback that stands there."""

    def __init__(self, routes: Mapping[str, int], *, user: str = "", password: str = "") -> None:
        super().__init__()
        self._routes = routes
        self._user = user
        self._password = password
        self.asked: list[str] = []
        """First lines of the requests that were let through, such as `CONNECT gitlab.test:443 HTTP/1.1`."""
        self.refused = 0
        """Requests without the right password."""

    @property
    def url(self) -> str:
        """Its address without a password."""
        return f"http://127.0.0.1:{self.port}"

    async def _answer(self, near: SocketStream) -> None:
        async with near:
            data = await _head(near)
            if data is None:
                return
            head, _, rest = data.partition(_END)
            first, *lines = head.decode("latin-1").split("\r\n")
            if not self._knows(lines):
                self.refused += 1
                await near.send(
                    b"HTTP/1.1 407 Proxy Authentication Required\r\n"
                    b'Proxy-Authenticate: Basic realm="proxy"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n'
                )
                return
            self.asked.append(first)
            method, target, version = first.split(" ")
            parts = urlsplit(f"//{target}" if method == "CONNECT" else target)
            port = self._routes.get(parts.hostname or "")
            if port is None:
                await near.send(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                return
            if method == "CONNECT":
                await near.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
                await _joined(near, port, rest)
            else:
                path = parts._replace(scheme="", netloc="").geturl() or "/"
                kept = [line for line in lines if not line.lower().startswith(("proxy-", "connection:"))]
                # One request for each connection: the next one may be for another host.
                text = "\r\n".join([f"{method} {path} {version}", *kept, "Connection: close"])
                await _joined(near, port, text.encode("latin-1") + _END + rest)

    def _knows(self, lines: list[str]) -> bool:
        if not self._user:
            return True
        good = b64encode(f"{self._user}:{self._password}".encode()).decode("ascii")
        return f"proxy-authorization: basic {good}".lower() in (line.lower() for line in lines)


async def _head(stream: ByteStream) -> bytes | None:
    data = b""
    while _END not in data:
        try:
            data += await stream.receive()
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            return None
        if len(data) > _HEAD_BYTES_MAX:
            return None
    return data


async def _joined(near: ByteStream, port: int, first: bytes) -> None:
    try:
        far = await anyio.connect_tcp("127.0.0.1", port)
    except OSError:
        return
    async with far:
        if first:
            await far.send(first)
        async with anyio.create_task_group() as group:
            group.start_soon(pump, near, far, group)
            group.start_soon(pump, far, near, group)
