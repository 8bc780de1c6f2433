"""Ports of a job's images, from a person's request to a service and back."""

from __future__ import annotations

import aiohttp
import anyio
import pytest
from aiohttp import web

from runner.testing.serving import Listener
from tests.terminal.visitors import Pod, open_person


class Service:
    """A service that remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, dict[str, str], bytes]] = []
        app = web.Application()
        app.router.add_get("/socket", self._socket)
        app.router.add_route("*", "/{path:.*}", self._answer)
        self.listener = Listener(app, unpacks=False)

    async def _answer(self, request: web.Request) -> web.Response:
        headers = {name.lower(): text for name, text in request.headers.items()}
        self.asked.append((request.method, request.raw_path, headers, await request.read()))
        if request.path == "/moved":
            return web.Response(
                status=302, headers={"Location": "/new/place?x=1", "Set-Cookie": "_gitlab_session=evil"}
            )
        return web.Response(status=418, text="short and stout", headers={"X-Pot": "tea"})

    async def _socket(self, request: web.Request) -> web.WebSocketResponse:
        self.asked.append((request.method, request.raw_path, dict(request.headers), b""))
        socket = web.WebSocketResponse(protocols=("talk",))
        await socket.prepare(request)
        async for message in socket:
            if message.data == "bye":
                await socket.close(code=4001)
            elif message.type is aiohttp.WSMsgType.TEXT:
                await socket.send_str(message.data.upper())
            else:
                await socket.send_bytes(message.data[::-1])
        return socket


@pytest.fixture
async def service(pod: Pod) -> Service:
    """A service behind the name `web` and the port `80`."""
    made = Service()
    await made.listener.start()
    await pod.serve("web", "80", made.listener.port)
    return made


async def test_request_passes_with_its_body_and_without_secrets(pod: Pod, service: Service) -> None:
    """Method, path, query, body and headers; status, headers and body back. No credentials on either side."""
    async with open_person() as person:
        person.session.open(pod)
        status, headers, body = await person.fetch(
            "proxy/web/80/a%2Fb/c?x=%20y",
            method="PUT",
            data=b"water",
            headers={"X-Own": "1", "Cookie": "_gitlab_session=1", "Impersonate-User": "admin"},
        )
    assert (status, headers["X-Pot"], body) == (418, "tea", b"short and stout")
    ((method, path, seen, sent),) = service.asked
    assert (method, path, sent, seen["x-own"]) == ("PUT", "/a%2Fb/c?x=%20y", b"water", "1")
    assert not {"authorization", "cookie", "impersonate-user"} & seen.keys()
    assert "cluster-secret" not in str(headers)
    await service.listener.aclose()


async def test_redirection_leads_to_where_the_person_has_the_service(pod: Pod, service: Service) -> None:
    """The API server's own path does not show, and no cookie of the service becomes GitLab's."""
    async with open_person() as person:
        person.session.open(pod)
        status, headers, _ = await person.fetch("proxy/web/80/moved", allow_redirects=False)
        assert (status, headers["Location"]) == (302, f"{person.session.path}/proxy/web/80/new/place?x=1")
        assert "Set-Cookie" not in headers
    await service.listener.aclose()


async def test_socket_passes_messages_both_ways(pod: Pod, service: Service) -> None:
    """Text stays text, bytes stay bytes, the sub-protocol is the service's choice and so is the end."""
    async with open_person() as person:
        person.session.open(pod)
        url = person.url("proxy/web/80/socket?a=1")
        async with person.http.ws_connect(url, protocols=["none", "talk"], headers=person.headers) as socket:
            assert socket.protocol == "talk"
            with anyio.fail_after(20):
                await socket.send_str("hello")
                assert await socket.receive_str() == "HELLO"
                await socket.send_bytes(b"\x00\x01")
                assert await socket.receive_bytes() == b"\x01\x00"
                await socket.send_str("bye")
                await socket.receive()
            assert socket.close_code == 4001
    assert service.asked[0][1] == "/socket?a=1"
    assert "Authorization" not in service.asked[0][2]
    await service.listener.aclose()


@pytest.mark.parametrize(
    "path",
    [
        "proxy/web/81/",
        "proxy/db/80/",
        "proxy/web/80",
        "proxy/web/80/../../../secrets",
        "proxy/web/80/%2e%2e/%2e%2e/secrets",
        "proxy/web/80/..%2f..%2fsecrets",
        "proxy/web/80/x/..",
    ],
)
async def test_request_is_not_found_when_it_leads_nowhere(pod: Pod, service: Service, path: str) -> None:
    """Unknown names and ports, and paths that would leave the service for the rest of the API."""
    async with open_person() as person:
        person.session.open(pod)
        assert (await person.fetch(path))[0] == 404
    assert service.asked == []
    await service.listener.aclose()


async def test_request_is_refused_without_the_clusters_words(pod: Pod, service: Service) -> None:
    """Before there is a place, without rights, when the service is away, when the containers are not ready."""
    async with open_person() as person:
        assert await person.status("proxy/web/80/") == 503
        assert await person.status("proxy/web/80/", Authorization="x") == 401
        person.session.open(pod)
        pod.cluster.forbid("get", "services/proxy")
        assert (await person.fetch("proxy/web/80/"))[::2] == (502, b"Bad Gateway")
        pod.cluster.allow_all()
        await service.listener.aclose()
        assert (await person.fetch("proxy/web/80/"))[::2] == (503, b"Service Unavailable")
        pod.refuses = True
        assert await person.status("proxy/web/80/") == 503
    assert service.asked == []
