"""The coordinator against a GitLab on a real socket: long polls, lost connections, calls called off."""

import zlib
from collections.abc import AsyncIterator

import anyio
import pytest
from aiohttp import web
from anyio.abc import ByteStream

from runner.gitlab.coordinator import Coordinator
from runner.gitlab.errors import (
    CoordinatorError,
    CoordinatorProtocolError,
    CoordinatorUnavailableError,
)
from runner.gitlab.features import ClientInfo
from runner.gitlab.replies import JobAnswer, JobReply
from runner.gitlab.tls import TlsFiles
from runner.gitlab.transport import ClientPool, Timeouts
from runner.testing.faults import (
    Action,
    CommitThenDrop,
    CutResponse,
    DropRequest,
    FaultRule,
    Garbage,
    Handler,
    Hold,
    Reply,
)
from runner.testing.gitlab import GitLabServer, JobRecord
from runner.trace.answers import NETWORK_FAILED, PatchResult, UpdateResult
from runner.trace.patching import Done, Patch, Touch, TraceSession, Update, Wait

INFO = ClientInfo(version="19.4.0")
REQUEST = "/jobs/request$"
TRACE = "/trace$"
UPDATE = r"/jobs/\d+$"


@pytest.fixture
async def gitlab() -> AsyncIterator[GitLabServer]:
    """A GitLab whose runners are sound."""
    async with GitLabServer(update_interval=0.001) as server:
        yield server


@pytest.fixture
async def coordinator(gitlab: GitLabServer) -> AsyncIterator[Coordinator]:
    """The coordinator of its runner; it waits as little as it can."""
    made = Coordinator(gitlab.url, gitlab.token, info=INFO, system_id="s_0f1e2d3c4b5a", fraction=lambda: 0.0)
    yield made
    await made.aclose()


async def take(gitlab: GitLabServer, coordinator: Coordinator) -> JobRecord:
    """Queue a job, get it and acknowledge it."""
    record = gitlab.queue()
    reply = await coordinator.request_job()
    assert reply.job is not None
    assert (await coordinator.update_job(reply.job, state="running")).status == 200
    return record


class Caught:
    """What a cancelled question for a job still brought."""

    def __init__(self) -> None:
        self.reply: JobReply | None = None
        self.canceled = False

    async def ask(self, coordinator: Coordinator) -> None:
        """Ask, and keep the answer in the way that a scheduler has to: without another await."""
        try:
            self.reply = await coordinator.request_job()
        except anyio.get_cancelled_exc_class():
            self.canceled = True
            raise


async def test_long_poll_brings_the_job_when_it_is_queued(gitlab: GitLabServer, coordinator: Coordinator) -> None:
    """The question is held, and answered at once when there is a job."""
    assert (await coordinator.request_job()).answer is JobAnswer.NONE
    caught = Caught()
    async with anyio.create_task_group() as group:
        group.start_soon(caught.ask, coordinator)
        await gitlab.faults.wait_seen("POST", REQUEST, count=2)
        record = gitlab.queue(script=["true"])
    assert caught.reply is not None
    assert caught.reply.job is not None
    assert (caught.reply.job.id, caught.reply.long_polled) == (record.id, True)
    assert record.request["system_id"] == "s_0f1e2d3c4b5a"
    assert gitlab.violations == []


async def test_token_that_is_renewed_under_a_held_question_is_no_refusal(
    gitlab: GitLabServer, coordinator: Coordinator
) -> None:
    """GitLab refuses the question with the old token; the next has the new one, and no cursor of the old."""
    await coordinator.request_job()
    hold = Hold()
    gitlab.faults.add(FaultRule("POST", REQUEST, hold))
    caught = Caught()
    async with anyio.create_task_group() as group:
        group.start_soon(caught.ask, coordinator)
        await hold.reached()
        status, answer = gitlab.runners.reset({"token": gitlab.token})
        assert status == 201
        coordinator.renew(answer["token"])
        hold.release()
    assert caught.reply is not None
    assert (caught.reply.answer, caught.reply.healthy) == (JobAnswer.NONE, True)
    record = gitlab.queue(script=["true"])
    reply = await coordinator.request_job()
    assert reply.job is not None
    assert (reply.job.id, record.request["token"]) == (record.id, answer["token"])
    assert "last_update" not in record.request


async def test_twenty_idle_polls_do_not_keep_another_runner_waiting() -> None:
    """Runners share connections and a process, and no idle one costs a busy one its turn."""
    tokens = tuple(f"glrt-{number:020d}" for number in range(21))
    async with GitLabServer(tokens=tokens) as gitlab:
        pool = ClientPool()
        runners = [Coordinator(gitlab.url, token, info=INFO, pool=pool, farewell_timeout=0.0) for token in tokens]
        for runner in runners:
            assert (await runner.request_job()).answer is JobAnswer.NONE
        caught = Caught()
        async with anyio.create_task_group() as group:
            for runner in runners[:20]:
                group.start_soon(runner.request_job)
            await gitlab.faults.wait_seen("POST", REQUEST, count=41)
            record = gitlab.queue(runner=tokens[20])
            with anyio.fail_after(1.0):
                await caught.ask(runners[20])
            group.cancel_scope.cancel()
        await pool.aclose()
    assert caught.reply is not None
    assert caught.reply.job is not None
    assert caught.reply.job.id == record.id


async def test_idle_question_that_is_called_off_ends_at_once_and_takes_no_job(gitlab: GitLabServer) -> None:
    """With no patience left, a shutdown does not wait for the long poll, and GitLab keeps its jobs."""
    coordinator = Coordinator(gitlab.url, gitlab.token, info=INFO, farewell_timeout=0.0)
    await coordinator.request_job()
    caught = Caught()
    async with anyio.create_task_group() as group:
        group.start_soon(caught.ask, coordinator)
        await gitlab.faults.wait_seen("POST", REQUEST, count=2)
        group.cancel_scope.cancel()
    await coordinator.aclose()
    record = gitlab.queue()
    assert (caught.reply, caught.canceled, record.state) == (None, True, "pending")


async def test_job_that_was_handed_out_while_the_question_was_called_off_is_kept(
    gitlab: GitLabServer, coordinator: Coordinator
) -> None:
    """GitLab has given the job away when the cancellation comes: the answer is still taken and returned."""
    hold = Hold(after_effect=True)
    gitlab.faults.add(FaultRule("POST", REQUEST, hold))
    record, caught = gitlab.queue(), Caught()
    async with anyio.create_task_group() as group:
        group.start_soon(caught.ask, coordinator)
        await hold.reached()
        assert record.state == "running"
        group.cancel_scope.cancel()
        # The group's own body is cancelled too, so it must not wait here.
        hold.release()
    assert caught.reply is not None
    assert caught.reply.job is not None
    assert (caught.reply.job.id, caught.canceled) == (record.id, False)


async def test_question_called_off_with_nothing_on_its_way_is_canceled(
    gitlab: GitLabServer, coordinator: Coordinator
) -> None:
    """An answer without a job does not hold up the cancellation."""
    hold = Hold()
    gitlab.faults.add(FaultRule("POST", REQUEST, hold))
    caught = Caught()
    async with anyio.create_task_group() as group:
        group.start_soon(caught.ask, coordinator)
        await hold.reached()
        group.cancel_scope.cancel()
        hold.release()
    assert (caught.reply, caught.canceled) == (None, True)


async def test_answer_that_has_begun_is_read_to_its_end(gitlab: GitLabServer) -> None:
    """With the head of an answer there, even a coordinator without patience waits for the body: it is a job."""
    begun, go_on = anyio.Event(), anyio.Event()

    async def slowly(request: web.Request, handler: Handler) -> web.StreamResponse:
        whole = await handler(request)
        assert isinstance(whole, web.Response)
        assert isinstance(whole.body, bytes)
        answer = web.StreamResponse(status=201)
        answer.content_length = len(whole.body)
        await answer.prepare(request)
        await answer.write(whole.body[:100])
        begun.set()
        await go_on.wait()
        await answer.write(whole.body[100:])
        return answer

    gitlab.faults.add(FaultRule("POST", REQUEST, slowly))
    coordinator = Coordinator(gitlab.url, gitlab.token, info=INFO, farewell_timeout=0.0)
    record, caught = gitlab.queue(), Caught()
    async with anyio.create_task_group() as group:
        group.start_soon(caught.ask, coordinator)
        await begun.wait()
        # The head is in the socket; give the client the loop until it has read it.
        for _ in range(20):
            await anyio.lowlevel.checkpoint()
        group.cancel_scope.cancel()
        go_on.set()
    await coordinator.aclose()
    assert caught.reply is not None
    assert caught.reply.job is not None
    assert caught.reply.job.id == record.id


@pytest.mark.parametrize(
    ("action", "handed_out", "answer", "error"),
    [
        pytest.param(DropRequest(), False, JobAnswer.UNAVAILABLE, CoordinatorUnavailableError, id="dropped-before"),
        pytest.param(CommitThenDrop(), True, JobAnswer.UNAVAILABLE, CoordinatorUnavailableError, id="dropped-after"),
        pytest.param(CutResponse(0), True, JobAnswer.UNAVAILABLE, CoordinatorUnavailableError, id="head-only"),
        pytest.param(CutResponse(500), True, JobAnswer.UNAVAILABLE, CoordinatorUnavailableError, id="half-a-body"),
        pytest.param(Garbage(), True, JobAnswer.GARBAGE, CoordinatorProtocolError, id="html-201"),
    ],
)
async def test_question_for_a_job_that_is_lost_is_not_repeated(
    gitlab: GitLabServer,
    coordinator: Coordinator,
    *,
    action: Action,
    handed_out: bool,
    answer: JobAnswer,
    error: type[CoordinatorError],
) -> None:
    """Whatever happens to the connection, GitLab sees one question, and the next one works."""
    gitlab.faults.add(FaultRule("POST", REQUEST, action))
    record = gitlab.queue()
    reply = await coordinator.request_job()
    assert (reply.answer, type(reply.trouble)) == (answer, error)
    assert isinstance(reply.trouble, CoordinatorProtocolError) or reply.trouble.sent  # type: ignore[union-attr]
    assert len(gitlab.faults.seen("POST", REQUEST)) == 1
    assert (record.state == "running") is handed_out
    again = gitlab.queue() if handed_out else record
    second = await coordinator.request_job()
    assert second.job is not None
    assert second.job.id == again.id


async def test_refused_connection_is_known_not_to_have_been_sent(
    gitlab: GitLabServer, coordinator: Coordinator
) -> None:
    """Only a connection that never stood makes a request surely unsent."""
    await gitlab.outage()
    reply = await coordinator.request_job()
    assert isinstance(reply.trouble, CoordinatorUnavailableError)
    assert (reply.answer, reply.trouble.sent) == (JobAnswer.UNAVAILABLE, False)
    assert str(reply.trouble) == f"GitLab at {gitlab.url} was not reached: connection refused."
    await gitlab.restore()
    assert (await coordinator.request_job()).answer is JobAnswer.NONE


async def test_name_that_does_not_resolve_is_told() -> None:
    """`.invalid` never resolves."""
    coordinator = Coordinator("http://gitlab.invalid", "glrt-x", info=INFO)
    reply = await coordinator.request_job()
    await coordinator.aclose()
    assert str(reply.trouble).startswith("GitLab at http://gitlab.invalid was not reached: ")


async def test_patch_that_was_stored_and_lost_is_found_by_the_next_one(
    gitlab: GitLabServer, coordinator: Coordinator
) -> None:
    """After commit-then-drop GitLab's 416 names the true size, and nothing is doubled."""
    record = await take(gitlab, coordinator)
    gitlab.faults.add(FaultRule("PATCH", TRACE, CommitThenDrop()))
    assert await coordinator.patch_trace(record, start=0, data=b"abc") == PatchResult(status=NETWORK_FAILED)
    again = await coordinator.patch_trace(record, start=0, data=b"abcdef")
    assert (again.status, again.range_end) == (416, 3)
    assert (await coordinator.patch_trace(record, start=3, data=b"def")).status == 202
    assert record.trace == b"abcdef"
    assert len(gitlab.faults.seen("PATCH", TRACE)) == 3


async def test_final_update_that_was_taken_and_lost_counts_once(gitlab: GitLabServer, coordinator: Coordinator) -> None:
    """The repetition of a final update meets a finished job: its 403 with `Job-Status` proves that GitLab knows."""
    record = await take(gitlab, coordinator)
    gitlab.faults.add(FaultRule("PUT", UPDATE, CommitThenDrop()))
    reply = await coordinator.update_job(record, state="success", attempts=2)
    assert reply == UpdateResult(status=403, job_status="success")
    assert (record.state, record.exit_code) == ("success", 0)


@pytest.mark.parametrize("call", ["update", "patch"])
async def test_answer_that_does_not_come_in_time_is_a_failure(call: str) -> None:
    """A server that hangs costs one bounded wait."""
    async with GitLabServer() as gitlab:
        pool = ClientPool(Timeouts(update_timeout=0.05))
        coordinator = Coordinator(gitlab.url, gitlab.token, info=INFO, pool=pool)
        record = await take(gitlab, coordinator)
        gitlab.faults.add(FaultRule("*", rf"/jobs/{record.id}", Hold()))
        if call == "patch":
            reply: UpdateResult = await coordinator.patch_trace(record, start=0, data=b"x")
        else:
            reply = await coordinator.update_job(record, state="running")
        await pool.aclose()
    assert reply.status == NETWORK_FAILED


async def test_request_as_a_whole_is_bounded() -> None:
    """A server that drips a byte now and then does not hold a request for ever."""

    async def drip(request: web.Request, handler: Handler) -> web.StreamResponse:
        answer = web.StreamResponse(status=201)
        await answer.prepare(request)
        while True:
            await answer.write(b" ")
            await anyio.lowlevel.checkpoint()

    async with GitLabServer() as gitlab:
        gitlab.faults.add(FaultRule("POST", REQUEST, drip))
        pool = ClientPool(Timeouts(request_timeout=0.05))
        coordinator = Coordinator(gitlab.url, gitlab.token, info=INFO, pool=pool)
        reply = await coordinator.request_job()
        await pool.aclose()
    assert str(reply.trouble) == f"GitLab at {gitlab.url} did not answer in time."


async def test_what_is_no_http_is_a_protocol_error() -> None:
    """Something else listens at the port."""

    async def grumble(stream: ByteStream) -> None:
        async with stream:
            await stream.receive()
            await stream.send(b"220 mail.example.com ESMTP\r\n")

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.extra(anyio.abc.SocketAttribute.local_port)
    async with listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, grumble)
        coordinator = Coordinator(f"http://127.0.0.1:{port}", "glrt-x", info=INFO)
        reply = await coordinator.request_job()
        await coordinator.aclose()
        group.cancel_scope.cancel()
    assert isinstance(reply.trouble, CoordinatorProtocolError)
    assert "does not speak HTTP" in str(reply.trouble)


async def test_compressed_answers_are_read(gitlab: GitLabServer, coordinator: Coordinator) -> None:
    """A proxy in front of GitLab may compress."""

    async def compress(request: web.Request, handler: Handler) -> web.StreamResponse:
        answer = await handler(request)
        answer.enable_compression(web.ContentCoding.gzip)
        return answer

    gitlab.faults.add(FaultRule("POST", REQUEST, compress))
    gitlab.queue(variables={"BIG": "x" * 3_000_000})
    assert (await coordinator.request_job()).answer is JobAnswer.JOB


async def test_cookies_are_not_kept(gitlab: GitLabServer, coordinator: Coordinator) -> None:
    """A balancer's cookie would tie every runner to one of its servers."""
    gitlab.faults.add(FaultRule("POST", REQUEST, Reply(204, {"Set-Cookie": "server=a; Path=/"})))
    await coordinator.request_job()
    await coordinator.request_job()
    assert [request.headers.get("Cookie") for request in gitlab.requests] == [None, None]


async def test_runners_of_one_gitlab_share_connections_until_they_are_old(gitlab: GitLabServer) -> None:
    """One client per URL and TLS files; after `connection_max_age` a new one, and the old one is closed when idle."""
    now = [0.0]
    pool = ClientPool(Timeouts(connection_max_age=900.0), clock=lambda: now[0])
    first = Coordinator(gitlab.url, gitlab.token, info=INFO, pool=pool)
    second = Coordinator(gitlab.url + "/ci/", gitlab.token, info=INFO, pool=pool)
    apart = Coordinator(gitlab.url, gitlab.token, info=INFO, pool=pool, tls=TlsFiles(ca_file="/nowhere"))
    await first.request_job(long_poll=False)
    await second.request_job(long_poll=False)
    await apart.request_job(long_poll=False)
    now[0] = 900.0
    await first.request_job(long_poll=False)
    await pool.aclose()
    peers = [request.peer for request in gitlab.requests]
    assert peers[0] == peers[1]
    assert len(set(peers)) == 3


async def test_age_of_connections_may_change_and_be_without_bound(gitlab: GitLabServer) -> None:
    """Another `connection_max_age` counts from the next request on; 0 is never."""
    now = [0.0]
    pool = ClientPool(clock=lambda: now[0])
    coordinator = Coordinator(gitlab.url, gitlab.token, info=INFO, pool=pool)
    for moment, age in ((0.0, 900.0), (20.0, 10.0), (1e6, 0.0), (2e6, -1.0), (3e6, 900.0)):
        now[0] = moment
        pool.set_connection_max_age(age)
        await coordinator.request_job(long_poll=False)
    await pool.aclose()
    peers = [request.peer for request in gitlab.requests]
    assert [peers.index(peer) for peer in peers] == [0, 1, 1, 1, 4]


async def deliver(coordinator: Coordinator, record: JobRecord, log: bytes) -> bool:
    """Bring a log and its job's end to GitLab as the manager does, but with a clock that jumps over every wait."""
    session, now = TraceSession(0.0, patch_bytes=1000), 0.0
    checksum = f"crc32:{zlib.crc32(log):08x}"
    session.grew(len(log))
    session.finish("success", retry_limit=20)
    for _ in range(100):
        match session.next_request(now):
            case Patch(start, end):
                reply: UpdateResult = await coordinator.patch_trace(record, start=start, data=log[start:end])
            case Touch():
                reply = await coordinator.update_job(record, state="running", checksum=checksum, size=len(log))
            case Update(state, reason, code):
                reply = await coordinator.update_job(
                    record, state=state, failure_reason=reason, exit_code=code, checksum=checksum, size=len(log)
                )
            case Wait(until):
                now = until
                continue
            case Done(delivered):
                return delivered
        session.receive(reply, now)
    return False


@pytest.mark.parametrize(
    ("method", "path", "action", "times"),
    [
        pytest.param("PATCH", TRACE, DropRequest(), 2, id="patch-dropped"),
        pytest.param("PATCH", TRACE, CommitThenDrop(), 2, id="patch-taken-and-lost"),
        pytest.param("PATCH", TRACE, CutResponse(0), 2, id="patch-answer-cut"),
        pytest.param("PATCH", TRACE, Garbage(status=502), 2, id="patch-taken-and-answered-with-a-page"),
        pytest.param("PATCH", TRACE, Reply(409), 2, id="patch-409"),
        pytest.param("PATCH", TRACE, Reply(429, {"Retry-After": "60"}), 2, id="patch-429"),
        pytest.param("PATCH", TRACE, Reply(500), 5, id="patch-500"),
        pytest.param("PATCH", TRACE, Reply(416), 2, id="patch-416-without-range"),
        pytest.param("PATCH", TRACE, Reply(416, {"Range": "0-7"}), 2, id="patch-416-with-a-wrong-range"),
        pytest.param("PUT", UPDATE, DropRequest(), 2, id="end-dropped"),
        pytest.param("PUT", UPDATE, CommitThenDrop(), 1, id="end-taken-and-lost"),
        pytest.param("PUT", UPDATE, CutResponse(0), 1, id="end-answer-cut"),
        pytest.param("PUT", UPDATE, Reply(202), 5, id="end-202"),
        pytest.param("PUT", UPDATE, Reply(412), 2, id="end-412"),
        pytest.param("PUT", UPDATE, Reply(502), 5, id="end-502"),
    ],
)
async def test_log_and_end_arrive_whole_in_spite_of(
    gitlab: GitLabServer,
    coordinator: Coordinator,
    *,
    method: str,
    path: str,
    action: Action,
    times: int,
) -> None:
    """Client and trace machine together: every byte once, the end once, and no violation."""
    record = await take(gitlab, coordinator)
    log = bytes(range(256)) * 20
    gitlab.faults.add(FaultRule(method, path, action, times=times, skip=2 if method == "PATCH" else 0))
    assert await deliver(coordinator, record, log)
    assert (record.trace == log, record.state) == (True, "success")
    assert gitlab.violations == []


@pytest.mark.parametrize("keep_bytes", [0, 1234])
async def test_log_that_gitlab_lost_is_sent_again(
    gitlab: GitLabServer, coordinator: Coordinator, keep_bytes: int
) -> None:
    """After a failover GitLab has less than it told; the 416 says how much, and the rest comes again."""
    record = await take(gitlab, coordinator)
    log = bytes(range(256)) * 20

    async def lose(request: web.Request, handler: Handler) -> web.StreamResponse:
        record.lose_trace(keep_bytes)
        return await handler(request)

    gitlab.faults.add(FaultRule("PATCH", TRACE, lose, skip=3))
    assert await deliver(coordinator, record, log)
    assert record.trace == log
    assert gitlab.violations == []
