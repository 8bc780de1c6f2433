"""A person's WebSocket and a terminal, tied together.

Law: two tasks, one for each direction, and each message is passed on before the next is read: whoever does not read
makes the other side wait, and nothing is kept but one message. Writing and waiting have bounds, so a peer that is gone
is noticed. At the end the shell is sent what Ctrl-D sends.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import anyio
from aiohttp import WSCloseCode, WSMsgType

from runner.kube.attach import StreamLostError
from runner.kube.exec import END_OF_INPUT
from runner.terminal.frames import FrameError, Size, read_message, written_message

if TYPE_CHECKING:
    from aiohttp import WSMessage, web

    from runner.kube.exec import Terminal

PING_INTERVAL = 30.0
"""Seconds between pings to the person, so that what lies between does not cut the connection."""

SILENCE_TIMEOUT = 3 * PING_INTERVAL
"""Seconds without any message, answers to pings included, after which the person's end counts as gone."""

WRITE_TIMEOUT = 300.0
"""Seconds for the person's end to take a message."""

FAREWELL_TIMEOUT = 2.0


class Relay:
    """One terminal session. `run` once."""

    def __init__(
        self,
        socket: web.WebSocketResponse,
        terminal: Terminal,
        *,
        ping_interval: float = PING_INTERVAL,
        silence_timeout: float = SILENCE_TIMEOUT,
    ) -> None:
        self._socket = socket
        self._terminal = terminal
        self._protocol = socket.ws_protocol or ""
        self._ping_interval = ping_interval
        self._silence_timeout = silence_timeout
        self._writing = anyio.Lock()

    async def run(self) -> None:
        """Carry bytes both ways until either side ends; may be cancelled. Never raises for what either side does."""
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(self._carry, group.cancel_scope)
                with suppress(StreamLostError, ConnectionError, TimeoutError):
                    await self._print()
                group.cancel_scope.cancel()
        finally:
            with anyio.CancelScope(shield=True, deadline=anyio.current_time() + FAREWELL_TIMEOUT):
                with suppress(StreamLostError):
                    await self._terminal.send(END_OF_INPUT)
                with suppress(ConnectionError):
                    await self._socket.close(code=WSCloseCode.OK)

    async def _carry(self, whole: anyio.CancelScope) -> None:
        """What is typed goes to the terminal."""
        with suppress(StreamLostError, ConnectionError, TimeoutError, FrameError):
            while (message := await self._next_message()) is not None:
                await self._type(message)
        whole.cancel()

    async def _type(self, message: WSMessage) -> None:
        match message.type:
            case WSMsgType.BINARY:
                read = read_message(self._protocol, message.data, text=False)
            case WSMsgType.TEXT:
                read = read_message(self._protocol, message.data.encode(), text=True)
            case WSMsgType.PING:
                async with self._writing:
                    await self._socket.pong(message.data)
                return
            case _:
                return
        if isinstance(read, Size):
            await self._terminal.resize(columns=read.columns, rows=read.rows)
        elif read:
            await self._terminal.send(read)

    async def _next_message(self) -> WSMessage | None:
        message = await self._socket.receive(timeout=self._silence_timeout)
        ended = message.type in {WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED, WSMsgType.ERROR}
        return None if ended else message

    async def _print(self) -> None:
        """What the terminal prints goes to the person, with a ping between when it is time."""
        next_ping = anyio.current_time() + self._ping_interval
        while True:
            printed: bytes | None = None
            with anyio.CancelScope(deadline=next_ping):
                printed = await self._terminal.receive()
            if printed is None:
                next_ping = anyio.current_time() + self._ping_interval
                await self._write(None)
            elif printed:
                await self._write(printed)
            else:
                break
        if self._terminal.trouble:
            await self._write(f"{self._terminal.trouble}\r\n".encode())

    async def _write(self, printed: bytes | None) -> None:
        """Send what was printed, or a ping."""
        with anyio.fail_after(WRITE_TIMEOUT):
            async with self._writing:
                if printed is None:
                    await self._socket.ping()
                    return
                message = written_message(self._protocol, printed)
                if isinstance(message, str):
                    await self._socket.send_str(message)
                else:
                    await self._socket.send_bytes(message)
