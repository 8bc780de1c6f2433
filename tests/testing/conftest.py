"""A client of the embedded Kubernetes that knows the wire and nothing of the code under test."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import aiohttp
import anyio
import orjson
import pytest

from runner.testing.kubelets import Kubelet, ScriptedKubelet
from runner.testing.kubernetes import KubernetesServer

V5 = "v5.channel.k8s.io"
V4 = "v4.channel.k8s.io"


class Stream:
    """A WebSocket to exec or attach: channels are gathered as they are asked for."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.frames: list[bytes] = []
        self.channels: dict[int, bytes] = {}

    async def send(self, data: bytes, *, channel: int = 0) -> None:
        """Send one frame."""
        await self.socket.send_bytes(bytes((channel,)) + data)

    async def command(self, text: str) -> None:
        """Send one command line to an agent."""
        await self.send(f"{len(text)} {text}\n".encode())

    async def end_input(self) -> None:
        """Half-close the input."""
        await self.socket.send_bytes(b"\xff\x00")

    async def step(self) -> bool:
        """Take one frame; false at the end."""
        message = await self.socket.receive()
        if message.type is not aiohttp.WSMsgType.BINARY:
            return False
        self.frames.append(message.data)
        channel = message.data[0]
        self.channels[channel] = self.channels.get(channel, b"") + message.data[1:]
        return True

    async def until(self, channel: int, wanted: bytes, *, timeout: float = 10.0) -> bytes:
        """Read until a channel holds these bytes; return all of that channel."""
        with anyio.move_on_after(timeout):
            while wanted not in self.channels.get(channel, b""):
                if not await self.step():
                    break
            else:
                return self.channels[channel]
        raise AssertionError(f"No {wanted!r} on channel {channel}: {str(self.channels)[:2000]}")

    async def status(self, *, timeout: float = 10.0) -> dict[str, Any]:
        """Read to the end and return the Status on channel 3."""
        with anyio.fail_after(timeout):
            while await self.step():
                pass
        found: dict[str, Any] = orjson.loads(self.channels[3])
        return found


class Api:
    """Plain requests to the API server."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self.session = session

    async def ask(
        self, method: str, path: str, body: object = None, *, kind: str = "application/json", **query: str
    ) -> tuple[int, Any]:
        """Return status and JSON of one request."""
        data = None if body is None else orjson.dumps(body)
        async with self.session.request(
            method, path, data=data, params=query, headers={"Content-Type": kind}
        ) as answer:
            return answer.status, orjson.loads(await answer.read())

    async def create(self, manifest: dict[str, Any], resource: str = "pods", namespace: str = "default") -> Any:
        """Create an object and return it as stored."""
        status, created = await self.ask("POST", f"/api/v1/namespaces/{namespace}/{resource}", manifest)
        assert status == 201, created
        return created

    @asynccontextmanager
    async def stream(
        self, pod: str, what: str, *, protocols: tuple[str, ...] = (V5, V4), **query: Any
    ) -> AsyncIterator[Stream]:
        """Open exec or attach with all output."""
        query = {"stdin": "true", "stdout": "true", "stderr": "true", **query}
        path = f"/api/v1/namespaces/default/pods/{pod}/{what}"
        parameters = [
            (key, one) for key, value in query.items() for one in ([value] if isinstance(value, str) else value)
        ]
        async with self.session.ws_connect(path, protocols=protocols, params=parameters, max_msg_size=0) as socket:
            yield Stream(socket)

    async def watch(self, path: str, **query: str) -> AsyncIterator[dict[str, Any]]:
        """Yield the events of a watch."""
        async with self.session.get(path, params={"watch": "true", **query}) as answer:
            assert answer.status == 200
            async for line in answer.content:
                yield orjson.loads(line)

    async def phase(self, pod: str, wanted: str, *, timeout: float = 10.0) -> dict[str, Any]:
        """Wait until a pod is in a phase; return it."""
        return await self.pod_until(pod, lambda manifest: manifest["status"].get("phase") == wanted, timeout=timeout)

    async def pod_until(
        self, pod: str, reached: Callable[[dict[str, Any]], bool], *, timeout: float = 10.0
    ) -> dict[str, Any]:
        """Wait until a pod satisfies a predicate; return it."""
        last: dict[str, Any] = {}
        with anyio.move_on_after(timeout):
            selector = f"metadata.name={pod}"
            events = self.watch("/api/v1/namespaces/default/pods", fieldSelector=selector)
            async for event in events:
                last = event["object"]
                if event["type"] != "DELETED" and reached(last):
                    await events.aclose()  # type: ignore[attr-defined]  # an async generator
                    return last
        raise AssertionError(f"Pod {pod} never came there, its last status was {last.get('status')}")


def pod(name: str = "job-1", **spec: Any) -> dict[str, Any]:
    """Return a pod with a build and a helper container; `spec` replaces parts of its spec."""
    containers = [{"name": name, "image": "busybox:1", "stdin": True} for name in ("build", "helper")]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {"restartPolicy": "Never", "containers": containers, **spec},
    }


@pytest.fixture
def kubelet() -> Kubelet:
    """What runs the pods: every one runs and every stage succeeds."""
    return ScriptedKubelet()


@pytest.fixture
async def cluster(kubelet: Kubelet) -> AsyncIterator[KubernetesServer]:
    """A running server, closed afterwards."""
    server = KubernetesServer(kubelet)
    await server.start()
    yield server
    await server.aclose()


@pytest.fixture
async def api(cluster: KubernetesServer) -> AsyncIterator[Api]:
    """A client of `cluster`."""
    async with aiohttp.ClientSession(cluster.url) as session:
        yield Api(session)


@pytest.fixture
def make_pod() -> Callable[..., dict[str, Any]]:
    """The factory of pods."""
    return pod


@pytest.fixture
def client() -> Callable[[KubernetesServer], AbstractAsyncContextManager[Api]]:
    """Open a client of any server; it presents the server's token and trusts its authority."""

    @asynccontextmanager
    async def opened(server: KubernetesServer) -> AsyncIterator[Api]:
        headers = {"Authorization": f"Bearer {server.token}"} if server.token else {}
        connector = aiohttp.TCPConnector(ssl=server.client_context())
        async with aiohttp.ClientSession(server.url, headers=headers, connector=connector) as session:
            yield Api(session)

    return opened
