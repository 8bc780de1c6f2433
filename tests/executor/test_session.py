"""The conversation with a pod's agent, over a real attach that is cut at will."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import anyio
import pytest
from aiohttp import web

from runner.executor import session as session_module
from runner.executor.session import PodSession
from runner.kube.attach import open_attach
from runner.kube.channels import STDERR, STDOUT, V5
from runner.kube.client import KubeClient
from runner.testing.faults import Action, CutResponse, FaultRule, Handler, Reply
from runner.testing.kubelets import Fate, Mishap, Script, ScriptedKubelet, ScriptedPod
from runner.testing.kubernetes import KubernetesServer
from runner.trace.journal import ExitEntry, NoteEntry
from tests.executor.parts import Sink

NUMBERED = tuple((0.0, f"line-{number:05}\n".encode() * 100) for number in range(1000))
"""1.1 MB, so that the window and its acknowledgements matter."""
ALL = b"".join(data for _, data in NUMBERED)


@asynccontextmanager
async def talking(client: KubeClient, sink: Sink, **over: float) -> AsyncIterator[PodSession]:
    """A session that runs beside the test."""

    def connect() -> Any:
        return open_attach(client, "default", "job-pod", container="helper", stdin=True, stdout=True, stderr=True)

    session = PodSession(connect, sink, job_id=1, **over)
    session.attach_log()
    async with anyio.create_task_group() as group:
        group.start_soon(session.run)
        with anyio.fail_after(30):
            yield session
        group.cancel_scope.cancel()


@pytest.fixture
async def pod(server: KubernetesServer, kubelet: ScriptedKubelet, manifest: dict[str, Any]) -> ScriptedPod:
    """A pod that runs, whose `prepare_script` prints numbered lines and ends with 3."""
    kubelet.queue(Fate(stages={"prepare_script": Script(output=NUMBERED, exit_code=3)}))
    server.create("pods", manifest)
    (pod,) = await kubelet.wait_pods()
    await pod.running.wait()
    return pod


async def run(session: PodSession, sink: Sink, attempt: str = "prepare_script-1") -> ExitEntry:
    """Run one attempt of a stage in the helper."""
    assert await session.begin(attempt, "echo script\n" * 5000)
    session.run_here(attempt)
    assert await session.wait_for(lambda: sink.result(attempt) is not None)
    result = sink.result(attempt)
    assert isinstance(result, ExitEntry)
    return result


async def test_a_stage_runs(client: KubeClient, sink: Sink, pod: ScriptedPod) -> None:
    """The script arrives whole, the output too, then the code; notes stand in the journal in their order."""
    sink.earlier = (NoteEntry(1, "plain", 0, 1.0, "earlier"),)
    async with talking(client, sink) as session:
        assert (await run(session, sink)).code == 3
    assert sink.raw == ALL
    assert pod.scripts["prepare_script-1"] == b"echo script\n" * 5000
    assert isinstance(sink.entries[0], NoteEntry)
    assert session.connections == 1
    assert session.refused == ""


@pytest.mark.parametrize("after_bytes", [0, 40, 100, 1_000, 100_000])
async def test_a_stage_runs_when_connections_are_cut(
    server: KubernetesServer, client: KubeClient, sink: Sink, pod: ScriptedPod, after_bytes: int
) -> None:
    """Connections end after so many bytes, three times: the same bytes, the same entries, one start."""
    server.faults.add(FaultRule("GET", "/attach", CutResponse(after_bytes), times=3))
    async with talking(client, sink) as session:
        assert (await run(session, sink)).code == 3
        assert session.connections >= 2
    assert sink.raw == ALL
    assert pod.attempts == ("prepare_script-1",)


async def test_a_stage_runs_when_streams_are_cut_all_the_time(
    server: KubernetesServer, client: KubeClient, sink: Sink, pod: ScriptedPod
) -> None:
    """Every few portions the connection is lost; progress goes on where it stood."""
    async with talking(client, sink) as session:

        async def cut() -> None:
            for offset in range(200_000, len(ALL), 200_000):
                await session.wait_for(partial(passed, offset))
                server.cut_streams()

        def passed(offset: int) -> bool:
            return sink.offset > offset

        async with anyio.create_task_group() as group:
            group.start_soon(cut)
            assert (await run(session, sink)).code == 3
            group.cancel_scope.cancel()
    assert sink.raw == ALL


async def test_a_stage_is_stopped(
    server: KubernetesServer, kubelet: ScriptedKubelet, client: KubeClient, manifest: dict[str, Any], sink: Sink
) -> None:
    """A stop ends it with the code of TERM."""
    kubelet.queue(Fate(stages={"get_sources": Script(until=anyio.Event())}))
    server.create("pods", manifest)
    (pod,) = await kubelet.wait_pods()
    await pod.running.wait()
    async with talking(client, sink) as session:
        assert await session.begin("get_sources-1", "true\n")
        session.run_here("get_sources-1")
        assert await session.wait_for(lambda: session.has_run("get_sources-1"))
        session.stop_here("get_sources-1", 1.0)
        await session.wait_for(lambda: sink.result("get_sources-1") is not None)
    result = sink.result("get_sources-1")
    assert isinstance(result, ExitEntry)
    assert result.code == 143


async def test_the_right_to_attach_is_missing(
    server: KubernetesServer, client: KubeClient, sink: Sink, pod: ScriptedPod
) -> None:
    """The conversation ends and says why; nobody waits."""
    server.forbid("get", "pods/attach")
    async with talking(client, sink) as session:
        assert not await session.begin("prepare_script-1", "true\n")
    assert session.ended
    assert "does not allow attaching to the pod" in session.refused
    assert 'resource "pods/attach"' in session.refused


async def _deaf(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Take an attach and say what nobody waits for, until the client goes."""
    del handler
    socket = web.WebSocketResponse(protocols=(V5,))
    await socket.prepare(request)
    await socket.send_bytes(bytes((STDERR,)) + b"sync of an earlier connection\n")
    async for _ in socket:
        pass
    return socket


def _agent(answer: Callable[[list[str]], bytes]) -> Action:
    """An agent that syncs, and answers other commands with lines of its own."""

    async def serve(request: web.Request, handler: Handler) -> web.StreamResponse:
        del handler
        socket = web.WebSocketResponse(protocols=(V5,))
        await socket.prepare(request)
        async for message in socket:
            for line in message.data[1:].decode().splitlines():
                _, *words = line.split(" ") if line else ("", "")
                if words[0] == "resume":
                    await socket.send_bytes(bytes((STDERR,)) + f"\nsync {words[1]}\n".encode())
                    await socket.send_bytes(bytes((STDOUT,)) + f"{words[1]}\n".encode())
                elif said := answer(words):
                    await socket.send_bytes(bytes((STDERR,)) + said)
        return socket

    return serve


async def test_an_agent_that_falls_silent_is_connected_to_anew(
    server: KubernetesServer, client: KubeClient, sink: Sink, pod: ScriptedPod, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that brings nothing, not even an answer to a ping, is as good as lost; one that does is kept."""
    monkeypatch.setattr(session_module, "PING_INTERVAL", 0.02)
    monkeypatch.setattr(session_module, "SILENCE_TIMEOUT", 0.1)
    pings: list[str] = []

    def answer(words: list[str]) -> bytes:
        pings.extend(words[1:] if words[0] == "ping" else [])
        return f"pong {words[1]}\n".encode() if words[0] == "ping" and len(pings) < 20 else b""

    server.faults.add(FaultRule("GET", "/attach", _agent(answer)))
    async with talking(client, sink) as session:
        assert (await run(session, sink)).code == 3
        assert session.connections == 2
    assert len(pings) >= 20


async def test_a_script_that_the_pod_cannot_store_ends_the_conversation(
    server: KubernetesServer, client: KubeClient, sink: Sink, pod: ScriptedPod
) -> None:
    """It is sent again some times, for a part may have been lost; then the agent's own words are told."""
    sealed: list[str] = []

    def answer(words: list[str]) -> bytes:
        sealed.extend(words[1:2] if words[0] == "seal" else [])
        return b"agent: seal failed: No space left\nbad prepare_script-1\n" if words[0] == "seal" else b""

    server.faults.add(FaultRule("GET", "/attach", _agent(answer), times=None))
    async with talking(client, sink) as session:
        assert not await session.begin("prepare_script-1", "true\n")
    assert len(sealed) == session_module.MAX_REFUSALS + 1
    assert "could not store the script prepare_script-1: agent: seal failed: No space left" in session.refused


@pytest.mark.parametrize("line", [b"j 7 log 0 1.000000", b"j 0 nonsense"], ids=["a line is missing", "no entry"])
async def test_a_journal_that_makes_no_sense_is_asked_for_again(
    server: KubernetesServer, client: KubeClient, sink: Sink, pod: ScriptedPod, line: bytes
) -> None:
    """What is not understood ends the connection, not the conversation."""
    server.faults.add(FaultRule("GET", "/attach", _agent(lambda _: line + b"\n")))
    async with talking(client, sink) as session:
        assert (await run(session, sink)).code == 3
        assert session.connections == 2
    assert sink.raw == ALL


async def test_an_agent_that_hears_nothing_is_given_up(
    server: KubernetesServer, client: KubeClient, sink: Sink, pod: ScriptedPod
) -> None:
    """Connections that bring no answer are made anew, but not for ever."""
    server.faults.add(FaultRule("GET", "/attach", _deaf, times=None))
    async with talking(client, sink, sync_timeout=0.02, deaf_timeout=0.05) as session:
        assert not await session.begin("prepare_script-1", "true\n")
    assert session.connections >= 2
    assert "does not answer any more" in session.refused


async def test_an_agent_that_answers_again_is_not_given_up(
    server: KubernetesServer, client: KubeClient, sink: Sink, pod: ScriptedPod
) -> None:
    """An answer makes up for the connections before it that brought none."""
    server.faults.add(FaultRule("GET", "/attach", _deaf, times=2))
    async with talking(client, sink, sync_timeout=0.2, deaf_timeout=30) as session:
        assert (await run(session, sink)).code == 3
        assert session.connections >= 3
    assert (sink.raw, session.refused) == (ALL, "")


async def test_a_busy_server_is_asked_again(
    server: KubernetesServer, client: KubeClient, sink: Sink, pod: ScriptedPod
) -> None:
    """Errors that may pass do not end the conversation."""
    server.faults.add(FaultRule("GET", "/attach", Reply(500)), FaultRule("GET", "/attach", Reply(429)))
    async with talking(client, sink) as session:
        assert (await run(session, sink)).code == 3


async def test_the_end_of_the_conversation_lets_everybody_go(client: KubeClient, sink: Sink, pod: ScriptedPod) -> None:
    """Whoever waits for an agent that will never answer is told so."""
    async with talking(client, sink) as session:
        await session.wait_for(lambda: session.connected)
        await pod.strike(Mishap.HELPER_DIED)
        async with anyio.create_task_group() as group:
            group.start_soon(session.begin, "prepare_script-1", "true\n")
            session.end("the pod has ended")
    assert sink.result("prepare_script-1") is None
