"""A scripted API server: it knows nothing, and does what a test's fault rules say."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from runner.kube.client import KubeClient
from runner.kube.retries import RetryPolicy
from runner.kube.transport import Connection
from runner.testing.faults import Faults
from runner.testing.serving import Listener


async def _unknown(request: web.Request) -> web.Response:
    status = {"kind": "Status", "status": "Failure", "reason": "NotFound", "message": "not scripted", "code": 404}
    return web.json_response(status, status=404)


@pytest.fixture
def faults() -> Faults:
    """The rules of the scripted server, and a record of what it was asked."""
    return Faults()


@pytest.fixture
async def listener(faults: Faults) -> AsyncIterator[Listener]:
    """The scripted server's socket."""
    app = web.Application(middlewares=[faults.middleware])
    app.router.add_route("*", "/{path:.*}", _unknown)
    listener = Listener(app)
    await listener.start()
    yield listener
    faults.clear()
    await listener.aclose()


@pytest.fixture
async def client(listener: Listener) -> AsyncIterator[KubeClient]:
    """A client of the scripted server, with pauses too short to notice."""
    client = KubeClient(Connection(host=listener.url), retry=RetryPolicy(limit=3, backoff_min=0.001, backoff_max=0.002))
    yield client
    await client.aclose()
