"""Connections that are given up amid their beginning: each socket is closed by us, none by the garbage collector."""

from __future__ import annotations

import asyncio
import gc
import shutil
import socket
import ssl
import threading
import warnings
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager

import anyio
import anyio.to_thread
import pytest

from runner.kube.attach import open_attach, open_exec
from runner.kube.client import KubeClient
from runner.kube.transport import Connection
from runner.testing.cluster.certificates import Certificates

pytestmark = pytest.mark.skipif(not shutil.which("openssl"), reason="certificates are made with openssl")

Stall = Callable[[socket.socket, ssl.SSLContext], socket.socket]
Use = Callable[[KubeClient], Coroutine[None, None, None]]

TIMEOUT = 10.0


@pytest.fixture(scope="module")
def certificates() -> Iterator[Certificates]:
    """An authority, and a server that it vouches for."""
    made = Certificates()
    yield made
    made.remove()


def amid_the_handshake(peer: socket.socket, context: ssl.SSLContext) -> socket.socket:
    """Take the client's hello and answer nothing."""
    del context
    peer.recv(1)
    return peer


def amid_the_upgrade(peer: socket.socket, context: ssl.SSLContext) -> socket.socket:
    """Take the request and answer nothing."""
    secure = context.wrap_socket(peer, server_side=True)
    secure.recv(65536)
    return secure


def amid_the_refusal(peer: socket.socket, context: ssl.SSLContext) -> socket.socket:
    """Answer with the beginning of a refusal."""
    secure = amid_the_upgrade(peer, context)
    secure.sendall(b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 100\r\n\r\n{")
    return secure


@contextmanager
def stalling_server(stall: Stall, context: ssl.SSLContext) -> Iterator[tuple[int, threading.Event]]:
    """A server that takes one connection, stalls, and keeps the connection open: its port, and whether it stalls."""
    stalled, over = threading.Event(), threading.Event()

    def serve(listener: socket.socket) -> None:
        peer, _ = listener.accept()
        peer.settimeout(TIMEOUT)
        with stall(peer, context):
            stalled.set()
            over.wait(TIMEOUT)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(TIMEOUT)
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        try:
            yield listener.getsockname()[1], stalled
        finally:
            over.set()
            thread.join()


async def attach(client: KubeClient) -> None:
    """Open an attach."""
    async with open_attach(client, "ci", "x", container="build", stdin=True):
        pass


async def execute(client: KubeClient) -> None:
    """Open an exec."""
    async with open_exec(client, "ci", "x", container="build", command=["true"]):
        pass


async def read(client: KubeClient) -> None:
    """Send a plain request."""
    await client.read("pods", "ci", "x")


async def give_up(use: Use, connection: Connection, stalled: threading.Event) -> None:
    """Cancel a request when its server has come to where it stalls, and close the client."""
    client = KubeClient(connection)
    async with anyio.create_task_group() as requests:
        requests.start_soon(use, client)
        await anyio.to_thread.run_sync(stalled.wait, TIMEOUT)
        requests.cancel_scope.cancel()
    await client.aclose()


@pytest.mark.parametrize("use", [attach, execute, read])
@pytest.mark.parametrize("stall", [amid_the_handshake, amid_the_upgrade, amid_the_refusal])
def test_a_connection_is_closed_when_its_opening_is_cancelled(
    use: Use, stall: Stall, certificates: Certificates
) -> None:
    """Nothing is left when the event loop ends, though the peer never says goodbye."""
    gc.collect()
    with stalling_server(stall, certificates.server_context()) as (port, stalled):
        connection = Connection(host=f"https://127.0.0.1:{port}", tls=certificates.client_context())
        with warnings.catch_warnings(record=True) as left:
            warnings.simplefilter("always")
            asyncio.run(give_up(use, connection, stalled))
            gc.collect()
    assert stalled.is_set()
    assert [str(warning.message) for warning in left] == []
