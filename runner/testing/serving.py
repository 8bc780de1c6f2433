"""An aiohttp application on a socket: the common ground of the embedded servers.

Law: this knows sockets and nothing of what is served. An outage here is a true one: the port refuses.
"""

from __future__ import annotations

import ssl

from aiohttp import web

_HANDLER_END_TIMEOUT = 0.5


class Listener:
    """Serve `app` on `host:port` (0: any free port) until `aclose`.

    A handler is cancelled when its client goes away, so that nothing waits for nobody. `outage` refuses connections at
    the socket and cuts the open ones; `restore` listens again on the same port.
    """

    def __init__(
        self,
        app: web.Application,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        tls: ssl.SSLContext | None = None,
        unpacks: bool = True,
    ) -> None:
        """`unpacks`: the bodies of requests, where they are packed."""
        self._runner = web.AppRunner(
            app,
            access_log=None,
            handler_cancellation=True,
            shutdown_timeout=_HANDLER_END_TIMEOUT,
            keepalive_timeout=75.0,
            auto_decompress=unpacks,
        )
        self._host = host
        self._port = port
        self._tls = tls
        self._site: web.TCPSite | None = None

    @property
    def port(self) -> int:
        """The port: the one asked for, or the one that the system gave when `start` returned."""
        return self._port

    @property
    def url(self) -> str:
        """Scheme, host and port, without a slash at the end."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{'https' if self._tls else 'http'}://{host}:{self._port}"

    async def start(self) -> None:
        """Listen; the port is open when this returns."""
        await self._runner.setup()
        await self._listen()

    async def aclose(self) -> None:
        """Stop listening, cut every connection and end the handlers."""
        self.disconnect()
        await self._runner.cleanup()
        self._site = None

    async def outage(self) -> None:
        """Refuse every connection from now on and cut those that are open."""
        if self._site is not None:
            await self._site.stop()
            self._site = None
        self.disconnect()

    async def restore(self) -> None:
        """End an outage: listen again on the same port."""
        if self._site is None:
            await self._listen()

    def disconnect(self) -> None:
        """Cut every open connection, idle or not; new ones are welcome."""
        server = self._runner.server
        for connection in list(server.connections) if server else ():
            if connection.transport is not None:
                connection.transport.abort()

    async def _listen(self) -> None:
        site = web.TCPSite(
            self._runner, self._host, self._port, ssl_context=self._tls, reuse_address=True, backlog=1024
        )
        await site.start()
        self._site = site
        self._port = self._runner.addresses[0][1]
