"""Attach and exec streams, and everything a connection can do to them."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

import anyio
import anyio.lowlevel
import pytest
from aiohttp import WSMsgType, web

from runner.kube.attach import AttachStream, ExecStream, StreamLostError, open_attach, open_exec
from runner.kube.channels import ERROR, STDERR, STDOUT, V4, V5, ExitStatus, Frame
from runner.kube.client import KubeClient
from runner.kube.errors import (
    BadRequestError,
    ForbiddenError,
    KubeError,
    NotFoundError,
    UnauthorizedError,
    UnavailableError,
)
from runner.kube.transport import HANDSHAKES, Connection
from runner.testing.faults import Action, CutResponse, FaultRule, Faults, Handler, Hold, Reply
from runner.testing.serving import Listener

SUCCESS = bytes((ERROR,)) + b'{"status":"Success"}'
FAILURE = bytes((ERROR,)) + (
    b'{"status":"Failure","reason":"NonZeroExitCode","message":"m",'
    b'"details":{"causes":[{"reason":"ExitCode","message":"3"}]}}'
)

Talk = Callable[[web.WebSocketResponse], Awaitable[None]]


def speaking(talk: Talk, *, protocols: tuple[str, ...] = (V5, V4), autoping: bool = True) -> Action:
    """A server that upgrades and then talks."""

    async def serve(request: web.Request, handler: Handler) -> web.StreamResponse:
        del handler
        socket = web.WebSocketResponse(protocols=protocols, autoping=autoping, max_msg_size=0)
        await socket.prepare(request)
        await talk(socket)
        return socket

    return serve


def sending(*messages: bytes, code: int = 1000) -> Talk:
    """Send messages and close."""

    async def talk(socket: web.WebSocketResponse) -> None:
        for message in messages:
            await socket.send_bytes(message)
        await socket.close(code=code)

    return talk


def exec_rule(action: Action, times: int | None = 1) -> FaultRule:
    """What happens to execs."""
    return FaultRule("GET", "/pods/x/exec$", action, times)


def attach_rule(action: Action, times: int | None = 1) -> FaultRule:
    """What happens to attaches."""
    return FaultRule("GET", "/pods/x/attach$", action, times)


async def frames_of(stream: ExecStream) -> list[Frame]:
    """All frames to the end."""
    frames = []
    while (frame := await stream.receive()) is not None:
        frames.append(frame)
    return frames


async def send_for_ever(stream: AttachStream) -> None:
    """Send until it fails."""
    with anyio.fail_after(5):
        while True:
            await stream.send(b"x" * 100_000)
            await anyio.lowlevel.checkpoint()


async def receive_in_steps(stream: AttachStream) -> None:
    """Give up waiting again and again."""
    with anyio.fail_after(5):
        while True:
            with anyio.move_on_after(0.005):
                await stream.receive()


async def test_exec_gives_frames_and_the_exit_status(faults: Faults, client: KubeClient) -> None:
    """Empty messages are no frames, and the status comes from the error channel."""
    faults.add(exec_rule(speaking(sending(b"\x01", b"\x01out", b"\x02err", FAILURE))))
    async with open_exec(client, "ci", "x", container="build", command=["sh", "-c", "a b"]) as stream:
        assert await frames_of(stream) == [Frame(STDOUT, b"out"), Frame(STDERR, b"err")]
        assert (stream.exit_status, stream.drained, stream.protocol) == (
            ExitStatus(3, "NonZeroExitCode", "m"),
            True,
            V5,
        )
        assert await stream.receive() is None
    (request,) = faults.requests
    assert request.path == "/api/v1/namespaces/ci/pods/x/exec"
    assert list(request.query.items()) == [
        ("container", "build"),
        ("stdout", "true"),
        ("stderr", "true"),
        ("command", "sh"),
        ("command", "-c"),
        ("command", "a b"),
    ]
    assert request.headers["Sec-WebSocket-Protocol"] == f"{V5},{V4}"


async def test_a_tty_has_no_stderr(faults: Faults, client: KubeClient) -> None:
    """Kubernetes refuses both together."""
    faults.add(exec_rule(speaking(sending(SUCCESS))))
    async with open_exec(client, "ci", "x", container="c", command=["sh"], stdin=True, tty=True) as stream:
        assert await stream.wait() == ExitStatus(0)
    assert dict(faults.requests[0].query) == {
        "container": "c",
        "stdin": "true",
        "stdout": "true",
        "tty": "true",
        "command": "sh",
    }


async def test_a_status_in_pieces_is_put_together(faults: Faults, client: KubeClient) -> None:
    """Nothing promises that it comes in one message, or last."""
    pieces = [bytes((ERROR,)) + FAILURE[1:20], bytes((ERROR,)) + FAILURE[20:], b"\x01late"]
    faults.add(exec_rule(speaking(sending(*pieces))))
    async with open_exec(client, "ci", "x", container="c", command=["x"]) as stream:
        assert await frames_of(stream) == [Frame(STDOUT, b"late")]
        assert await stream.wait() == ExitStatus(3, "NonZeroExitCode", "m")


@pytest.mark.parametrize(
    "talk",
    [
        pytest.param(sending(b"\x01out"), id="closed in order, without a status"),
        pytest.param(sending(b"\x01out", code=1011), id="closed with an error"),
        pytest.param(sending(b"\x01out", bytes((ERROR,)) + b'{"status":"Succ', code=1006), id="half a status"),
    ],
)
async def test_exec_without_a_status_is_lost(faults: Faults, client: KubeClient, talk: Talk) -> None:
    """A connection that ends proves nothing."""
    faults.add(exec_rule(speaking(talk)))
    async with open_exec(client, "ci", "x", container="c", command=["x"]) as stream:
        with pytest.raises(StreamLostError, match="ci/x:c"):
            await stream.wait()
        with pytest.raises(StreamLostError):
            await stream.receive()


async def test_exec_cut_at_any_byte_never_succeeds_without_proof(faults: Faults, client: KubeClient) -> None:
    """A success needs the whole status; what came before it is output, never more."""
    messages = (b"\x01" + b"a" * 10, b"\x02b", SUCCESS)
    whole = sum(2 + len(message) for message in messages)
    for cut in range(whole + 1):
        faults.add(exec_rule(_cut(speaking(sending(*messages)), cut)))
        async with open_exec(client, "ci", "x", container="c", command=["x"]) as stream:
            try:
                status = await stream.wait()
            except StreamLostError:
                assert cut < whole, cut
            else:
                assert (cut, status.code, stream.drained) == (whole, 0, False)


def _cut(action: Action, after_bytes: int) -> Action:
    async def serve(request: web.Request, handler: Handler) -> web.StreamResponse:
        del handler

        async def talk(request: web.Request) -> web.StreamResponse:
            return await action(request, talk)

        return await CutResponse(after_bytes)(request, talk)

    return serve


async def test_a_text_message_ends_the_stream(faults: Faults, client: KubeClient) -> None:
    """No channel protocol has one, so something else is at the other end."""

    async def talk(socket: web.WebSocketResponse) -> None:
        await socket.send_str("hello")
        await socket.receive()

    faults.add(exec_rule(speaking(talk)))
    async with open_exec(client, "ci", "x", container="c", command=["x"]) as stream:
        with pytest.raises(StreamLostError, match="text message") as caught:
            await stream.wait()
    assert caught.value.reason == "ProtocolError"


async def test_a_huge_message_is_taken(faults: Faults, client: KubeClient) -> None:
    """A server may send more than 32 KiB at a time."""
    faults.add(exec_rule(speaking(sending(b"\x01" + b"\xff" * 5_000_000, SUCCESS))))
    async with open_exec(client, "ci", "x", container="c", command=["x"]) as stream:
        (frame,) = await frames_of(stream)
        assert (len(frame.data), stream.exit_status) == (5_000_000, ExitStatus(0))


@pytest.mark.parametrize(
    ("protocols", "closed", "last"),
    [pytest.param((V5, V4), True, b"\xff\x00", id="v5"), pytest.param((V4,), False, b"\x00b", id="v4")],
)
async def test_stdin_is_closed_where_the_protocol_can(
    faults: Faults, client: KubeClient, protocols: tuple[str, ...], closed: bool, last: bytes
) -> None:
    """With v4 nothing is sent, and the caller knows."""
    seen: list[bytes] = []

    async def talk(socket: web.WebSocketResponse) -> None:
        while not seen or seen[-1] != last:
            seen.append((await socket.receive()).data)
        await sending(SUCCESS)(socket)

    faults.add(exec_rule(speaking(talk, protocols=protocols)))
    async with open_exec(client, "ci", "x", container="c", command=["cat"], stdin=True) as stream:
        await stream.send(b"a" * 32768 + b"b")
        assert await stream.close_stdin() is closed
        assert await stream.wait() == ExitStatus(0)
    assert seen[:2] == [b"\x00" + b"a" * 32768, b"\x00b"]


async def test_attach_sends_and_receives(faults: Faults, client: KubeClient) -> None:
    """Both ways at once; a status at its end is a farewell, not a success."""

    async def talk(socket: web.WebSocketResponse) -> None:
        message = await socket.receive()
        await sending(b"\x01" + message.data[1:].upper(), FAILURE)(socket)

    faults.add(attach_rule(speaking(talk)))
    async with open_attach(client, "ci", "x", container="helper", stdin=True, stdout=True, stderr=True) as stream:
        await stream.send(b"resume\n")
        assert await stream.receive() == Frame(STDOUT, b"RESUME\n")
        with pytest.raises(StreamLostError, match="the server said: m") as caught:
            await stream.receive()
    assert caught.value.farewell == ExitStatus(3, "NonZeroExitCode", "m")
    assert dict(faults.requests[0].query) == {
        "container": "helper",
        "stdin": "true",
        "stdout": "true",
        "stderr": "true",
    }


async def test_attach_cut_at_any_byte_is_lost(faults: Faults, client: KubeClient) -> None:
    """Whole frames arrive, then the loss is told."""
    messages = (b"\x01" + b"a" * 5, b"\x01" + b"b" * 5)
    for cut in range(16):
        faults.add(attach_rule(_cut(speaking(sending(*messages)), cut)))
        received = b""
        async with open_attach(client, "ci", "x", container="c", stdout=True) as stream:
            with suppress(StreamLostError):
                while True:
                    received += (await stream.receive()).data
        assert received == (b"a" * 5 * (cut >= 8) + b"b" * 5 * (cut >= 16)), cut


async def test_a_connection_that_breaks_is_told_to_the_sender(
    faults: Faults, listener: Listener, client: KubeClient
) -> None:
    """Sending to nobody is a loss, at the latest when the system knows."""

    async def talk(socket: web.WebSocketResponse) -> None:
        await socket.receive()

    faults.add(attach_rule(speaking(talk)))
    async with open_attach(client, "ci", "x", container="c", stdin=True) as stream:
        listener.disconnect()
        with pytest.raises(StreamLostError, match="broke"):
            await send_for_ever(stream)


class Quiet:
    """A server that says nothing, and counts pings; it answers them if told so."""

    def __init__(self, *, pongs: bool) -> None:
        self.pings = 0
        self.messages: list[bytes] = []
        self._pongs = pongs
        self.changed = anyio.Event()

    async def __call__(self, socket: web.WebSocketResponse) -> None:
        """Listen to the end."""
        async for message in socket:
            if message.type is WSMsgType.PING:
                self.pings += 1
                if self._pongs:
                    await socket.pong(message.data)
            elif message.type is WSMsgType.BINARY:
                self.messages.append(message.data)
            self.changed.set()
            self.changed = anyio.Event()


async def test_a_dead_peer_is_noticed_while_waiting(faults: Faults, client: KubeClient) -> None:
    """Four intervals of silence, with a ping after each of the first three."""
    quiet = Quiet(pongs=False)
    faults.add(attach_rule(speaking(quiet, autoping=False)))
    started = time.monotonic()
    async with open_attach(client, "ci", "x", container="c", stdout=True, keepalive_interval=0.05) as stream:
        with pytest.raises(StreamLostError, match="silent") as caught:
            await stream.receive()
    assert caught.value.reason == "PeerSilent"
    assert 0.2 <= time.monotonic() - started < 2
    assert quiet.pings == 3


async def test_silence_adds_up_over_waits_that_were_given_up(faults: Faults, client: KubeClient) -> None:
    """A caller that waits in small steps notices a dead peer all the same."""
    faults.add(attach_rule(speaking(Quiet(pongs=False), autoping=False)))
    async with open_attach(client, "ci", "x", container="c", stdout=True, keepalive_interval=0.02) as stream:
        with pytest.raises(StreamLostError, match="silent"):
            await receive_in_steps(stream)


async def test_a_process_that_was_stopped_is_not_told_that_its_peer_is_dead(faults: Faults, client: KubeClient) -> None:
    """Nobody listened while it was stopped, so there was no silence to count."""
    go = anyio.Event()

    async def talk(socket: web.WebSocketResponse) -> None:
        await go.wait()
        await sending(b"\x01here", SUCCESS)(socket)

    faults.add(exec_rule(speaking(talk)))
    async with (
        open_exec(client, "ci", "x", container="c", command=["x"], keepalive_interval=0.03) as stream,
        anyio.create_task_group() as group,
    ):

        async def stop() -> None:
            time.sleep(0.25)  # noqa: ASYNC251 - the whole process stands still, as under SIGSTOP
            go.set()

        group.start_soon(stop)
        assert await stream.receive() == Frame(STDOUT, b"here")


async def test_a_quiet_peer_that_answers_stays_connected(faults: Faults, client: KubeClient) -> None:
    """Pongs are signs of life; every twentieth ping comes with an empty message, which a kubelet counts as traffic."""
    quiet = Quiet(pongs=True)
    faults.add(attach_rule(speaking(quiet, autoping=False)))
    async with (
        open_attach(client, "ci", "x", container="c", stdout=True, keepalive_interval=0.01) as stream,
        anyio.create_task_group() as group,
    ):
        group.start_soon(stream.receive)
        with anyio.fail_after(10):
            while quiet.pings < 21:
                await quiet.changed.wait()
        group.cancel_scope.cancel()
    assert quiet.messages == [b""]


async def test_a_servers_ping_is_answered(faults: Faults, client: KubeClient) -> None:
    """With its own bytes, as WebSockets ask."""
    answers: list[bytes] = []

    async def talk(socket: web.WebSocketResponse) -> None:
        await socket.ping(b"there?")
        answers.append((await socket.receive()).data)
        await sending(SUCCESS)(socket)

    faults.add(exec_rule(speaking(talk, autoping=False)))
    async with open_exec(client, "ci", "x", container="c", command=["x"]) as stream:
        await stream.wait()
    assert answers == [b"there?"]


async def test_a_slow_consumer_stops_the_sender_and_loses_nothing(faults: Faults, client: KubeClient) -> None:
    """Bytes are not piled up here, and a consumer that is slow is not taken for a peer that is dead."""
    chunk, chunks = b"\x01" + b"z" * 32768, 2000
    sent = 0
    progress = anyio.Event()

    async def talk(socket: web.WebSocketResponse) -> None:
        nonlocal sent, progress
        for _ in range(chunks):
            await socket.send_bytes(chunk)
            sent += 1
            progress.set()
            progress = anyio.Event()
        await sending(SUCCESS)(socket)

    faults.add(exec_rule(speaking(talk)))
    async with open_exec(client, "ci", "x", container="c", command=["x"], keepalive_interval=0.01) as stream:
        moving = True
        while moving:
            # The sender has stopped when it has not moved for ten keepalive intervals.
            with anyio.move_on_after(0.1) as stopped:
                await progress.wait()
            moving = not stopped.cancelled_caught
        assert sent * len(chunk) < 32_000_000
        received = 0
        while (frame := await stream.receive()) is not None:
            received += len(frame.data)
        assert (received, stream.exit_status) == (chunks * 32768, ExitStatus(0))


async def test_a_cancelled_wait_loses_no_frame(faults: Faults, client: KubeClient) -> None:
    """Whenever the caller gives up, the next wait goes on where the last one stood."""

    async def talk(socket: web.WebSocketResponse) -> None:
        for number in range(300):
            await socket.send_bytes(b"\x01" + number.to_bytes(2))
            await anyio.lowlevel.checkpoint()
        await sending(SUCCESS)(socket)

    faults.add(exec_rule(speaking(talk)))
    numbers: list[int] = []
    async with open_exec(client, "ci", "x", container="c", command=["x"]) as stream:
        while stream.exit_status is None:
            with anyio.move_on_after(0.0001):
                while (frame := await stream.receive()) is not None:
                    numbers.append(int.from_bytes(frame.data))
    assert numbers == list(range(300))


@pytest.mark.parametrize(
    ("status", "reason", "kind"),
    [
        (400, "BadRequest", BadRequestError),
        (401, "Unauthorized", UnauthorizedError),
        (403, "Forbidden", ForbiddenError),
        (404, "NotFound", NotFoundError),
        (500, "InternalError", UnavailableError),
    ],
)
async def test_a_refused_upgrade_keeps_the_servers_words(
    faults: Faults, client: KubeClient, status: int, reason: str, kind: type[KubeError]
) -> None:
    """A WebSocket library throws them away."""
    body = b'{"kind":"Status","reason":"%s","message":"container nope is not valid"}' % reason.encode()
    faults.add(attach_rule(Reply(status, {}, body)))
    with pytest.raises(KubeError, match="attach of pods ci/x: container nope is not valid") as caught:
        async with open_attach(client, "ci", "x", container="nope", stdin=True):
            raise AssertionError("it was refused")
    assert (type(caught.value), caught.value.reason) == (kind, reason)


async def test_a_missing_right_names_both_verbs(faults: Faults, client: KubeClient) -> None:
    """A Role made for other clients has `create` alone, and its author must learn what we need."""
    faults.add(exec_rule(Reply(403, {}, b'{"reason":"Forbidden","message":"no"}')))
    with pytest.raises(ForbiddenError, match="needs the verbs get and create on pods/exec"):
        async with open_exec(client, "ci", "x", container="c", command=["x"]):
            raise AssertionError("it was refused")


async def test_a_proxy_that_cannot_upgrade_is_told(faults: Faults, client: KubeClient) -> None:
    """A 200 without an upgrade is no stream."""
    faults.add(attach_rule(Reply(200, {}, b"hello")))
    with pytest.raises(UnavailableError, match="did not upgrade"):
        async with open_attach(client, "ci", "x", container="c", stdin=True):
            raise AssertionError("nothing was opened")


async def test_a_server_without_our_protocols_is_refused(faults: Faults, client: KubeClient) -> None:
    """Bytes without channels could not be told apart."""

    async def talk(socket: web.WebSocketResponse) -> None:
        await socket.receive()

    faults.add(attach_rule(speaking(talk, protocols=())))
    with pytest.raises(KubeError, match="speaks none of"):
        async with open_attach(client, "ci", "x", container="c", stdin=True):
            raise AssertionError("nothing was opened")


async def test_a_silent_handshake_is_given_up(faults: Faults, client: KubeClient) -> None:
    """Opening has a bound."""
    faults.add(attach_rule(Hold()))
    with pytest.raises(UnavailableError, match="did not answer in time"):
        async with open_attach(client, "ci", "x", container="c", stdin=True, open_timeout=0.05):
            raise AssertionError("nothing was opened")


async def test_handshakes_are_limited(faults: Faults, client: KubeClient) -> None:
    """A thousand jobs that attach at once come in turns."""
    hold = Hold()
    faults.add(attach_rule(hold, times=None))

    async def attach() -> None:
        with pytest.raises(NotFoundError):
            async with open_attach(client, "ci", "x", container="c", stdin=True):
                raise AssertionError("it was refused")

    async with anyio.create_task_group() as group:
        for _ in range(HANDSHAKES + 30):
            group.start_soon(attach)
        await faults.wait_seen("GET", "/attach$", count=HANDSHAKES)
        # One that had no turn would have come by now: all of ours are started and held.
        with pytest.raises(TimeoutError):
            await faults.wait_seen("GET", "/attach$", count=HANDSHAKES + 1, timeout=0.1)
        hold.release()
    assert len(faults.seen("GET", "/attach$")) == HANDSHAKES + 30


async def test_leaving_closes_the_connection_also_when_cancelled(faults: Faults, client: KubeClient) -> None:
    """The server learns of it at once, so that nobody else waits behind a reader that is gone."""
    closed = anyio.Event()

    async def talk(socket: web.WebSocketResponse) -> None:
        await socket.send_bytes(b"\x01here")
        async for _ in socket:
            pass
        closed.set()

    faults.add(attach_rule(speaking(talk)))
    with anyio.CancelScope() as scope:
        async with open_attach(client, "ci", "x", container="c", stdin=True, stdout=True) as stream:
            assert await stream.receive() == Frame(STDOUT, b"here")
            scope.cancel()
            await stream.receive()
    with anyio.fail_after(5):
        await closed.wait()


async def test_a_server_that_says_how_it_ended_and_stays_is_left(
    faults: Faults, client: KubeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The status is proof; that the output is whole is not."""
    monkeypatch.setattr("runner.kube.attach._FAREWELL_TIMEOUT", 0.05)

    async def talk(socket: web.WebSocketResponse) -> None:
        await socket.send_bytes(SUCCESS)
        await socket.receive()

    faults.add(exec_rule(speaking(talk)))
    async with open_exec(client, "ci", "x", container="c", command=["x"]) as stream:
        assert (await stream.wait(), stream.drained) == (ExitStatus(0), False)


async def test_a_peer_that_takes_nothing_is_given_up(
    faults: Faults, client: KubeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sending has a bound."""
    monkeypatch.setattr("runner.kube.attach.SEND_TIMEOUT", 0.1)
    release = anyio.Event()

    async def talk(socket: web.WebSocketResponse) -> None:
        await release.wait()

    faults.add(attach_rule(speaking(talk)))
    async with open_attach(client, "ci", "x", container="c", stdin=True) as stream:
        with pytest.raises(StreamLostError, match="took no bytes") as caught:
            await send_for_ever(stream)
        release.set()
    assert caught.value.reason == "SendTimeout"


async def test_a_send_that_is_given_up_does_not_cancel_the_next(faults: Faults, client: KubeClient) -> None:
    """A full connection hands aiohttp's writers a cancellation that is not theirs: it is told as a loss."""
    release = anyio.Event()

    async def talk(socket: web.WebSocketResponse) -> None:
        await release.wait()

    faults.add(attach_rule(speaking(talk)))
    async with open_attach(client, "ci", "x", container="c", stdin=True) as stream:
        with anyio.move_on_after(0.2) as scope:
            while True:
                await stream.send(b"x" * 1_000_000)
        assert scope.cancelled_caught
        with pytest.raises(StreamLostError, match="broke while sending"):
            await stream.send(b"x" * 1_000_000)
        release.set()


@pytest.mark.slow
async def test_closing_a_dead_connection_is_bounded(faults: Faults, client: KubeClient) -> None:
    """A peer that never answers the goodbye is left."""
    release = anyio.Event()

    async def talk(socket: web.WebSocketResponse) -> None:
        await release.wait()

    faults.add(attach_rule(speaking(talk)))
    started = time.monotonic()
    async with open_attach(client, "ci", "x", container="c", stdin=True) as stream:
        await stream.send(b"line\n")
    release.set()
    assert time.monotonic() - started < 5


async def test_an_upgrade_is_observed(faults: Faults, listener: Listener) -> None:
    """As a get of the subresource, with its status."""
    seen: list[tuple[str, str, int]] = []
    client = KubeClient(
        Connection(host=listener.url), observe=lambda verb, resource, status, _: seen.append((verb, resource, status))
    )
    faults.add(exec_rule(speaking(sending(SUCCESS))))
    async with open_exec(client, "ci", "x", container="c", command=["x"]) as stream:
        await stream.wait()
    with pytest.raises(NotFoundError):
        async with open_attach(client, "ci", "x", container="c", stdin=True):
            raise AssertionError("it was refused")
    await client.aclose()
    assert seen == [("get", "pods/exec", 101), ("get", "pods/attach", 404)]
