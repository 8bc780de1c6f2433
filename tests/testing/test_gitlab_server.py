"""The embedded GitLab answers as GitLab does, and notices what a sound runner would not send."""

import functools
import io
import json
import os
import sys
import tempfile
import zlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import anyio
import pytest
from anyio.streams.buffered import BufferedByteReceiveStream

from runner.testing.gitlab import GitLabServer, JobRecord

HEADERS = {"X-Request-Id": "0" * 32, "User-Agent": "gitlab-runner 19.4.0 (main; python3.11; linux/amd64)"}
Answer = tuple[int, str, str]


class Wire:
    """A runner reduced to its requests."""

    def __init__(self, gitlab: GitLabServer, session: aiohttp.ClientSession) -> None:
        self.gitlab = gitlab
        self.session = session

    async def ask(self, *, graceful: bool = True, last_update: str = "", token: str = "") -> aiohttp.ClientResponse:
        """Send a request for a job."""
        token = token or self.gitlab.token
        body: dict[str, Any] = {"token": token, "info": {"features": {"cancel_gracefully": graceful}}}
        if last_update:
            body["last_update"] = last_update
        async with self.session.post("/api/v4/jobs/request", json=body, headers={"RUNNER-TOKEN": token}) as answer:
            await answer.read()
            return answer

    async def put(self, job: JobRecord, token: str = "", **body: Any) -> tuple[int, str | None]:
        """Send an update and return status and Job-Status."""
        token = token or job.token
        async with self.session.put(
            f"/api/v4/jobs/{job.id}", json={"token": token, **body}, headers={"JOB-TOKEN": token}
        ) as answer:
            return answer.status, answer.headers.get("Job-Status")

    async def patch(
        self, job: JobRecord, data: bytes, content_range: str | None, token: str = ""
    ) -> tuple[int, str | None]:
        """Send a patch and return status and Range."""
        headers = {"JOB-TOKEN": token or job.token, "Content-Type": "text/plain"}
        if content_range is not None:
            headers["Content-Range"] = content_range
        # aiohttp warns of bytes over a megabyte.
        async with self.session.patch(f"/api/v4/jobs/{job.id}/trace", data=io.BytesIO(data), headers=headers) as answer:
            return answer.status, answer.headers.get("Range")

    async def start_job(self, *, graceful: bool = True, **over: Any) -> JobRecord:
        """Queue a job, take it and acknowledge it."""
        job = self.gitlab.queue(**over)
        assert (await self.ask(graceful=graceful)).status == 201
        assert await self.put(job, state="running") == (200, "running")
        return job


def output(data: bytes) -> dict[str, Any]:
    """Return what an update says about a log."""
    return {"checksum": f"crc32:{zlib.crc32(data):08x}", "bytesize": len(data)}


@pytest.fixture
async def wire() -> AsyncIterator[Wire]:
    """A runner connected to a GitLab of its own."""
    async with GitLabServer() as gitlab, aiohttp.ClientSession(gitlab.url, headers=HEADERS) as session:
        yield Wire(gitlab, session)


async def test_job_goes_from_the_queue_to_success(wire: Wire) -> None:
    """A job is handed out once, its log is stored as sent, and its end is kept."""
    job = wire.gitlab.queue(script=["true"], variables={"A": "1"})
    assert job.state == "pending"
    answer = await wire.ask()
    assert (await answer.json())["id"] == job.id
    assert (await wire.ask()).status == 204
    assert await wire.put(job, state="running") == (200, "running")
    assert await wire.patch(job, b"hello\n", "0-5") == (202, "0-6")
    assert await wire.patch(job, b"world\n", "6-11") == (202, "0-12")
    final = await wire.put(job, state="success", output=output(b"hello\nworld\n"))
    assert final == (200, "success")
    assert (job.state, job.failure_reason, job.exit_code) == ("success", None, 0)
    assert (job.trace, job.text) == (b"hello\nworld\n", "hello\nworld\n")
    assert [(patch.start, patch.length, patch.status) for patch in job.patches] == [(0, 6, 202), (6, 6, 202)]
    assert [update.state for update in job.updates] == ["running", "success"]
    assert wire.gitlab.violations == []


async def test_failed_job_keeps_reason_and_exit_code(wire: Wire) -> None:
    """What the runner tells of a failure is there to be asserted."""
    job = await wire.start_job()
    assert await wire.put(job, state="failed", failure_reason="script_failure", exit_code=3) == (200, "failed")
    assert (job.state, job.failure_reason, job.exit_code) == ("failed", "script_failure", 3)
    assert wire.gitlab.violations == []


@pytest.mark.parametrize("token", ["glrt-wrong", "é"], ids=["unknown", "no-ascii"])
async def test_request_is_forbidden_with_another_token(wire: Wire, token: str) -> None:
    """Only known runners get jobs."""
    wire.gitlab.queue()
    body = {"token": token}
    async with wire.session.post("/api/v4/jobs/request", json=body, headers={"RUNNER-TOKEN": token}) as answer:
        assert answer.status == 403


async def test_job_for_one_runner_is_not_given_to_another() -> None:
    """`queue(runner=...)` binds a job to one runner, and the queue's order is kept for the rest."""
    async with (
        GitLabServer(tokens=("glrt-a", "glrt-b")) as gitlab,
        aiohttp.ClientSession(gitlab.url, headers=HEADERS) as session,
    ):
        wire = Wire(gitlab, session)
        bound, first, second = gitlab.queue(runner="glrt-b"), gitlab.queue(), gitlab.queue()
        taken = [(await (await wire.ask(token=token)).json())["id"] for token in ("glrt-a", "glrt-b", "glrt-a")]
        assert taken == [first.id, bound.id, second.id]


async def test_long_poll_answers_when_a_job_is_queued(wire: Wire) -> None:
    """A request with the current cursor is held, and gets the job that comes; one without is answered at once."""
    first = await wire.ask()
    cursor = first.headers["X-GitLab-Last-Update"]
    assert (first.status, first.headers.get("Gitlab-Ci-Builds-Polling")) == (204, None)
    async with anyio.create_task_group() as group:
        answers: list[aiohttp.ClientResponse] = []

        async def ask() -> None:
            answers.append(await wire.ask(last_update=cursor))

        group.start_soon(ask)
        await wire.gitlab.faults.wait_seen("POST", "/jobs/request", count=2)
        assert answers == []
        job = wire.gitlab.queue()
    assert (answers[0].status, answers[0].headers["Gitlab-Ci-Builds-Polling"]) == (201, "yes")
    assert (await answers[0].json())["id"] == job.id


async def test_long_poll_ends_with_a_cursor_after_its_time() -> None:
    """A held request is answered 204 when nothing comes."""
    async with (
        GitLabServer(long_poll_timeout=0.02) as gitlab,
        aiohttp.ClientSession(gitlab.url, headers=HEADERS) as session,
    ):
        wire = Wire(gitlab, session)
        cursor = (await wire.ask()).headers["X-GitLab-Last-Update"]
        held = await wire.ask(last_update=cursor)
        assert (held.status, held.headers["X-GitLab-Last-Update"]) == (204, cursor)


async def test_job_stays_in_the_queue_when_the_poller_has_gone(wire: Wire) -> None:
    """A client that hung up while it was held does not take a job with it."""
    cursor = (await wire.ask()).headers["X-GitLab-Last-Update"]
    async with anyio.create_task_group() as group:
        group.start_soon(functools.partial(wire.ask, last_update=cursor))
        await wire.gitlab.faults.wait_seen("POST", "/jobs/request", count=2)
        group.cancel_scope.cancel()
    job = wire.gitlab.queue()
    assert (await (await wire.ask()).json())["id"] == job.id


@pytest.mark.parametrize(
    ("content_range", "data", "expected", "complaint"),
    [
        pytest.param("3-5", b"def", (202, "0-6"), "", id="next"),
        pytest.param("0-5", b"abcdef", (416, "0-3"), "", id="again-from-the-start"),
        pytest.param("4-5", b"ef", (416, "0-3"), "", id="gap"),
        pytest.param("3-6", b"def", (202, "0-6"), "Content-Range 3-6", id="end-not-inclusive"),
        pytest.param(None, b"def", (400, None), "Content-Range None", id="no-range"),
        pytest.param("bytes 3-5/6", b"def", (400, None), "Content-Range 'bytes", id="another-form"),
        pytest.param("3-2", b"", (202, "0-3"), "patch of 0 bytes", id="empty"),
        pytest.param("3-1048579", b"x" * 1048577, (202, "0-1048580"), "patch of 1048577 bytes", id="too-long"),
    ],
)
async def test_patch_is_taken_only_where_the_log_ends(
    wire: Wire, content_range: str | None, data: bytes, expected: tuple[int, str | None], complaint: str
) -> None:
    """The stored size decides, 416 tells it, and ranges that a sound client never sends are noted."""
    job = await wire.start_job()
    await wire.patch(job, b"abc", "0-2")
    assert await wire.patch(job, data, content_range) == expected
    assert len(job.violations) == bool(complaint)
    assert all(complaint in violation for violation in job.violations)


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        pytest.param({"state": "success", "output": output(b"abc")}, "", id="good"),
        pytest.param({"state": "success"}, "naming the log", id="no-checksum"),
        pytest.param({"state": "success", "output": output(b"abd")}, "naming the log", id="other-bytes"),
        pytest.param({"state": "failed", "output": output(b"abc")}, "reason None", id="no-reason"),
        pytest.param(
            {"state": "failed", "output": output(b"abc"), "failure_reason": "job_canceled"},
            "'job_canceled'",
            id="reason-of-the-runner-alone",
        ),
        pytest.param(
            {"state": "success", "output": output(b"abc"), "exit_code": 1}, "exit code", id="success-with-a-code"
        ),
    ],
)
async def test_final_update_is_checked(wire: Wire, body: dict[str, Any], complaint: str) -> None:
    """The final update must agree with the stored log and with itself."""
    job = await wire.start_job()
    await wire.patch(job, b"abc", "0-2")
    assert (await wire.put(job, **body))[0] == 200
    assert len(wire.gitlab.violations) == bool(complaint)
    assert all(complaint in violation for violation in wire.gitlab.violations)


async def test_log_before_the_acknowledgement_is_noted(wire: Wire) -> None:
    """The first word about a job must be the update `running`."""
    job = wire.gitlab.queue()
    await wire.ask()
    await wire.patch(job, b"abc", "0-2")
    await wire.put(job, state="success", output=output(b"abc"))
    assert [violation.partition(": ")[2] for violation in job.violations] == [
        "a patch before the update `running`.",
        "a final update without an earlier update `running`.",
    ]


async def test_finished_job_refuses_everything(wire: Wire) -> None:
    """After its end a job answers 403 with its state."""
    job = await wire.start_job()
    await wire.put(job, state="success")
    assert await wire.put(job, state="failed", failure_reason="script_failure") == (403, "success")
    assert await wire.patch(job, b"abc", "0-2") == (403, None)
    assert job.state == "success"


async def test_job_of_another_token_is_forbidden(wire: Wire) -> None:
    """Only a job's own token speaks for it, and only after it was handed out."""
    job, other = await wire.start_job(), wire.gitlab.queue()
    assert (await wire.put(job, token=other.token, state="success"))[0] == 403
    assert (await wire.put(other, state="running"))[0] == 403
    assert job.state == "running"


@pytest.mark.parametrize(
    ("graceful", "force", "while_running", "after_the_end"),
    [
        pytest.param(True, False, (200, "canceling"), (200, "canceled"), id="graceful"),
        pytest.param(True, True, (403, "canceled"), (403, "canceled"), id="forced"),
        pytest.param(False, False, (403, "canceled"), (403, "canceled"), id="runner-without-the-feature"),
    ],
)
async def test_canceled_job_says_so(
    wire: Wire, graceful: bool, force: bool, while_running: tuple[int, str], after_the_end: tuple[int, str]
) -> None:
    """A runner that can cancel gracefully reads `canceling` and still ends the job; any other reads 403."""
    job = await wire.start_job(graceful=graceful)
    wire.gitlab.cancel(job.id, force=force)
    assert await wire.put(job, state="running") == while_running
    assert await wire.put(job, state="failed", failure_reason="unknown_failure") == after_the_end
    assert job.state == "canceled"


async def test_pending_job_that_is_canceled_is_never_handed_out(wire: Wire) -> None:
    """A job canceled in the queue is gone."""
    wire.gitlab.cancel(wire.gitlab.queue().id)
    assert (await wire.ask()).status == 204


async def test_final_update_is_answered_202_as_often_as_told() -> None:
    """With `pending_replies` GitLab still stores the log: the job ends with the first 200."""
    async with (
        GitLabServer(pending_replies=2, update_interval=7) as gitlab,
        aiohttp.ClientSession(gitlab.url, headers=HEADERS) as session,
    ):
        wire = Wire(gitlab, session)
        job = await wire.start_job()
        answers = [await wire.put(job, state="success") for _ in range(3)]
        assert answers == [(202, "running"), (202, "running"), (200, "success")]


async def test_update_interval_is_told_with_each_patch() -> None:
    """Patches are answered with the server's interval."""
    async with (
        GitLabServer(update_interval=60) as gitlab,
        aiohttp.ClientSession(gitlab.url, headers=HEADERS) as session,
    ):
        job = await Wire(gitlab, session).start_job()
        headers = {"JOB-TOKEN": job.token, "Content-Range": "0-0"}
        async with session.patch(f"/api/v4/jobs/{job.id}/trace", data=b"x", headers=headers) as answer:
            assert answer.headers["X-GitLab-Trace-Update-Interval"] == "60"


async def test_waiters_and_callback_hear_of_the_log() -> None:
    """`wait_trace` and `on_trace` see bytes as they are stored."""
    heard: list[tuple[int, bytes]] = []
    async with (
        GitLabServer(on_trace=lambda job, data: heard.append((job.id, data))) as gitlab,
        aiohttp.ClientSession(gitlab.url, headers=HEADERS) as session,
    ):
        wire = Wire(gitlab, session)
        job = await wire.start_job()
        async with anyio.create_task_group() as group:
            group.start_soon(job.wait_trace, b"split")
            await wire.patch(job, b"a spl", "0-4")
            await wire.patch(job, b"it word", "5-11")
        assert heard == [(job.id, b"a spl"), (job.id, b"it word")]
        with pytest.raises(TimeoutError):
            await job.wait_finished(timeout=0.01)


async def test_text_is_the_log_as_a_reader_sees_it(wire: Wire) -> None:
    """Time stamps, colours and section marks are left out, and continued lines are joined."""
    log = (
        b"2026-08-22T10:00:01.000300Z 00O section_start:1787392801:prepare_executor\r\x1b[0K\n"
        b"2026-08-22T10:00:01.000320Z 00O+\x1b[0K\x1b[36;1mPreparing\x1b[0;m\x1b[0;m\n"
        b"2026-08-22T10:00:02.000320Z 01O hello \xc3\xa9\n"
    )
    job = await wire.start_job()
    await wire.patch(job, log, f"0-{len(log) - 1}")
    assert job.text == "Preparing\nhello é\n"


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [("X-Request-Id", "abc", "X-Request-Id"), ("User-Agent", "python-httpx/0.28", "User-Agent")],
)
async def test_headers_of_a_runner_are_expected(wire: Wire, name: str, value: str, complaint: str) -> None:
    """Requests without GitLab Runner's headers are noted."""
    job = await wire.start_job()
    await wire.session.put(
        f"/api/v4/jobs/{job.id}", json={"state": "running", "token": job.token}, headers={name: value}
    )
    assert [complaint in violation for violation in wire.gitlab.violations] == [True]


async def test_payload_is_queued_as_given_with_id_and_token_filled_in(wire: Wire) -> None:
    """A payload of the test's own goes out as it is."""
    job = wire.gitlab.queue({"steps": None, "odd": {"x": 1}})
    answer = await (await wire.ask()).json()
    assert answer == {"id": job.id, "token": job.token, "steps": None, "odd": {"x": 1}}
    with pytest.raises(ValueError, match=f"There is a job {job.id} already"):
        wire.gitlab.queue({"id": job.id})


async def test_outage_keeps_the_jobs(wire: Wire) -> None:
    """After an outage the job goes on where it was."""
    job = await wire.start_job()
    await wire.patch(job, b"abc", "0-2")
    await wire.gitlab.outage()
    with pytest.raises(aiohttp.ClientConnectionError):
        await wire.patch(job, b"def", "3-5")
    await wire.gitlab.restore()
    assert await wire.patch(job, b"def", "3-5") == (202, "0-6")


async def git(*arguments: str, cwd: Path) -> tuple[int, str, str]:
    """Run git without any configuration of this machine."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(cwd),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
    }
    done = await anyio.run_process(["git", *arguments], cwd=cwd, env=environment, check=False)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


async def test_repository_is_cloned_with_the_token_of_a_running_job(wire: Wire, tmp_path: Path) -> None:
    """A job's `repo_url`, refspecs and sha lead to its files, binary and executable ones too."""
    repository = await wire.gitlab.create_repository("acme/group/demo", files={"README": "one\n", "old": "x"})
    first = repository.sha
    await repository.commit({"bin/run.sh": "#!/bin/sh\n", "data": b"\0\xff", "old": None}, executable=["bin/run.sh"])
    await repository.tag("v1")
    job = await wire.start_job(repository=repository)
    info = job.payload["git_info"]
    assert info["sha"] == repository.sha != first

    await git("init", "-q", ".", cwd=tmp_path)
    fetched = await git("fetch", "-q", "--depth", "20", info["repo_url"], *info["refspecs"], cwd=tmp_path)
    assert fetched[0] == 0, fetched
    assert (await git("checkout", "-q", info["sha"], cwd=tmp_path))[0] == 0
    assert (tmp_path / "README").read_text() == "one\n"
    assert (tmp_path / "data").read_bytes() == b"\0\xff"
    assert os.access(tmp_path / "bin/run.sh", os.X_OK)
    assert not (tmp_path / "old").exists()
    assert (await git("log", "--format=%H", cwd=tmp_path))[1].split() == [repository.sha, first]
    _, tags, _ = await git("ls-remote", "--tags", info["repo_url"], cwd=tmp_path)
    assert tags.split() == [repository.sha, "refs/tags/v1"]


@pytest.mark.parametrize("who", ["nobody", "waiting", "finished", "other-user"])
async def test_repository_is_closed_to_all_others(wire: Wire, tmp_path: Path, who: str) -> None:
    """No token, a token of a job that waits or has ended, another user: access denied."""
    repository = await wire.gitlab.create_repository("acme/demo", files={"README": "one\n"})
    finished = await wire.start_job()
    await wire.put(finished, state="success")
    waiting = wire.gitlab.queue()
    credentials = {
        "nobody": "",
        "waiting": f"gitlab-ci-token:{waiting.token}@",
        "finished": f"gitlab-ci-token:{finished.token}@",
        "other-user": f"root:{waiting.token}@",
    }[who]
    code, _, error = await git("ls-remote", repository.url.replace("://", f"://{credentials}"), cwd=tmp_path)
    assert (code, "Authentication failed" in error or "could not read Username" in error) == (128, True)


async def test_repository_of_some_size_is_cloned_over_both_protocols(wire: Wire, tmp_path: Path) -> None:
    """Answers of megabytes are streamed whole, over git's protocol 2 and the older one."""
    noise = b"".join(zlib.crc32(number.to_bytes(4)).to_bytes(4) for number in range(500_000))
    repository = await wire.gitlab.create_repository("acme/big", files={"noise": noise})
    job = await wire.start_job(repository=repository)
    for version in ("0", "2"):
        target = tmp_path / version
        code, _, error = await git(
            "-c",
            f"protocol.version={version}",
            "clone",
            "-q",
            job.payload["git_info"]["repo_url"],
            str(target),
            cwd=tmp_path,
        )
        assert (code, error) == (0, "")
        assert (target / "noise").read_bytes() == noise


@pytest.mark.slow
async def test_server_runs_as_a_process_of_its_own(tmp_path: Path) -> None:
    """It tells where it listens, takes jobs over HTTP, and sums up when it is told to stop."""
    command = [sys.executable, "-m", "runner.testing.gitlab", "--listen", "127.0.0.1:0", "--jobs", "2"]
    with anyio.fail_after(20):
        async with await anyio.open_process(command, cwd=Path(__file__).parents[2]) as process:
            assert process.stdout is not None
            lines = BufferedByteReceiveStream(process.stdout)
            told = json.loads(await lines.receive_until(b"\n", 1 << 16))
            async with aiohttp.ClientSession(told["url"], headers=HEADERS) as session:
                await session.post("/-/testing/jobs?count=3", json={"script": ["true"]})
                body = {"token": told["token"]}
                async with session.post(
                    "/api/v4/jobs/request", json=body, headers={"RUNNER-TOKEN": told["token"]}
                ) as answer:
                    assert (await answer.json())["id"] == 1001
                async with session.get("/-/testing/jobs") as answer:
                    states = [job["state"] for job in (await answer.json())["jobs"]]
            assert states == ["running", "pending", "pending", "pending", "pending"]
            process.terminate()
            assert json.loads(await lines.receive_until(b"\n", 1 << 16)) == {
                "states": {"running": 1, "pending": 4},
                "violations": [],
            }
            assert await process.wait() == 0


async def test_a_cancelled_server_leaves_no_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is cancelled within the server's block leaves nothing on disk and no open port."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with anyio.CancelScope() as scope:
        async with GitLabServer() as gitlab:
            await gitlab.create_repository("acme/demo", files={"hello.txt": "hello\n"})
            assert os.listdir(tmp_path)
            scope.cancel()
    assert os.listdir(tmp_path) == []
    with pytest.raises(OSError, match="onnect"):
        await anyio.connect_tcp("127.0.0.1", urlsplit(gitlab.url).port or 0)
