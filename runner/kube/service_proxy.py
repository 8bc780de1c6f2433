"""A port of a Service, reached through the API server.

Law: what a service answers passes as it is, whatever its status; what the API server itself refuses becomes a
KubeError, so that nobody outside reads its words. The caller's headers are its own affair: here only the cluster's
credentials are added, and nothing of them comes back. A path cannot leave the service's own.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote

import orjson

from runner.kube.errors import error_from_answer
from runner.kube.resources import resource_path
from runner.kube.transport import Request

if TYPE_CHECKING:
    import aiohttp

    from runner.kube.client import KubeClient
    from runner.kube.transport import ByteStream

OPEN_TIMEOUT = 60.0
"""Seconds for a service to take a WebSocket."""

IDLE_TIMEOUT = 300.0
"""Seconds of silence after which an answer is given up."""

_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_REFUSAL_BYTES = 64 * 1024


class ServicePathError(ValueError):
    """A path that would lead out of the service's own."""


@dataclass(frozen=True, slots=True)
class ServiceAnswer:
    """The head of a service's answer, and its body as it comes."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: AsyncIterator[bytes]


class ServicePort:
    """One port of one Service. Safe for concurrent use."""

    def __init__(self, client: KubeClient, namespace: str, service: str, *, port: int, scheme: str = "http") -> None:
        self._client = client
        self._subject = f"proxy of services {namespace}/{service}:{port}"
        self._path = resource_path("services", namespace, f"{scheme}:{service}:{port}", "proxy")

    @property
    def path(self) -> str:
        """Where the API server has the port: what it puts before the paths in a service's redirections."""
        return self._path

    @asynccontextmanager
    async def fetch(
        self,
        method: str,
        uri: str,
        *,
        headers: Sequence[tuple[str, str]] = (),
        body: AsyncIterable[bytes] | None = None,
    ) -> AsyncIterator[ServiceAnswer]:
        """Ask the service; `uri` is a path without its first slash, and a query, both as they are on the wire.

        Raises KubeError when the API server refuses or does not reach the service, ServicePathError for a bad path.
        """
        request = self._request(method, uri)
        async with self._client.transport.forward(request, headers=headers, body=body, idle_timeout=IDLE_TIMEOUT) as (
            answer,
            body_stream,
        ):
            first = await _without_refusal(answer, body_stream, request)
            yield ServiceAnswer(answer.status, tuple(answer.headers.items()), _body(body_stream, first))

    async def open_socket(
        self, uri: str, *, headers: Sequence[tuple[str, str]] = (), protocols: Sequence[str] = ()
    ) -> aiohttp.ClientWebSocketResponse:
        """Upgrade to a WebSocket with the service; the caller closes it. Raises as `fetch` does."""
        request = self._request("GET", uri)
        return await self._client.transport.forward_socket(request, headers=headers, protocols=protocols)

    def _request(self, method: str, uri: str) -> Request:
        path, _, query = uri.partition("?")
        # Decoded once, as the API server does: behind a `..` lies the rest of its API, with our rights.
        if any(segment in {".", ".."} for segment in unquote(path).replace("\\", "/").split("/")):
            raise ServicePathError("A path with . or .. does not lead to a service.")
        return Request(
            verb=_VERBS.get(method, "get"),
            resource="services/proxy",
            subject=self._subject,
            path=f"{self._path}/{path}" + (f"?{query}" if query else ""),
            method=method,
            timeout=OPEN_TIMEOUT,
        )


async def _without_refusal(answer: aiohttp.ClientResponse, stream: ByteStream, request: Request) -> bytes:
    """Raise KubeError when the answer is a Status of the API server; else return what was read of the body."""
    if answer.status < 400 or answer.content_type != "application/json":
        return b""
    read = b""
    while len(read) < _REFUSAL_BYTES and (part := await stream.receive()):
        read += part
    try:
        status = orjson.loads(read)
    except orjson.JSONDecodeError:
        return read
    if isinstance(status, dict) and status.get("kind") == "Status" and status.get("apiVersion") == "v1":
        raise error_from_answer(answer.status, read, subject=request.sentence)
    return read


async def _body(stream: ByteStream, first: bytes) -> AsyncIterator[bytes]:
    if first:
        yield first
    while part := await stream.receive():
        yield part
