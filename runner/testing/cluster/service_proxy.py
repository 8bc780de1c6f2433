"""services/proxy: requests passed on to a port of a pod, over HTTP and as WebSockets.

Law: as the API server does it. The credentials of the request end here, the path behind `proxy` is the service's, a
redirection to the service's own becomes a path of the API, and what cannot be reached is a Status 503. Processes of all
pods share this machine's loopback, so a Service leads to its target port there.
"""

from __future__ import annotations

from contextlib import suppress

import aiohttp
import anyio
from aiohttp import WSMsgType, web

from runner.testing.cluster.control import Cluster
from runner.testing.cluster.problems import Manifest, StatusError, bad_request
from runner.testing.cluster.resources import RESOURCES, Target
from runner.testing.cluster.selectors import parse_selector

_WITHHELD = frozenset({"authorization", "host", "connection", "upgrade", "transfer-encoding", "content-length"})
_OF_ONE_CONNECTION = frozenset({"connection", "transfer-encoding", "content-length"})

Socket = web.WebSocketResponse | aiohttp.ClientWebSocketResponse


async def proxy(request: web.Request, target: Target, cluster: Cluster) -> web.StreamResponse:
    """Serve `services/<scheme>:<name>:<port>/proxy/<path>`."""
    scheme, name, port = _name(target.name)
    service = cluster.read(RESOURCES["services"], target.namespace, name)
    number = _target_port(service, port)
    if number is None or not _has_endpoint(cluster, service):
        raise _unavailable(f'no endpoints available for service "{target.name}"')
    inner = request.rel_url.raw_path.partition("/proxy")[0] + "/proxy"
    uri = request.rel_url.raw_path.removeprefix(inner) or "/"
    query = request.rel_url.raw_query_string
    url = f"{scheme}://127.0.0.1:{number}{uri}{'?' if query else ''}{query}"
    headers = [(key, text) for key, text in request.headers.items() if key.lower() not in _WITHHELD]
    headers.append(("X-Forwarded-Uri", request.rel_url.raw_path))
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        try:
            if request.headers.get("Upgrade", "").lower() == "websocket":
                return await _socket(request, session, url, headers)
            return await _request(request, session, url, headers, inner=inner)
        except aiohttp.ClientError as error:
            raise _unavailable(f"error trying to reach service: {error}") from error


async def _request(
    request: web.Request, session: aiohttp.ClientSession, url: str, headers: list[tuple[str, str]], *, inner: str
) -> web.StreamResponse:
    body = await request.read() or None
    async with session.request(request.method, url, headers=headers, data=body, allow_redirects=False) as answer:
        response = web.StreamResponse(status=answer.status)
        for key, text in answer.headers.items():
            moved = inner + text if key.lower() == "location" and text.startswith("/") else text
            if key.lower() not in _OF_ONE_CONNECTION:
                response.headers.add(key, moved)
        await response.prepare(request)
        async for part in answer.content.iter_any():
            await response.write(part)
        await response.write_eof()
        return response


async def _socket(
    request: web.Request, session: aiohttp.ClientSession, url: str, headers: list[tuple[str, str]]
) -> web.StreamResponse:
    offered = [word.strip() for word in request.headers.get("Sec-WebSocket-Protocol", "").split(",") if word.strip()]
    plain = [(key, text) for key, text in headers if not key.lower().startswith("sec-websocket-")]
    async with session.ws_connect(url, headers=plain, protocols=offered) as inner:
        outer = web.WebSocketResponse(protocols=(inner.protocol,) if inner.protocol else ())
        await outer.prepare(request)
        async with anyio.create_task_group() as group:
            group.start_soon(_carry, outer, inner, group.cancel_scope)
            group.start_soon(_carry, inner, outer, group.cancel_scope)
        with suppress(ConnectionError):
            await outer.close(code=inner.close_code or aiohttp.WSCloseCode.OK)
        return outer


async def _carry(source: Socket, target: Socket, whole: anyio.CancelScope) -> None:
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


def _name(text: str) -> tuple[str, str, str]:
    """Split `name`, `name:port` or `scheme:name:port`."""
    match text.split(":"):
        case [name]:
            return "http", name, ""
        case [name, port]:
            return "http", name, port
        case [scheme, name, port] if scheme in {"", "http", "https"}:
            return scheme or "http", name, port
    raise bad_request(f'invalid service request "{text}"')


def _target_port(service: Manifest, port: str) -> int | None:
    for entry in service["spec"].get("ports") or []:
        if port in {"", str(entry["port"]), entry.get("name")}:
            return int(entry.get("targetPort") or entry["port"])
    return None


def _has_endpoint(cluster: Cluster, service: Manifest) -> bool:
    wanted = ",".join(f"{key}={value}" for key, value in (service["spec"].get("selector") or {}).items())
    found = cluster.store.select("pods", service["metadata"]["namespace"], parse_selector("pods", wanted, ""))
    return any((pod.get("status") or {}).get("phase") == "Running" for pod in found)


def _unavailable(message: str) -> StatusError:
    return StatusError(503, "ServiceUnavailable", message)
