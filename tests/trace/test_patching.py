"""The log reaches GitLab whole, in its order, and the job's end after it, whatever GitLab answers."""

import math
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.trace.answers import CLIENT_FAILED, NETWORK_FAILED, Answer, PatchResult, UpdateResult, answer_of
from runner.trace.patching import Done, Patch, Phase, Request, Signal, Touch, TraceSession, Update, Wait

MIB = 1 << 20
Step = tuple[float, Request, UpdateResult | None, tuple[Signal, ...]]


def patched(
    status: int = 202,
    *,
    job: str = "running",
    interval: float | None = None,
    range_end: int | None = None,
    retry_after: float | None = None,
) -> PatchResult:
    """A reply to a patch."""
    return PatchResult(status=status, job_status=job, interval=interval, range_end=range_end, retry_after=retry_after)


def updated(
    status: int = 200, *, job: str = "running", interval: float | None = None, retry_after: float | None = None
) -> UpdateResult:
    """A reply to an update."""
    return UpdateResult(status=status, job_status=job, interval=interval, retry_after=retry_after)


def session(
    size: int = 0,
    *,
    patch_bytes: int = MIB,
    keep_alive_interval: float = 30.0,
    dynamic_keep_alive: bool = False,
) -> TraceSession:
    """A session that begins at 0 with so much log."""
    started = TraceSession(
        0.0, patch_bytes=patch_bytes, keep_alive_interval=keep_alive_interval, dynamic_keep_alive=dynamic_keep_alive
    )
    started.grew(size)
    return started


def play(machine: TraceSession, *steps: Step) -> None:
    """At each moment the machine wants this, is answered that, and says what GitLab wants."""
    for at, request, reply, signals in steps:
        assert (at, machine.next_request(at)) == (at, request)
        if reply is not None:
            assert (at, machine.receive(reply, at)) == (at, signals)


def test_successful_job_is_the_transcript() -> None:
    """First bytes at once, a minute's interval as told, the rest when the job ends; 202 is asked again."""
    job = session(343)
    play(job, (0, Patch(0, 343), patched(range_end=343, interval=60), ()), (0, Wait(30, 343 + MIB), None, ()))
    job.grew(820)
    play(job, (6, Wait(30, 343 + MIB), None, ()))
    job.finish("success")
    play(
        job,
        (6, Patch(343, 820), patched(range_end=820, interval=60), ()),
        (6, Update("success", "", 0), updated(202, interval=1), ()),
        (6.5, Wait(7), None, ()),
        (7, Update("success", "", 0), updated(200, job="success"), ()),
        (7, Done(True), None, ()),
    )


def test_graceful_cancel_is_the_transcript() -> None:
    """A silent job hears of its cancel by the touch after 30 s, once; the final `canceled` is no error."""
    job = session(243)
    play(
        job,
        (0, Patch(0, 243), patched(range_end=243, interval=3), ()),
        (1, Wait(3, 243 + MIB), None, ()),
        (3, Wait(30, 244), None, ()),
        (30, Touch(), updated(job="canceling"), (Signal.CANCELING,)),
        (31, Wait(60, 244), None, ()),
    )
    job.grew(500)
    play(job, (32, Patch(243, 500), patched(job="canceling", interval=60), ()))
    job.grew(578)
    job.finish("failed", "unknown_failure")
    play(
        job,
        (41, Patch(500, 578), patched(job="canceling"), ()),
        (41, Update("failed", "unknown_failure", 0), updated(200, job="canceled"), ()),
        (41, Done(True), None, ()),
    )


def test_forced_cancel_is_the_transcript() -> None:
    """403 aborts once and stops the sending; the rest and the state are tried once each, and their 403 is no error."""
    job = session(243)
    play(job, (0, Patch(0, 243), patched(interval=3), ()))
    job.grew(301)
    play(
        job,
        (3, Patch(243, 301), patched(403, job="canceled"), (Signal.ABORT,)),
        (3, Wait(math.inf), None, ()),
        (500, Wait(math.inf), None, ()),
    )
    job.grew(353)
    job.finish("failed", "unknown_failure")
    play(
        job,
        (500, Patch(243, 353), patched(403, job="canceled"), ()),
        (500, Update("failed", "unknown_failure", 0), updated(403, job="canceled"), ()),
        (500, Done(True), None, ()),
    )


RESYNCS = [
    ("a 202 was lost in a failover", 180, Patch(180, 421)),
    ("server lost everything", 0, Patch(0, 421)),
    ("no header, or garbage", None, Patch(0, 421)),
]


@pytest.mark.parametrize(("range_end", "then"), [case[1:] for case in RESYNCS], ids=[case[0] for case in RESYNCS])
def test_offset_follows_the_server_when_ranges_mismatch(range_end: int | None, then: Patch) -> None:
    """416 sets the offset, nothing else changes, and the next tick sends from there."""
    job = session(300)
    play(job, (0, Patch(0, 300), patched(interval=5), ()))
    job.grew(421)
    play(
        job,
        (5, Patch(300, 421), patched(416, range_end=range_end), ()),
        (6, Wait(10), None, ()),
        (10, then, patched(range_end=421), ()),
    )
    assert job.offset == 421


def test_offset_jumps_when_the_server_is_ahead() -> None:
    """Our 202 was lost: what GitLab has already is not sent again."""
    job = session(421)
    play(
        job,
        (0, Patch(0, 421), patched(NETWORK_FAILED), ()),
        (1, Patch(0, 421), patched(416, range_end=421), ()),
        (4, Wait(31, 422), None, ()),
    )
    assert job.offset == 421


def test_range_beyond_the_log_is_a_failure() -> None:
    """A server that has more than there ever was is asked again later, from the same offset."""
    job = session(421)
    play(
        job,
        (0, Patch(0, 421), patched(416, range_end=422), ()),
        (0, Wait(1), None, ()),
        (1, Patch(0, 421), patched(416, range_end=422), ()),
        (2.5, Wait(3), None, ()),
    )
    job.grew(1000)
    play(job, (3, Patch(0, 1000), patched(416, range_end=422), ()), (6, Patch(422, 1000), patched(), ()))


def test_ranges_that_mismatch_at_the_end_wait_three_seconds() -> None:
    """After the job's end a resync waits no longer than the first interval, whatever the interval was before."""
    job = session(100)
    play(job, (0, Patch(0, 100), patched(interval=60), ()))
    job.grew(200)
    job.finish("success")
    play(
        job,
        (1, Patch(100, 200), patched(416, range_end=50), ()),
        (1, Wait(4), None, ()),
        (4, Patch(50, 200), patched(416, range_end=150, interval=1), ()),
        (5, Patch(150, 200), patched(), ()),
        (5, Update("success", "", 0), updated(), ()),
    )


def test_whole_log_is_sent_again_when_the_trace_is_invalid() -> None:
    """412 to the final state rewinds to 0, sends all of the log, and asks again."""
    job = session(10)
    job.finish("failed", "script_failure", 2)
    final = Update("failed", "script_failure", 2)
    play(
        job,
        (0, Patch(0, 10), patched(), ()),
        (0, final, updated(412), ()),
        (1, Wait(3), None, ()),
        (3, Patch(0, 10), patched(), ()),
        (3, final, updated(), ()),
        (3, Done(True), None, ()),
    )


def test_touch_may_rewind_too() -> None:
    """412 to a keep-alive resends the log while the job runs."""
    job = session(10)
    play(job, (0, Patch(0, 10), patched(), ()), (30, Touch(), updated(412), ()), (33, Patch(0, 10), patched(), ()))


def test_patches_are_bounded_and_follow_at_once_when_whole() -> None:
    """A megabyte at most; what fills a whole patch does not wait for the tick, what is less does."""
    job = session(2 * MIB + 5)
    play(
        job,
        (0, Patch(0, MIB), patched(), ()),
        (0, Patch(MIB, 2 * MIB), patched(), ()),
        (0, Wait(3, 3 * MIB), None, ()),
        (3, Patch(2 * MIB, 2 * MIB + 5), patched(), ()),
    )
    job.finish("success")
    small = session(25, patch_bytes=10)
    small.finish("success")
    play(
        small,
        (0, Patch(0, 10), patched(), ()),
        (0, Patch(10, 20), patched(), ()),
        (0, Patch(20, 25), patched(), ()),
        (0, Update("success", "", 0), updated(), ()),
    )


def test_first_byte_after_silence_leaves_at_once() -> None:
    """The interval is the least time between patches, not a wait for those that come late."""
    job = session()
    play(job, (0, Wait(30, 1), None, ()))
    job.grew(5)
    play(job, (8, Patch(0, 5), patched(), ()), (12, Wait(38, 6), None, ()))
    job.grew(6)
    play(job, (20, Patch(5, 6), patched(), ()))


INTERVALS = [(3, 3.0), (60, 60.0), (100_000, 900.0), (0, 3.0), (-5, 3.0), (None, 3.0)]


@pytest.mark.parametrize(("told", "expected"), INTERVALS)
def test_interval_is_the_servers(told: float | None, expected: float) -> None:
    """What the server says counts up to a quarter of an hour; nothing, zero and less are ignored."""
    job = session(1)
    job.next_request(0)
    job.receive(patched(interval=told), 0)
    assert job.interval == expected


@pytest.mark.parametrize(("interval", "expected"), [(3, 30.0), (60, 240.0), (900, 1800.0)])
def test_silence_may_last_longer_when_the_flag_is_on(interval: float, expected: float) -> None:
    """FF_USE_DYNAMIC_TRACE_FORCE_SEND_INTERVAL: four intervals, half a minute to half an hour."""
    job = session(1, dynamic_keep_alive=True)
    job.next_request(0)
    job.receive(patched(interval=interval), 0)
    assert job.keep_alive_interval == expected
    play(job, (expected - 0.5, Wait(expected, 2), None, ()))
    play(job, (expected, Touch(), updated(), ()))


def test_touch_fails_and_is_tried_again() -> None:
    """Keep-alives go on while GitLab is away."""
    job = session()
    play(
        job,
        (30, Touch(), updated(500), ()),
        (30, Wait(31), None, ()),
        (31, Touch(), updated(NETWORK_FAILED), ()),
        (33, Touch(), updated(202), ()),
        (34, Wait(63, 1), None, ()),
    )


FAILURES = [409, 429, 500, 502, 503, 400, 401, 200, NETWORK_FAILED, CLIENT_FAILED]


@pytest.mark.parametrize("status", FAILURES)
def test_patch_is_tried_again_when_it_failed(status: int) -> None:
    """Everything that is no answer of its own waits and comes again, longer each time up to a minute."""
    job = session(5, keep_alive_interval=math.inf)
    at = 0.0
    for wait in (1, 2, 4, 8, 16, 32, 60, 60):
        play(job, (at, Patch(0, 5), patched(status), ()), (at, Wait(at + wait), None, ()))
        at += wait
    play(job, (at, Patch(0, 5), patched(), ()))
    job.grew(6)
    play(job, (at + 3, Patch(5, 6), patched(status), ()), (at + 3, Wait(at + 4), None, ()))


@pytest.mark.parametrize(("told", "wait"), [(0.5, 1), (45, 45), (5000, 900)])
def test_server_may_ask_for_a_longer_wait(told: float, wait: float) -> None:
    """Retry-After is honoured, within reason, and never shortens the wait."""
    job = session(5)
    play(job, (0, Patch(0, 5), patched(429, retry_after=told), ()), (0, Wait(wait), None, ()))


def test_job_keeps_running_when_its_log_is_not_found() -> None:
    """404 to a patch is no verdict on the job: the next tick tries again."""
    job = session(5)
    play(
        job, (0, Patch(0, 5), patched(404), ()), (1, Wait(3), None, ()), (3, Patch(0, 5), patched(404, interval=9), ())
    )
    play(job, (4, Wait(12), None, ()), (12, Patch(0, 5), patched(), ()))


def test_failing_patch_gives_way_to_a_touch() -> None:
    """A job whose log is refused still hears of its cancel."""
    job = session(5)
    at = 0.0
    while at < 30:
        job.next_request(at)
        job.receive(patched(500), at)
        wait = job.next_request(at)
        assert isinstance(wait, Wait)
        at = wait.until
    play(job, (at, Touch(), updated(job="canceling"), (Signal.CANCELING,)), (at, Patch(0, 5), patched(), ()))


@pytest.mark.parametrize(
    "reply",
    [
        patched(403, job=""),
        patched(403, job="failed"),
        patched(202, job="canceled"),
        patched(500, job="failed"),
        patched(416, job="canceled", range_end=2),
    ],
)
def test_patch_says_that_the_job_is_gone(reply: PatchResult) -> None:
    """403, and `canceled` or `failed` whatever the status, abort the job once."""
    job = session(5)
    play(job, (0, Patch(0, 5), reply, (Signal.ABORT,)), (0, Wait(math.inf), None, ()))
    assert job.phase is Phase.ABORTED


@pytest.mark.parametrize("reply", [updated(403), updated(404), updated(200, job="failed"), updated(CLIENT_FAILED)])
def test_touch_says_that_the_job_is_gone(reply: UpdateResult) -> None:
    """A keep-alive aborts for 404 too: an update names the job itself."""
    play(session(), (30, Touch(), reply, (Signal.ABORT,)), (60, Wait(math.inf), None, ()))


def test_signals_are_given_once() -> None:
    """Canceling again changes nothing; an abort after it is news."""
    job = session(1)
    play(job, (0, Patch(0, 1), patched(500, job="canceling"), (Signal.CANCELING,)))
    play(job, (1, Patch(0, 1), patched(job="canceling"), ()))
    play(job, (31, Touch(), updated(job="canceled"), (Signal.ABORT,)))


FINAL = Update("failed", "script_failure", 3)


@pytest.mark.parametrize(
    "reply", [updated(200, job="failed"), updated(200), updated(403), updated(404), updated(202, job="canceled")]
)
def test_end_is_delivered(reply: UpdateResult) -> None:
    """`Job-Status: failed` answers the report of a failure: no error, no retry."""
    job = session()
    job.finish("failed", "script_failure", 3)
    play(job, (0, FINAL, reply, ()), (0, Done(True), None, ()))


def test_end_waits_as_long_as_the_server_says() -> None:
    """202 is asked again after the server's own backoff, however often."""
    job = session()
    job.finish("failed", "script_failure", 3, retry_limit=1)
    at = 0.0
    for interval in (1, 2, 4, 8, 16, 32, 64, 64, 64, 64, 64, 64):
        play(job, (at, FINAL, updated(202, interval=interval), ()), (at, Wait(at + interval), None, ()))
        at += interval
    play(job, (at, FINAL, updated(202), ()), (at, Wait(at + 3), None, ()), (at + 3, FINAL, updated(), ()))


def test_end_is_given_up_after_the_bound() -> None:
    """So many refusals, with growing waits, and the caller is told that GitLab does not know."""
    job = session()
    job.finish("failed", "script_failure", 3, retry_limit=2)
    play(
        job,
        (0, FINAL, updated(500), ()),
        (1, FINAL, updated(409), ()),
        (2, Wait(3), None, ()),
        (3, FINAL, updated(429, retry_after=20), ()),
        (22, Wait(23), None, ()),
        (23, FINAL, updated(NETWORK_FAILED), ()),
        (31, FINAL, updated(400), ()),
        (31, Done(False), None, ()),
    )
    assert job.phase is Phase.FAILED


@pytest.mark.parametrize("reply", [updated(NETWORK_FAILED), updated(500), updated(502), updated(503), updated(429)])
def test_end_outlasts_an_outage(reply: UpdateResult) -> None:
    """A GitLab that is away for six hours is asked once a minute, whatever the bound, and then has the state."""
    job = session(5)
    job.finish("failed", "script_failure", 3, retry_limit=1)
    at, asked = 0.0, 0
    while at < 6 * 3600:
        request = job.next_request(at)
        if isinstance(request, Wait):
            at = request.until
            continue
        asked += 1
        job.receive(patched(reply.status) if isinstance(request, Patch) else reply, at)
    assert 300 < asked < 400
    while not isinstance(request := job.next_request(at), Done):
        at = request.until if isinstance(request, Wait) else at
        if not isinstance(request, Wait):
            job.receive(patched() if isinstance(request, Patch) else updated(), at)
    assert (request, job.offset) == (Done(True), 5)


def test_state_follows_when_the_log_is_given_up() -> None:
    """A log that cannot be delivered within the bound does not keep the state back."""
    job = session(5)
    job.finish("failed", "script_failure", 3, retry_limit=2)
    play(
        job,
        (0, Patch(0, 5), patched(400), ()),
        (1, Patch(0, 5), patched(400), ()),
        (1, FINAL, updated(), ()),
        (1, Done(True), None, ()),
    )


def test_state_follows_when_only_the_log_is_refused() -> None:
    """A GitLab that answers for the job but never takes its log is told of the end, however patient the caller is."""
    job = session(5)
    job.finish("failed", "script_failure", 3, retry_limit=1000)
    at, asked = 0.0, []
    while not isinstance(request := job.next_request(at), Done):
        if isinstance(request, Wait):
            at = request.until
            continue
        asked.append(type(request))
        job.receive(patched(500) if isinstance(request, Patch) else updated(), at)
    assert asked == [*[Patch] * 5, Touch, Patch, Touch, Patch, Touch, Update]
    assert request == Done(True)
    assert at < 300


def test_log_is_kept_when_gitlab_comes_back() -> None:
    """One answer between failures is no proof that the log is refused: it may just have come back."""
    job = session(5)
    job.finish("success")
    at = 0.0
    for _ in range(5):
        play(job, (at, Patch(0, 5), patched(NETWORK_FAILED), ()))
        wait = job.next_request(at)
        assert isinstance(wait, Wait)
        at = wait.until
    play(job, (at, Touch(), updated(), ()), (at, Patch(0, 5), patched(), ()), (at, Update("success", "", 0), None, ()))


@pytest.mark.parametrize("status", [403, 404])
def test_state_follows_when_the_log_is_gone(status: int) -> None:
    """A patch that finds no log ends the sending of it, not the report."""
    job = session(5)
    job.finish("success")
    play(job, (0, Patch(0, 5), patched(status), ()), (0, Update("success", "", 0), updated(), ()))


@pytest.mark.parametrize("state", ["success", "failed"])
def test_only_the_first_end_counts(state: str) -> None:
    """A later end of the same job is a no-op."""
    job = session()
    job.finish(state, "", 0)
    job.finish("failed", "runner_system_failure", 9)
    play(job, (0, Update(state, "", 0), updated(), ()), (0, Done(True), None, ()))


def test_end_does_not_wait_for_what_the_running_job_waited_for() -> None:
    """Backoff of the running job ends with it: the last requests begin at once."""
    job = session(5)
    play(job, (0, Patch(0, 5), patched(503, retry_after=600), ()), (1, Wait(600), None, ()))
    job.finish("success")
    play(job, (1, Patch(0, 5), patched(), ()))


def test_after_an_abort_each_is_tried_once() -> None:
    """GitLab knows already: a failure of the last requests is the end of them."""
    job = session(5)
    play(job, (0, Patch(0, 5), patched(403), (Signal.ABORT,)))
    job.finish("failed", "script_failure", 3)
    play(job, (1, Patch(0, 5), patched(500), ()), (1, FINAL, updated(500), ()), (1, Done(False), None, ()))


@pytest.mark.parametrize("status", [200, 202])
def test_answer_that_comes_after_the_end_is_taken(status: int) -> None:
    """A keep-alive under way when the job ends disturbs nothing, and raises no signal."""
    job = session(0)
    play(job, (30, Touch(), None, ()))
    job.grew(5)
    job.finish("success")
    assert job.receive(updated(status, job="canceling"), 31) == ()
    play(job, (31, Patch(0, 5), patched(), ()), (31, Update("success", "", 0), updated(), ()))


def test_endless_disagreement_ends() -> None:
    """A server that never accepts an offset, or never the whole log, does not keep the job for ever."""
    job = session(5)
    job.finish("success", retry_limit=1000)
    at, asked = 0.0, list[Request]()
    while not isinstance(request := job.next_request(at), Done):
        if isinstance(request, Wait):
            at = request.until
            continue
        asked.append(request)
        job.receive(patched(416, range_end=2) if isinstance(request, Patch) else updated(412), at)
        assert len(asked) < 500
    assert request == Done(False)


def test_reply_without_a_request_is_an_error() -> None:
    """The machine's books are right only if each request has one reply of its kind."""
    job = session(5)
    with pytest.raises(RuntimeError, match="PatchResult"):
        job.receive(patched(), 0)
    job.next_request(0)
    with pytest.raises(RuntimeError, match="UpdateResult"):
        job.receive(updated(), 0)


def test_request_is_the_same_when_it_is_asked_again() -> None:
    """A request that was cut off is simply asked again."""
    job = session(5)
    assert job.next_request(0) == job.next_request(0) == Patch(0, 5)
    job.grew(7)
    assert job.next_request(0) == Patch(0, 7)


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        (patched(202), Answer.TAKEN),
        (patched(200), Answer.FAILED),
        (patched(412), Answer.FAILED),
        (patched(CLIENT_FAILED), Answer.FAILED),
        (updated(416), Answer.FAILED),
        (updated(412), Answer.INVALID),
        (updated(201), Answer.FAILED),
    ],
)
def test_answers_differ_between_patches_and_updates(reply: UpdateResult, answer: Answer) -> None:
    """A status means what the table of its own request says."""
    assert answer_of(reply) is answer


@dataclass
class Server:
    """GitLab's side of the log, as far as its API's rules say."""

    stored: bytes = b""
    state: str = "running"
    sizes: list[int] = field(default_factory=list)

    def patch(self, start: int, data: bytes) -> PatchResult:
        """Append when the patch begins where the log ends, else tell where it ends."""
        self.sizes.append(len(data))
        if start != len(self.stored):
            return PatchResult(status=416, job_status=self.state, range_end=len(self.stored))
        self.stored += data
        return PatchResult(status=202, job_status=self.state, range_end=len(self.stored), interval=3)


TROUBLES = st.sampled_from(["fine", "fine", "fine", "lost request", "lost reply", "busy", "failover"])


@pytest.mark.slow
@settings(max_examples=200)
@given(st.lists(st.tuples(st.integers(0, 70), TROUBLES), max_size=30), st.data())
def test_no_byte_is_lost_or_doubled(course: list[tuple[int, str]], data: st.DataObject) -> None:
    """Requests and replies get lost, GitLab is busy or forgets the end of the log: at last it has exactly the log."""
    log = bytes(data.draw(st.binary(max_size=400)))
    server, job = Server(), session(patch_bytes=32)
    at, written, troubles = 0.0, 0, iter(course)
    while not isinstance(request := job.next_request(at), Done):
        growth, trouble = next(troubles, (len(log), "fine"))
        if written < len(log):
            written = min(len(log), written + growth)
            job.grew(written)
        else:
            job.finish("success", retry_limit=100)
        if isinstance(request, Wait):
            at = min(request.until, at + 1)
            continue
        if trouble == "failover":
            server.stored = server.stored[: len(server.stored) // 2]
        status = {"lost request": NETWORK_FAILED, "busy": 503}.get(trouble)
        if isinstance(request, Patch):
            reply: UpdateResult = PatchResult(status=status or 0)
            if status is None:
                reply = server.patch(request.start, log[request.start : request.end])
            if trouble == "lost reply":
                reply = PatchResult(status=NETWORK_FAILED)
        elif isinstance(request, Update) and server.stored != log:
            reply = UpdateResult(status=412)  # the server notices by the checksum
        else:
            reply = UpdateResult(status=status or 200)
        job.receive(reply, at)
    assert request == Done(True)
    assert server.stored == log
    assert max(server.sizes, default=0) <= 32
