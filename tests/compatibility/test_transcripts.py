"""The protocol's transcripts: the real client on a socket, compared with what they show byte by byte.

Time is the only thing that is not real: the log's machine is asked at the moments of the transcript.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from email.utils import format_datetime

import orjson
import pytest

from runner.gitlab.coordinator import Coordinator
from runner.gitlab.features import FEATURES, ClientInfo
from runner.gitlab.replies import JobAnswer
from runner.job.payload import Job
from runner.trace.answers import PatchResult, UpdateResult
from runner.trace.patching import Done, Patch, Signal, Touch, TraceSession, Update, Wait
from tests.compatibility.transcripts import Heard, ScriptedServer, answer, shown

TOKEN = "glrt-Ab3dEfGh1JkLmNoPqRsT"
JOB_TOKEN = "glcbt-64_Zx9yW8vU7tS6rQ5pO4n"
CURSOR = "6f2a9c0d4b7e8135a1b2c3d4e5f60718"
INFO = ClientInfo(version="19.4.0", revision="1a2b3c4d", operating_system="linux", architecture="amd64")
JOB = (
    b'{"id":4711,"token":"glcbt-64_Zx9yW8vU7tS6rQ5pO4n","allow_git_fetch":true,'
    b'"job_info":{"id":4711,"name":"hello","stage":"test","project_id":42,"project_name":"demo",'
    b'"project_full_path":"acme/demo","time_in_queue_seconds":1.4,'
    b'"project_jobs_running_on_instance_runners_count":"+Inf"},'
    b'"git_info":{"repo_url":"https://gitlab-ci-token:glcbt-64_Zx9yW8vU7tS6rQ5pO4n@gitlab.example.com/acme/demo.git",'
    b'"ref":"main","sha":"0a1b2c3d4e5f60718293a4b5c6d7e8f901234567",'
    b'"before_sha":"0000000000000000000000000000000000000000",'
    b'"ref_type":"branch","refspecs":["+refs/pipelines/900:refs/pipelines/900",'
    b'"+refs/heads/main:refs/remotes/origin/main"],"depth":20,"repo_object_format":"sha1","protected":true},'
    b'"runner_info":{"timeout":3600,"runner_session_url":null},'
    b'"variables":[{"key":"CI_JOB_TOKEN","value":"glcbt-64_Zx9yW8vU7tS6rQ5pO4n","public":false,"masked":true},'
    b'{"key":"CI_JOB_NAME","value":"hello","public":true,"masked":false},'
    b'{"key":"KUBECONFIG","value":"apiVersion: v1","public":false,"masked":false,"file":true,"raw":true}],'
    b'"steps":[{"name":"script","script":["echo hello"],"timeout":3600,"when":"on_success","allow_failure":false}],'
    b'"hooks":[],"image":{"name":"alpine:3.20","entrypoint":null,"ports":[],"executor_opts":{},"pull_policy":null},'
    b'"services":[],"artifacts":null,"cache":[],'
    b'"credentials":[{"type":"registry","url":"registry.example.com","username":"gitlab-ci-token",'
    b'"password":"glcbt-64_Zx9yW8vU7tS6rQ5pO4n"}],"features":{"trace_sections":true,"failure_reasons":'
    b'["unknown_failure","script_failure","runner_system_failure","job_execution_timeout","image_pull_failure"]},'
    b'"dependencies":[]}'
)
FIRST = shown("""\
2026-08-22T10:00:01.000120Z 00O ESC[0KRunning with gitlab-runner 19.4.0 (1a2b3c4d)ESC[0;m
2026-08-22T10:00:01.000150Z 00O ESC[0K  on k8s-a Ab3dEfGh1, system ID: s_0f1e2d3c4b5aESC[0;m
2026-08-22T10:00:01.000300Z 00O section_start:1787392801:prepare_executor CR ESC[0K
2026-08-22T10:00:01.000320Z 00O+ESC[0KESC[36;1mPreparing the "kubernetes" executorESC[0;mESC[0;m
""")
REST = shown("""\
2026-08-22T10:00:09.000010Z 00O section_end:1787392809:prepare_executor CR ESC[0K
2026-08-22T10:00:09.000020Z 00O+section_start:1787392809:step_script CR ESC[0K
2026-08-22T10:00:09.000030Z 00O+ESC[0KESC[36;1mExecuting "step_script" stage of the job scriptESC[0;mESC[0;m
2026-08-22T10:00:10.000005Z 01O ESC[32;1m$ echo helloESC[0;m
2026-08-22T10:00:10.000009Z 01O hello
2026-08-22T10:00:10.000500Z 00O section_end:1787392810:step_script CR ESC[0K
2026-08-22T10:00:10.000900Z 00O ESC[32;1mJob succeededESC[0;m
""")
CANCELED = shown("""\
2026-08-22T10:00:40.000001Z 00O ESC[0;33mWARNING: script canceled externally (UI, API)ESC[0;m
2026-08-22T10:00:40.000090Z 00O ESC[0KESC[36;1mRunning after_scriptESC[0;mESC[0;m
2026-08-22T10:00:40.000300Z 01O ESC[32;1m$ echo cleanupESC[0;m
2026-08-22T10:00:40.000310Z 01O cleanup
2026-08-22T10:00:41.000002Z 00O ESC[31;1mERROR: Job failed: canceledESC[0;m
""")
JSON = "Content-Type: application/json"


@asynccontextmanager
async def talking(*answers: bytes) -> AsyncIterator[tuple[ScriptedServer, Coordinator]]:
    """A runner of the transcripts and its GitLab."""
    async with ScriptedServer(*answers) as server:
        coordinator = Coordinator(f"{server.url}/ci/", TOKEN, info=INFO, system_id="s_0f1e2d3c4b5a", fraction=lambda: 0)
        try:
            yield server, coordinator
        finally:
            await coordinator.aclose()


class JobTalk:
    """One job's log and end on their way, at moments that the test names."""

    def __init__(self, coordinator: Coordinator, job: Job, log: bytes) -> None:
        self._coordinator = coordinator
        self._job = job
        self._session = TraceSession(0.0)
        self.log = log
        self.signals: list[tuple[float, Signal]] = []
        self.grow(b"")

    def grow(self, more: bytes) -> None:
        """The job wrote this."""
        self.log += more
        self._session.grew(len(self.log))

    def finish(self, state: str, reason: str = "") -> None:
        """The job has ended."""
        self._session.finish(state, reason)

    async def until(self, end: float, now: float = 0.0) -> bool:
        """Send all that is due before `end`; True when all is done."""
        checksum = f"crc32:{zlib.crc32(self.log):08x}"
        while True:
            match self._session.next_request(now):
                case Patch(start, stop):
                    reply: UpdateResult = await self._patch(start, self.log[start:stop])
                case Touch():
                    reply = await self._update("running", checksum=checksum)
                case Update(state, reason, _):
                    reply = await self._update(state, checksum=checksum, reason=reason)
                case Wait(moment) if moment < end:
                    now = moment
                    continue
                case wanted:
                    return wanted == Done(True)
            self.signals += [(now, signal) for signal in self._session.receive(reply, now)]

    async def _patch(self, start: int, data: bytes) -> PatchResult:
        return await self._coordinator.patch_trace(self._job, start=start, data=data)

    async def _update(self, state: str, *, checksum: str, reason: str = "") -> UpdateResult:
        return await self._coordinator.update_job(
            self._job, state=state, checksum=checksum, size=len(self.log), failure_reason=reason
        )


def job(number: int = 4711) -> Job:
    """The transcript's job, under any number."""
    return Job.parse(JOB.replace(b"4711", str(number).encode()))


def patches(heard: list[Heard]) -> Iterator[tuple[str | None, bytes]]:
    """Range and bytes of each patch."""
    for one in heard:
        if one.line.startswith("PATCH"):
            yield one.header("Content-Range"), one.body


def patched(status: str, *headers: str) -> bytes:
    """An answer to a patch."""
    return answer(status, *headers, body=b"202" if status.startswith("202") else b"")


def test_transcript_is_whole() -> None:
    """What stands here is what the transcript says it is: 343 and 820 bytes, and the checksum of all."""
    assert (len(FIRST), len(FIRST + REST), f"{zlib.crc32(FIRST + REST):08x}") == (343, 820, "e1e04805")
    assert len(CANCELED) == 335


async def test_successful_job() -> None:
    """13.1: from the question to the second, identical, final update."""
    accepted = "X-GitLab-Trace-Update-Interval: 60"
    async with talking(
        answer("204 No Content", f"X-GitLab-Last-Update: {CURSOR}"),
        answer("201 Created", JSON, "Gitlab-Ci-Builds-Polling: yes", "X-Request-Id: 01J5Z7RRAILSID", body=JOB),
        answer("200 OK", "Job-Status: running", body=b"200"),
        patched("202 Accepted", "Job-Status: running", "Range: 0-343", accepted),
        patched("202 Accepted", "Job-Status: running", "Range: 0-820", accepted),
        answer("202 Accepted", "Job-Status: running", "X-GitLab-Trace-Update-Interval: 1", body=b"202"),
        answer("200 OK", "Job-Status: success", body=b"200"),
    ) as (server, coordinator):
        await coordinator.request_job()
        reply = await coordinator.request_job()
        assert reply.job is not None
        await coordinator.update_job(reply.job, state="running")
        talk = JobTalk(coordinator, reply.job, FIRST)
        await talk.until(5.0)
        talk.grow(REST)
        talk.finish("success")
        first_try = await talk.until(6.9, now=6.0)
        assert (first_try, len(server.heard)) == (False, 6)
        assert await talk.until(7.1, now=6.9)
    _, asked, running, first, rest, end, again = server.heard
    _asked_as_shown(asked, server.url)
    _updates_as_shown(running, end, again)
    for patch, span, content in ((first, "0-342", FIRST), (rest, "343-819", REST)):
        assert patch.line == "PATCH /api/v4/jobs/4711/trace?debug_trace=false"
        headers = [patch.header(name) for name in ("JOB-TOKEN", "Content-Type", "Content-Range", "Content-Length")]
        assert headers == [JOB_TOKEN, "text/plain", span, str(len(content))]
        assert patch.body == content


def _asked_as_shown(asked: Heard, url: str) -> None:
    """The question's head, and its body with the keys in their order."""
    assert asked.head.partition("\r\n")[0] == "POST /api/v4/jobs/request HTTP/1.1"
    names = ("Host", "RUNNER-TOKEN", "Accept", "Content-Type")
    shown_values = [url.removeprefix("http://"), TOKEN, "application/json", "application/json"]
    assert [asked.header(name) for name in names] == shown_values
    assert re.fullmatch(r"gitlab-runner 19\.4\.0 \(main; python3\.\d+; linux/amd64\)", asked.header("User-Agent") or "")
    assert re.fullmatch(r"[0-9a-f]{32}", asked.header("X-Request-Id") or "")
    features = orjson.dumps({name: feature.advertised for name, feature in FEATURES.items()})
    assert asked.body == (
        b'{"info":{"name":"gitlab-runner","version":"19.4.0","revision":"1a2b3c4d","platform":"linux",'
        b'"architecture":"amd64","executor":"kubernetes","shell":"bash","features":'
        + features
        + b',"config":{"gpus":""}},"token":"glrt-Ab3dEfGh1JkLmNoPqRsT","system_id":"s_0f1e2d3c4b5a",'
        b'"last_update":"6f2a9c0d4b7e8135a1b2c3d4e5f60718"}'
    )


def _updates_as_shown(running: Heard, end: Heard, again: Heard) -> None:
    """The acknowledgement has no log yet; the end is said twice in the same words."""
    for update in (running, end, again):
        assert (update.line, update.header("JOB-TOKEN")) == ("PUT /api/v4/jobs/4711", JOB_TOKEN)
    assert running.body == (
        b'{"info":' + orjson.dumps(INFO.as_json()) + b',"token":"glcbt-64_Zx9yW8vU7tS6rQ5pO4n",'
        b'"state":"running","output":{}}'
    )
    assert end.body == again.body
    told = {key: value for key, value in end.json.items() if key != "info"}
    assert told == {
        "token": JOB_TOKEN,
        "state": "success",
        "checksum": "crc32:e1e04805",
        "output": {"checksum": "crc32:e1e04805", "bytesize": 820},
    }


async def test_job_canceled_in_mid_trace() -> None:
    """13.2: a silent job is told by its sign of life after 30 s, once; the end's `canceled` is no error."""
    before = b"x" * 243
    async with talking(
        patched("202 Accepted", "Job-Status: running", "Range: 0-243", "X-GitLab-Trace-Update-Interval: 3"),
        answer("200 OK", "Job-Status: canceling", body=b"200"),
        patched("202 Accepted", "Job-Status: canceling", "Range: 0-578", "X-GitLab-Trace-Update-Interval: 60"),
        answer("200 OK", "Job-Status: canceled", body=b"200"),
    ) as (server, coordinator):
        talk = JobTalk(coordinator, job(4712), before)
        await talk.until(31.0)
        talk.grow(CANCELED)
        talk.finish("failed", "unknown_failure")
        assert await talk.until(42.0, now=41.0)
    assert talk.signals == [(30.0, Signal.CANCELING)]
    assert list(patches(server.heard)) == [("0-242", before), ("243-577", CANCELED)]
    updates = [one.json for one in server.heard if one.line == "PUT /api/v4/jobs/4712"]
    sums = [f"crc32:{zlib.crc32(log):08x}" for log in (before, before + CANCELED)]
    assert [{key: update[key] for key in update if key not in {"info", "token"}} for update in updates] == [
        {"state": "running", "output": {"checksum": sums[0], "bytesize": 243}, "checksum": sums[0]},
        {
            "state": "failed",
            "output": {"checksum": sums[1], "bytesize": 578},
            "failure_reason": "unknown_failure",
            "checksum": sums[1],
        },
    ]


async def test_job_canceled_by_force() -> None:
    """13.2, hard: 403 aborts; the rest and the end are tried once each, and their 403 is no error."""
    forbidden = answer(
        "403 Forbidden",
        "Job-Status: canceled",
        JSON,
        body=b'{"message":"403 Forbidden - Job is not processing on runner"}',
    )
    async with talking(
        patched("202 Accepted", "Job-Status: running", "Range: 0-243", "X-GitLab-Trace-Update-Interval: 3"),
        forbidden,
        forbidden,
        forbidden,
    ) as (server, coordinator):
        talk = JobTalk(coordinator, job(4712), b"x" * 243)
        await talk.until(1.0)
        talk.grow(b"y" * 58)
        await talk.until(4.0, now=3.0)
        talk.grow(b"z" * 52)
        talk.finish("failed", "unknown_failure")
        assert await talk.until(10.0, now=9.0)
    assert talk.signals == [(3.0, Signal.ABORT)]
    assert [span for span, _ in patches(server.heard)] == ["0-242", "243-300", "243-352"]
    end = server.heard[-1]
    assert (end.line, end.json["state"], end.json["failure_reason"]) == (
        "PUT /api/v4/jobs/4712",
        "failed",
        "unknown_failure",
    )


@pytest.mark.parametrize(
    ("headers", "span"),
    [
        pytest.param(("Range: 0-180",), "180-420", id="a 202 was lost in a failover"),
        pytest.param(("Range: 0-0",), "0-420", id="the server lost everything"),
        pytest.param((), "0-420", id="without the header"),
        pytest.param(("Range: garbage",), "0-420", id="garbage in it"),
        pytest.param(("Range: 0-421",), None, id="the server is ahead"),
    ],
)
async def test_range_that_does_not_match(headers: tuple[str, ...], span: str | None) -> None:
    """13.3: the server's number is where the next patch begins; nothing else changes."""
    log = bytes(range(256)) + bytes(165)
    ranges = patched("416 Range Not Satisfiable", *headers, JSON)
    async with talking(
        patched("202 Accepted", "Job-Status: running", "Range: 0-300", "X-GitLab-Trace-Update-Interval: 20"),
        ranges,
        patched("202 Accepted", "Job-Status: running", "Range: 0-421", "X-GitLab-Trace-Update-Interval: 60"),
    ) as (server, coordinator):
        talk = JobTalk(coordinator, job(4713), log[:300])
        await talk.until(19.0)
        talk.grow(log[300:])
        await talk.until(21.0, now=20.0)
        assert [one for one, _ in patches(server.heard)] == ["0-299", "300-420"]
        await talk.until(41.0, now=21.0)
        sent = list(patches(server.heard))[2:]
    assert sent == ([] if span is None else [(span, log[int(span.partition("-")[0]) :])])
    assert talk.signals == []


async def test_no_job_then_limited_then_forbidden() -> None:
    """13.4: the cursor comes back, a rate limit is waited for, and 403 says that the runner is not well."""
    reset = datetime.fromtimestamp(int(datetime.now(UTC).timestamp()) + 300, UTC)
    async with talking(
        answer("204 No Content", f"X-GitLab-Last-Update: {CURSOR}"),
        answer("429 Too Many Requests", f"RateLimit-ResetTime: {format_datetime(reset, usegmt=True)}"),
        answer("403 Forbidden", JSON, body=b'{"message":"403 Forbidden"}'),
    ) as (server, coordinator):
        replies = [await coordinator.request_job() for _ in range(3)]
    assert [one.answer for one in replies] == [JobAnswer.NONE, JobAnswer.THROTTLED, JobAnswer.FORBIDDEN]
    assert [one.healthy for one in replies] == [True, True, False]
    wait = replies[1].retry_after
    assert wait is not None
    assert 290.0 < wait <= 300.0
    assert [one.json.get("last_update") for one in server.heard] == [None, CURSOR, CURSOR]
    assert len(server.heard) == 3
