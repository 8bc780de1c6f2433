"""Every answer of GitLab has one meaning, read from its status and headers alone."""

from typing import Any

import httpx
import orjson
import pytest

from runner.gitlab.errors import (
    CoordinatorError,
    CoordinatorForbiddenError,
    CoordinatorProtocolError,
    CoordinatorUnavailableError,
)
from runner.gitlab.replies import (
    JobAnswer,
    JobKey,
    classify_job_reply,
    classify_patch_reply,
    classify_update_reply,
    describe,
)
from runner.testing.payloads import job_payload
from runner.trace.answers import PatchResult, UpdateResult

HTML = b"<html><body>Bad gateway</body></html>"


def test_job_is_read_from_a_201() -> None:
    """A payload becomes a job, with the cursor and the mark of a long poll."""
    headers = httpx.Headers({"x-gitlab-last-update": "c1", "gitlab-ci-builds-polling": "yes"})
    reply = classify_job_reply(201, headers, orjson.dumps(job_payload(id=5)), now=0.0)
    assert reply.job is not None
    assert (reply.answer, reply.job.id, reply.trouble) == (JobAnswer.JOB, 5, None)
    assert (reply.last_update, reply.long_polled, reply.healthy) == ("c1", True, True)


def test_job_is_read_whatever_its_content_type_says() -> None:
    """A job that can be read is not given up for its label."""
    headers = httpx.Headers({"Content-Type": "text/plain"})
    assert classify_job_reply(201, headers, b'{"id": 5, "token": "t"}', now=0.0).job is not None


@pytest.mark.parametrize(
    ("body", "key"),
    [
        pytest.param(HTML, None, id="html"),
        pytest.param(b"", None, id="empty"),
        pytest.param(b"[]", None, id="list"),
        pytest.param(b'{"id": 5}', None, id="no-token"),
        pytest.param(b'{"id": 5, "token": ""}', None, id="empty-token"),
        pytest.param(b'{"id": 5, "token": "t", "steps": 7}', JobKey(5, "t"), id="one-wrong-field"),
    ],
)
def test_job_that_cannot_be_read_is_garbage(body: bytes, key: JobKey | None) -> None:
    """What can be known of such a job is kept, so that it can be reported as failed."""
    reply = classify_job_reply(201, httpx.Headers(), body, now=0.0)
    assert (reply.answer, reply.job, reply.unreadable, reply.healthy) == (JobAnswer.GARBAGE, None, key, True)
    assert isinstance(reply.trouble, CoordinatorProtocolError)


def test_no_job_brings_the_cursor() -> None:
    """204 is no trouble."""
    reply = classify_job_reply(204, httpx.Headers({"X-GitLab-Last-Update": "c2"}), b"", now=0.0)
    assert (reply.answer, reply.trouble, reply.last_update, reply.long_polled) == (JobAnswer.NONE, None, "c2", False)


@pytest.mark.parametrize(
    ("status", "answer", "error", "healthy"),
    [
        (200, JobAnswer.REFUSED, CoordinatorProtocolError, True),
        (302, JobAnswer.REFUSED, CoordinatorProtocolError, True),
        (400, JobAnswer.REFUSED, CoordinatorProtocolError, True),
        (401, JobAnswer.FORBIDDEN, CoordinatorForbiddenError, False),
        (403, JobAnswer.FORBIDDEN, CoordinatorForbiddenError, False),
        (404, JobAnswer.REFUSED, CoordinatorProtocolError, True),
        (408, JobAnswer.UNAVAILABLE, CoordinatorUnavailableError, True),
        (409, JobAnswer.CONFLICT, CoordinatorUnavailableError, True),
        (413, JobAnswer.REFUSED, CoordinatorProtocolError, True),
        (422, JobAnswer.REFUSED, CoordinatorProtocolError, True),
        (429, JobAnswer.THROTTLED, CoordinatorUnavailableError, True),
        (500, JobAnswer.UNAVAILABLE, CoordinatorUnavailableError, True),
        (501, JobAnswer.UNAVAILABLE, CoordinatorUnavailableError, True),
        (502, JobAnswer.UNAVAILABLE, CoordinatorUnavailableError, True),
        (503, JobAnswer.UNAVAILABLE, CoordinatorUnavailableError, True),
        (521, JobAnswer.UNAVAILABLE, CoordinatorUnavailableError, True),
    ],
)
def test_status_decides_what_a_question_for_a_job_brought(
    status: int, answer: JobAnswer, error: type[CoordinatorError], healthy: bool
) -> None:
    """The class follows from the status, only 401 and 403 make the runner unhealthy, and the server's wait is kept."""
    reply = classify_job_reply(status, httpx.Headers({"Retry-After": "7"}), HTML, now=0.0)
    assert (reply.answer, reply.healthy, reply.retry_after) == (answer, healthy, 7.0)
    assert type(reply.trouble) is error
    assert reply.trouble.status == status
    assert str(reply.trouble).startswith(f"Asking for a job brought {status}")


@pytest.mark.parametrize(
    ("status", "headers", "body", "expected"),
    [
        pytest.param(403, {}, b'{"message":"403 Forbidden"}', "403 (403 Forbidden)", id="text"),
        pytest.param(
            400,
            {},
            b'{"message":{"tags":["too long","odd"],"name":"bad"}}',
            "400 (tags: too long, odd, name: bad)",
            id="lists",
        ),
        pytest.param(400, {}, b'{"message":7}', "400", id="another-shape"),
        pytest.param(400, {}, b"[]", "400", id="list"),
        pytest.param(500, {}, b"\xff\xfe", "500", id="binary"),
        pytest.param(
            502,
            {"Content-Type": "text/html; charset=utf-8"},
            HTML,
            "502 with a page of HTML, so another server than GitLab answered, such as a proxy",
            id="html",
        ),
        pytest.param(
            301,
            {"Location": "https://gitlab.example.com/"},
            b"",
            "301, a redirect: set `url` to the address that GitLab itself uses, with https if it does",
            id="redirect",
        ),
        pytest.param(400, {}, orjson.dumps({"message": "a\nb " + "x" * 400}), "400 (a b " + "x" * 296 + ")", id="long"),
    ],
)
def test_answer_is_described_in_a_few_words(status: int, headers: dict[str, str], body: bytes, expected: str) -> None:
    """GitLab's message is told on one line, anything else is told by its kind."""
    assert describe(status, httpx.Headers(headers), body) == expected


@pytest.mark.parametrize(
    ("status", "headers", "expected"),
    [
        pytest.param(200, {"Job-Status": "running"}, UpdateResult(status=200, job_status="running"), id="taken"),
        pytest.param(
            202,
            {"Job-Status": "running", "X-GitLab-Trace-Update-Interval": "1"},
            UpdateResult(status=202, job_status="running", interval=1.0),
            id="still-storing",
        ),
        pytest.param(200, {"X-GitLab-Trace-Update-Interval": "often"}, UpdateResult(status=200), id="garbage-interval"),
        pytest.param(200, {"X-GitLab-Trace-Update-Interval": "nan"}, UpdateResult(status=200), id="no-number"),
        pytest.param(429, {"Retry-After": "60"}, UpdateResult(status=429, retry_after=60.0), id="throttled"),
        pytest.param(403, {"Job-Status": "canceled"}, UpdateResult(status=403, job_status="canceled"), id="canceled"),
    ],
)
def test_update_reply_is_its_status_and_headers(status: int, headers: dict[str, Any], expected: UpdateResult) -> None:
    """What counts of an update's answer is kept as it is."""
    assert classify_update_reply(status, httpx.Headers(headers), HTML, now=0.0) == expected


@pytest.mark.parametrize(
    ("range_", "expected"),
    [
        ("0-180", 180),
        ("0-0", 0),
        ("bytes=0-180", 180),
        ("", None),
        ("0-", None),
        ("0-x", None),
        ("-", None),
        ("0-٣", None),
    ],
)
def test_patch_reply_tells_the_stored_size(range_: str, expected: int | None) -> None:
    """The second number of Range is the size; garbage is no number."""
    headers = {"Range": range_, "Job-Status": "running", "X-GitLab-Trace-Update-Interval": "60"}
    assert classify_patch_reply(416, headers, b"", now=0.0) == PatchResult(
        status=416, job_status="running", interval=60.0, range_end=expected
    )
