"""Those who reach the session server's port and know little: what they get, and for how long."""

from __future__ import annotations

import gzip
import ssl
from urllib.parse import urlsplit

import anyio
import pytest
from anyio.abc import ByteStream
from anyio.streams.tls import TLSStream
from structlog.testing import capture_logs

from runner.terminal import server
from tests.terminal.test_forwarding import Service, service
from tests.terminal.visitors import Person, Pod, open_person

__all__ = ["service"]


async def connected(person: Person) -> ByteStream:
    """A connection of bytes with the session server."""
    place = urlsplit(person.offer["url"])
    assert place.hostname
    assert place.port
    trust = ssl.create_default_context(cadata=person.offer["certificate"])
    tcp = await anyio.connect_tcp(place.hostname, place.port)
    return await TLSStream.wrap(tcp, hostname=place.hostname, ssl_context=trust, standard_compatible=False)


async def all_of(stream: ByteStream) -> bytes:
    """What comes until the other side ends the connection."""
    seen = b""
    with anyio.fail_after(10):
        while True:
            try:
                seen += await stream.receive()
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                return seen


@pytest.mark.parametrize("sent", [b"", b"GET /session/", b"GET / HTTP/1.1\r\nHost: x\r\nX-Long: "])
async def test_connection_is_ended_when_no_request_comes(sent: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever says nothing, or speaks slowly, does not stay."""
    monkeypatch.setattr(server, "HEAD_TIMEOUT", 0.2)
    async with open_person() as person, await connected(person) as stream:
        if sent:
            await stream.send(sent)
        assert await all_of(stream) == b""


@pytest.mark.parametrize("secret", [b"\xff\xfe", "\u00e9".encode(), b"", b"Bearer x"])
async def test_secret_is_refused_when_it_is_none(secret: bytes) -> None:
    """Bytes that are no text are a wrong secret like any other."""
    async with open_person() as person, await connected(person) as stream:
        path = urlsplit(person.offer["url"]).path.encode()
        with capture_logs() as logs:
            await stream.send(
                b"GET %s/exec HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: %s\r\n\r\n" % (path, secret)
            )
            answer = await all_of(stream)
    assert answer.startswith(b"HTTP/1.1 401 ")
    assert [line["event"] for line in logs] == ["a session was asked for without its secret"]
    assert person.offer["authorization"] not in f"{logs}{answer!r}"


@pytest.mark.parametrize(
    "target",
    [
        b"/",
        b"/session/",
        b"/session//exec",
        b"//session/x/exec",
        b"/session/..%2f/exec",
        b"/SESSION/x/exec",
        b"http://other/session/x/exec",
    ],
)
async def test_path_is_not_found_when_it_is_no_session(target: bytes) -> None:
    """A bare 404, that of a session which is no more."""
    async with open_person() as person, await connected(person) as stream:
        await stream.send(b"OPTIONS %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % target)
        head, _, body = (await all_of(stream)).partition(b"\r\n\r\n")
    assert (head.split(b"\r\n")[0], body) == (b"HTTP/1.1 404 Not Found", b"Not Found")


@pytest.mark.parametrize(
    "smuggled",
    [
        b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcd",
        b"Transfer-Encoding: xchunked\r\n\r\nabcd",
        b"X-Own: a\r\n b: c\r\n\r\n",
    ],
    ids=["length and chunks", "two lengths", "unknown coding", "folded"],
)
async def test_request_with_two_readings_reaches_no_service(pod: Pod, service: Service, smuggled: bytes) -> None:
    """What two servers could read in two ways is refused by the first."""
    async with open_person() as person, await connected(person) as stream:
        person.session.open(pod)
        path, secret = urlsplit(person.url("proxy/web/80/x")).path, person.offer["authorization"]
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: {secret}\r\n".encode()
        await stream.send(head + smuggled)
        answer = await all_of(stream)
    assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.0 400 "))
    assert service.asked == []
    await service.listener.aclose()


async def test_packed_body_passes_as_it_is(pod: Pod, service: Service) -> None:
    """Its length is that of the packed bytes: unpacked on the way, the service would get half of something."""
    packed = gzip.compress(b"water " * 1000)
    async with open_person() as person:
        person.session.open(pod)
        answer = await person.fetch("proxy/web/80/x", method="PUT", data=packed, headers={"Content-Encoding": "gzip"})
    assert answer[0] == 418
    assert (service.asked[0][2]["content-encoding"], service.asked[0][3]) == ("gzip", packed)
    await service.listener.aclose()


async def test_huge_message_ends_the_terminal_alone(pod: Pod) -> None:
    """More than a message may have is not kept; the next terminal opens."""
    async with open_person() as person:
        person.session.open(pod)
        async with person.terminal() as terminal:
            await terminal.send_bytes(bytes(server.MESSAGE_BYTES + 1))
            with anyio.fail_after(10):
                while not terminal.closed:
                    await terminal.receive()
        with anyio.fail_after(10):
            await person.session.until_disconnected()
        async with person.terminal() as again:
            assert not again.closed
