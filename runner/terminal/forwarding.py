"""A person's request passed on to a service of the job, over HTTP and as a WebSocket.

Law: bodies flow as they come, message by message and part by part; nothing is kept. A service's answer is its own
affair; what the cluster refuses becomes a bare status, and its words go to the manager's log.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import aiohttp
import anyio
import structlog
from aiohttp import WSMsgType, web

from runner.kube.errors import KubeError
from runner.kube.service_proxy import ServicePathError
from runner.terminal.headers import answer_headers, request_headers

if TYPE_CHECKING:
    from runner.kube.service_proxy import ServicePort

log = structlog.get_logger()

MESSAGE_BYTES = 4 * 1024 * 1024
FAREWELL_TIMEOUT = 2.0

Socket = web.WebSocketResponse | aiohttp.ClientWebSocketResponse


def wants_socket(request: web.Request) -> bool:
    """Whether a request asks to become a WebSocket."""
    connection = (word.strip().lower() for word in request.headers.get("Connection", "").split(","))
    return "upgrade" in connection and request.headers.get("Upgrade", "").lower() == "websocket"


async def forward(request: web.Request, port: ServicePort, uri: str, *, outer: str) -> web.StreamResponse:
    """Pass a request on; `uri` is its path and query at the service, `outer` where the person has the service."""
    try:
        if wants_socket(request):
            return await _forward_socket(request, port, uri)
        return await _forward_request(request, port, uri, outer=outer)
    except ServicePathError:
        return refusal(404)
    except KubeError as error:
        log.warning("a service of a job could not be asked", reason=error.message)
        return refusal(error.status if error.status == 404 or error.status >= 500 else 502)


def refusal(status: int) -> web.Response:
    """A status with its own name as body: nothing is told beside it."""
    answer = web.Response(status=status)
    answer.text = answer.reason
    return answer


async def _forward_request(request: web.Request, port: ServicePort, uri: str, *, outer: str) -> web.StreamResponse:
    body = request.content.iter_any() if request.can_read_body else None
    headers = request_headers(request.headers.items())
    async with port.fetch(request.method, uri, headers=headers, body=body) as answer:
        response = web.StreamResponse(status=answer.status)
        for name, text in answer_headers(answer.headers, inner=port.path, outer=outer):
            response.headers.add(name, text)
        try:
            await response.prepare(request)
            async for part in answer.body:
                await response.write(part)
            await response.write_eof()
        except KubeError as error:
            # The head is on its way: only the connection's end can say that the rest is missing.
            log.warning("a service's answer broke off", reason=error.message)
            if request.transport is not None:
                request.transport.abort()
        return response


async def _forward_socket(request: web.Request, port: ServicePort, uri: str) -> web.StreamResponse:
    offered = request.headers.getall("Sec-WebSocket-Protocol", [])
    protocols = [word.strip() for line in offered for word in line.split(",")]
    inner = await port.open_socket(uri, headers=request_headers(request.headers.items()), protocols=protocols)
    chosen = (inner.protocol,) if inner.protocol else ()
    outer = web.WebSocketResponse(protocols=chosen, max_msg_size=MESSAGE_BYTES, compress=False)
    try:
        await outer.prepare(request)
        async with anyio.create_task_group() as group:
            group.start_soon(_carry, outer, inner, group.cancel_scope)
            group.start_soon(_carry, inner, outer, group.cancel_scope)
    finally:
        with anyio.CancelScope(shield=True, deadline=anyio.current_time() + FAREWELL_TIMEOUT):
            for socket in (inner, outer) if outer.prepared else (inner,):
                with suppress(ConnectionError, aiohttp.ClientError):
                    await socket.close(code=_close_code(inner, outer))
    return outer


async def _carry(source: Socket, target: Socket, whole: anyio.CancelScope) -> None:
    """Pass messages on until either side has ended."""
    with suppress(ConnectionError, aiohttp.ClientError):
        while True:
            message = await source.receive()
            if message.type is WSMsgType.TEXT:
                await target.send_str(message.data)
            elif message.type is WSMsgType.BINARY:
                await target.send_bytes(message.data)
            else:
                break
    whole.cancel()


def _close_code(*sockets: Socket) -> int:
    """The code that one side has left with, for the other."""
    codes = (socket.close_code for socket in sockets)
    return next((code for code in codes if code and code not in _UNSENT), aiohttp.WSCloseCode.OK)


_UNSENT = frozenset({1005, 1006, 1015})
"""Codes that stand for the lack of one, which no message may carry."""
