"""A session server before a pod of the embedded Kubernetes, and a person who knows the wire alone."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import anyio
from yarl import URL

from runner.kube.client import KubeClient
from runner.kube.errors import KubeError
from runner.kube.exec import Terminal, open_terminal
from runner.kube.service_proxy import ServicePort
from runner.terminal.server import SessionServer
from runner.terminal.session import Session
from runner.testing.kubernetes import KubernetesServer

POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "job", "labels": {"app": "job"}},
    "spec": {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 0,
        "containers": [{"name": "build", "image": "any", "command": ["sleep", "600"]}],
    },
}


@dataclass
class Pod:
    """The place of the job: a pod that runs, and the ports of its services."""

    client: KubeClient
    cluster: KubernetesServer
    ports: dict[tuple[str, str], int] = field(default_factory=dict)
    refuses: bool = False

    def terminal(self) -> AbstractAsyncContextManager[Terminal]:
        """Open a shell in the pod, or in one that is not there."""
        return open_terminal(self.client, "default", "none" if self.refuses else "job", container="build")

    async def service_port(self, name: str, port: str) -> ServicePort | None:
        """The way to a port that `serve` was told of."""
        if self.refuses:
            raise KubeError("Not ready.")
        number = self.ports.get((name, port))
        return None if number is None else ServicePort(self.client, "default", name, port=number)

    async def serve(self, name: str, port: str, number: int) -> None:
        """Make a Service for a port of this machine, where the pod's processes are too."""
        self.ports[name, port] = number
        spec = {"selector": {"app": "job"}, "ports": [{"name": "p", "port": number, "targetPort": number}]}
        service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}
        await self.client.create("services", "default", service)


@dataclass
class Visitor:
    """Somebody whom GitLab brings to a session: it has the address, the certificate and the secret."""

    offer: Mapping[str, str]
    http: aiohttp.ClientSession

    @property
    def headers(self) -> dict[str, str]:
        """What proves that GitLab sent us."""
        return {"Authorization": self.offer["authorization"]}

    def url(self, path: str) -> str:
        """An address of the session."""
        return f"{self.offer['url']}/{path}"

    async def status(self, path: str, *, method: str = "GET", **headers: str) -> int:
        """Ask for something and see how it is answered."""
        async with self.http.request(method, self.url(path), headers={**self.headers, **headers}) as answer:
            return answer.status

    async def fetch(self, path: str, **over: Any) -> tuple[int, Mapping[str, str], bytes]:
        """Ask for something: status, headers and body."""
        headers = {**self.headers, **over.pop("headers", {})}
        url = URL(self.url(path), encoded=True)
        async with self.http.request(over.pop("method", "GET"), url, headers=headers, **over) as answer:
            return answer.status, answer.headers, await answer.read()

    @asynccontextmanager
    async def terminal(self, protocol: str = "terminal.gitlab.com") -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        """Open the terminal."""
        async with self.http.ws_connect(self.url("exec"), protocols=[protocol], headers=self.headers) as socket:
            yield socket


@dataclass
class Person(Visitor):
    """A visitor of a session that the test holds from within."""

    session: Session


@asynccontextmanager
async def open_visitor(offer: Mapping[str, str]) -> AsyncIterator[Visitor]:
    """Come to a session as GitLab tells of it."""
    trust = ssl.create_default_context(cadata=offer["certificate"])
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trust)) as http:
        yield Visitor(offer, http)


async def read_until(socket: aiohttp.ClientWebSocketResponse, wanted: bytes) -> bytes:
    """Read what a terminal prints until it has printed this."""
    seen = bytearray()
    looked_at = 0
    with anyio.fail_after(20):
        while seen.find(wanted, looked_at) < 0:
            looked_at = max(0, len(seen) - len(wanted))
            message = await socket.receive()
            assert message.type is aiohttp.WSMsgType.BINARY, (message, seen[-1000:])
            seen += message.data
    return bytes(seen)


@asynccontextmanager
async def open_person(*, place_timeout: float = 20.0, listen_address: str = "127.0.0.1:0") -> AsyncIterator[Person]:
    """Start a session server with one session, whose job has come, and somebody who knows it."""
    server = SessionServer(listen_address, session_timeout=60.0, place_timeout=place_timeout)
    async with anyio.create_task_group() as group:
        await group.start(server.serve)
        session = server.new_session()
        server.admit(session)
        async with open_visitor(session.offer) as visitor:
            yield Person(visitor.offer, visitor.http, session)
        with anyio.fail_after(20):
            await session.aclose()
        group.cancel_scope.cancel()
