"""Faults do to a client what their names say, and nothing to the requests that they are not about."""

from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web

from runner.testing.faults import (
    ANY,
    Action,
    CommitThenDrop,
    CutResponse,
    DropRequest,
    FaultRule,
    Faults,
    Garbage,
    Hold,
    Reply,
)
from runner.testing.serving import Listener


class Counter:
    """An application that counts what reached it and can stream."""

    def __init__(self) -> None:
        self.faults = Faults()
        self.effects: list[str] = []
        app = web.Application(middlewares=[self.faults.middleware])
        app.router.add_route("*", "/add/{name}", self._add)
        app.router.add_get("/stream", self._stream)
        app.router.add_get("/socket", self._socket)
        self.listener = Listener(app)

    async def _add(self, request: web.Request) -> web.Response:
        self.effects.append(request.match_info["name"])
        return web.Response(text="added")

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        answer.content_length = 30
        await answer.prepare(request)
        for _ in range(3):
            await answer.write(b"0123456789")
        return answer

    async def _socket(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_bytes(b"a" * 10)
        await socket.send_bytes(b"b" * 10)
        await socket.close()
        return socket


@pytest.fixture
async def counter() -> AsyncIterator[Counter]:
    """A listening counter."""
    served = Counter()
    await served.listener.start()
    yield served
    await served.listener.aclose()


@pytest.fixture
async def client(counter: Counter) -> AsyncIterator[aiohttp.ClientSession]:
    """An HTTP client of the counter."""
    async with aiohttp.ClientSession(counter.listener.url) as session:
        yield session


async def test_reply_answers_in_place_of_the_application_and_then_no_more(
    counter: Counter, client: aiohttp.ClientSession
) -> None:
    """A rule with one turn answers once, with its status, headers and body, and the effect does not happen."""
    counter.faults.add(FaultRule("POST", r"^/add/a$", Reply(503, {"Retry-After": "7"}, b"later")))
    async with client.post("/add/a", data=b"x") as first:
        assert (first.status, first.headers["Retry-After"], await first.read()) == (503, "7", b"later")
    async with client.post("/add/a", data=b"x") as second:
        assert (second.status, await second.read()) == (200, b"added")
    assert counter.effects == ["a"]


@pytest.mark.parametrize(
    ("rule", "statuses"),
    [
        pytest.param(FaultRule("PUT", "/add", Reply(500)), [200, 200, 200], id="other-method"),
        pytest.param(FaultRule(ANY, "/other", Reply(500)), [200, 200, 200], id="other-path"),
        pytest.param(FaultRule(ANY, "/add", Reply(500), times=2), [500, 500, 200], id="two-turns"),
        pytest.param(FaultRule("POST", "/add", Reply(500), skip=1), [200, 500, 200], id="after-one"),
        pytest.param(FaultRule("POST", "/add", Reply(500), times=None), [500, 500, 500], id="for-ever"),
        pytest.param(FaultRule("POST", "watch=true", Reply(500), times=None), [500, 500, 500], id="in-the-query"),
        pytest.param(
            FaultRule("POST", "/add/a$", Reply(500), times=None), [500, 500, 500], id="end-of-path-with-query"
        ),
    ],
)
async def test_rule_catches_the_requests_it_is_about(
    counter: Counter, client: aiohttp.ClientSession, rule: FaultRule, statuses: list[int]
) -> None:
    """Method, path with or without the query, skip and times decide which requests are hit."""
    counter.faults.add(rule)
    assert [(await client.post("/add/a?watch=true")).status for _ in statuses] == statuses


@pytest.mark.parametrize(
    ("action", "effects"),
    [pytest.param(DropRequest(), [], id="before"), pytest.param(CommitThenDrop(), ["a"], id="after-the-effect")],
)
async def test_connection_is_cut_before_or_after_the_effect(
    counter: Counter, client: aiohttp.ClientSession, action: Action, effects: list[str]
) -> None:
    """Both look the same to the client; only one of them had its effect, and the record has no status."""
    counter.faults.add(FaultRule("POST", "/add", action))
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await client.post("/add/a", data=b"x")
    assert counter.effects == effects
    assert [entry.status for entry in counter.faults.requests] == [None]


async def _read_all(answer: aiohttp.ClientResponse, into: bytearray) -> None:
    while data := await answer.content.readany():
        into += data


@pytest.mark.parametrize("after", [0, 4, 10, 15])
async def test_response_is_cut_after_so_many_bytes(counter: Counter, client: aiohttp.ClientSession, after: int) -> None:
    """The client gets the head and exactly that much of the body."""
    counter.faults.add(FaultRule("GET", "/stream", CutResponse(after)))
    received = bytearray()
    async with client.get("/stream") as answer:
        assert answer.status == 200
        with pytest.raises(aiohttp.ClientPayloadError):
            await _read_all(answer, received)
    assert bytes(received) == (b"0123456789" * 3)[:after]


async def test_websocket_is_cut_after_so_many_bytes(counter: Counter, client: aiohttp.ClientSession) -> None:
    """The first frame (2 bytes of header, 10 of data) arrives, the second is cut in the middle."""
    counter.faults.add(FaultRule("GET", "/socket", CutResponse(15)))
    async with client.ws_connect("/socket") as socket:
        assert (await socket.receive()).data == b"a" * 10
        assert (await socket.receive()).type in {aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.CLOSING}
        assert socket.close_code == aiohttp.WSCloseCode.ABNORMAL_CLOSURE


async def test_cut_that_was_not_reached_leaves_the_connection_as_it_was(
    counter: Counter, client: aiohttp.ClientSession
) -> None:
    """A response shorter than the cut passes, and the next one on the same connection is not counted with it."""
    counter.faults.add(FaultRule("POST", "/add", CutResponse(6)))
    for _ in range(2):
        async with client.post("/add/a") as answer:
            assert await answer.read() == b"added"
    assert len({entry.peer for entry in counter.faults.requests}) == 1


async def test_garbage_keeps_the_effect_and_spoils_the_body(counter: Counter, client: aiohttp.ClientSession) -> None:
    """The handler runs; what comes back is a page of HTML with the true status."""
    counter.faults.add(FaultRule("POST", "/add", Garbage()))
    async with client.post("/add/a") as answer:
        assert (answer.status, answer.content_type) == (200, "text/html")
    assert counter.effects == ["a"]


@pytest.mark.parametrize(("after_effect", "effects"), [(False, []), (True, ["a"])], ids=["before", "after"])
async def test_hold_keeps_the_client_waiting_until_released(
    counter: Counter, client: aiohttp.ClientSession, after_effect: bool, effects: list[str]
) -> None:
    """The request is held on the side of the effect that was asked for, and goes on when released."""
    hold = Hold(after_effect=after_effect)
    counter.faults.add(FaultRule("POST", "/add", hold))
    with pytest.raises(TimeoutError):
        await client.post("/add/a", timeout=aiohttp.ClientTimeout(total=0.05))
    await hold.reached()
    assert counter.effects == effects
    counter.faults.add(FaultRule("POST", "/add", hold))
    hold.release()
    assert (await client.post("/add/b")).status == 200
    assert counter.effects[-1] == "b"


async def test_requests_are_recorded_with_body_and_status(counter: Counter, client: aiohttp.ClientSession) -> None:
    """The record holds what was asked and what was answered, so a test can read the conversation."""
    await client.put("/add/a?x=1", data=b"body", headers={"JOB-TOKEN": "t"})
    await client.get("/nothing")
    (first,) = await counter.faults.wait_seen("PUT", "/add/a")
    assert (first.method, first.path, dict(first.query), first.body, first.status) == (
        "PUT",
        "/add/a",
        {"x": "1"},
        b"body",
        200,
    )
    assert first.headers["job-token"] == "t"
    assert [(entry.path, entry.status) for entry in counter.faults.seen(ANY, "^/nothing")] == [("/nothing", 404)]


async def test_outage_refuses_and_restore_serves_again_on_the_same_port(
    counter: Counter, client: aiohttp.ClientSession
) -> None:
    """During an outage the port refuses, afterwards the same URL works."""
    assert (await client.post("/add/a")).status == 200
    await counter.listener.outage()
    with pytest.raises(aiohttp.ClientConnectionError):
        await client.post("/add/b")
    with pytest.raises(aiohttp.ClientConnectorError):
        await client.post("/add/c")
    await counter.listener.restore()
    assert (await client.post("/add/d")).status == 200
    assert counter.effects == ["a", "d"]
