"""What GitLab's answers mean: status, headers and body in, frozen replies out.

Law: pure; every status has a meaning here, unknown ones too, and meaning is never read from a text. The replies about a
running job (`PatchResult`, `UpdateResult`) belong to `trace/patching.py`, whose tables say what follows from them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

import orjson

from runner.gitlab.backoff import is_retriable, server_delay
from runner.gitlab.errors import (
    CoordinatorError,
    CoordinatorForbiddenError,
    CoordinatorProtocolError,
    CoordinatorUnavailableError,
)
from runner.job.payload import Job, PayloadError
from runner.trace.answers import PatchResult, UpdateResult

LAST_UPDATE = "X-GitLab-Last-Update"
_INTERVAL = "X-GitLab-Trace-Update-Interval"
_MESSAGE_MAX = 300


class JobIdentity(Protocol):
    """What a request about a job needs of it; a `Job` has it."""

    @property
    def id(self) -> int:
        """GitLab's number of the job."""
        ...

    @property
    def token(self) -> str:
        """The job's own token."""
        ...


@dataclass(frozen=True, slots=True)
class JobKey:
    """The identity of a job whose payload could not be read."""

    id: int
    token: str = field(repr=False)


class JobAnswer(StrEnum):
    """What became of a request for a job."""

    JOB = "job"
    """Here is one (201)."""
    NONE = "none"
    """There is none (204)."""
    CONFLICT = "conflict"
    """Another runner was quicker, or a replica lags (409): ask again at the next turn."""
    FORBIDDEN = "forbidden"
    """The runner's token is not accepted (401, 403): the only answer that makes a runner unhealthy."""
    THROTTLED = "throttled"
    """Too many requests (429)."""
    REFUSED = "refused"
    """Any other answer that says no: 400, 404, 422 (an orphaned runner), a redirect."""
    UNAVAILABLE = "unavailable"
    """No answer, or one of a server in trouble (408, 5xx)."""
    GARBAGE = "garbage"
    """A job was handed out (201) and cannot be read."""
    UNUSABLE = "unusable"
    """No request could be made: URL or client certificate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobReply:
    """The answer to a request for a job."""

    answer: JobAnswer
    job: Job | None = None
    """Set exactly when the answer is JOB."""
    trouble: CoordinatorError | None = None
    """Set unless the answer is JOB or NONE: the sentence to log, and to raise where an exception is wanted."""
    retry_after: float | None = None
    """Seconds to wait before asking again, None: the next turn will do."""
    last_update: str = ""
    """The cursor for the next request."""
    long_polled: bool = False
    """Whether GitLab held the request (`Gitlab-Ci-Builds-Polling`)."""
    unreadable: JobKey | None = None
    """The job of a GARBAGE answer, when at least its id and token could be read: so it can be reported as failed."""

    @property
    def healthy(self) -> bool:
        """Whether this counts for the runner's health: network trouble and server errors do not make it unhealthy."""
        return self.answer not in {JobAnswer.FORBIDDEN, JobAnswer.UNUSABLE}


_NO_JOB: Mapping[int, tuple[JobAnswer, type[CoordinatorError]]] = {
    401: (JobAnswer.FORBIDDEN, CoordinatorForbiddenError),
    403: (JobAnswer.FORBIDDEN, CoordinatorForbiddenError),
    409: (JobAnswer.CONFLICT, CoordinatorUnavailableError),
    429: (JobAnswer.THROTTLED, CoordinatorUnavailableError),
}


def classify_job_reply(status: int, headers: Mapping[str, str], body: bytes, *, now: float) -> JobReply:
    """Read the answer to `POST jobs/request`. `now` is seconds since the epoch; `headers` must not mind case."""
    last_update = headers.get(LAST_UPDATE, "")
    long_polled = headers.get("Gitlab-Ci-Builds-Polling", "").lower() == "yes"
    if status == 201:
        return _read_job(body, headers, last_update=last_update, long_polled=long_polled)
    if status == 204:
        return JobReply(answer=JobAnswer.NONE, last_update=last_update, long_polled=long_polled)
    answer, error = _NO_JOB.get(status) or (
        (JobAnswer.UNAVAILABLE, CoordinatorUnavailableError)
        if is_retriable(status) or status >= 500
        else (JobAnswer.REFUSED, CoordinatorProtocolError)
    )
    delay = server_delay(headers, now)
    trouble = error(
        f"Asking for a job brought {describe(status, headers, body)}.{_ADVICE.get(status, '')}",
        status=status,
        retry_after=delay,
    )
    return JobReply(answer=answer, trouble=trouble, retry_after=delay, last_update=last_update)


_ADVICE: Mapping[int, str] = {
    401: " Check the token of this runner.",
    403: " Check the token of this runner: it may be wrong, expired or deleted.",
    404: " Check the `url` of this runner: it must be the address of the GitLab server.",
    407: " The proxy wants a user and a password: write them into the URL in HTTP_PROXY.",
    422: " No project or group owns this runner any more.",
}


def classify_update_reply(status: int, headers: Mapping[str, str], body: bytes, *, now: float) -> UpdateResult:
    """Read the answer to `PUT jobs/:id`; the body says nothing that counts."""
    return UpdateResult(
        status=status,
        job_status=headers.get("Job-Status", ""),
        interval=_interval(headers),
        retry_after=server_delay(headers, now),
    )


def classify_patch_reply(status: int, headers: Mapping[str, str], body: bytes, *, now: float) -> PatchResult:
    """Read the answer to `PATCH jobs/:id/trace`: `Range: 0-<size>` tells the size, so the next byte to send."""
    return PatchResult(
        status=status,
        job_status=headers.get("Job-Status", ""),
        interval=_interval(headers),
        retry_after=server_delay(headers, now),
        range_end=_range_end(headers.get("Range", "")),
    )


def describe(status: int, headers: Mapping[str, str], body: bytes) -> str:
    """Say what an answer was, in a few words for a log: the status and GitLab's `message`, never a page of HTML."""
    kind = headers.get("Content-Type", "").partition(";")[0].strip().lower()
    message = _message(body)
    if message:
        return f"{status} ({message})"
    if 300 <= status < 400:
        return f"{status}, a redirect: set `url` to the address that GitLab itself uses, with https if it does"
    if kind in {"text/html", "application/xhtml+xml"}:
        return f"{status} with a page of HTML, so another server than GitLab answered, such as a proxy"
    return str(status)


def _read_job(body: bytes, headers: Mapping[str, str], *, last_update: str, long_polled: bool) -> JobReply:
    # The content type does not decide: a job that can be read is not given up for its label.
    try:
        job = Job.parse(body)
    except PayloadError as error:
        trouble = CoordinatorProtocolError(f"GitLab handed out a job that cannot be read. {error}", status=201)
        return JobReply(
            answer=JobAnswer.GARBAGE,
            trouble=trouble,
            last_update=last_update,
            long_polled=long_polled,
            unreadable=_job_key(body),
        )
    return JobReply(answer=JobAnswer.JOB, job=job, last_update=last_update, long_polled=long_polled)


def _job_key(body: bytes) -> JobKey | None:
    try:
        data = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    match data:
        case {"id": int(number), "token": str(token)} if token:
            return JobKey(number, token)
    return None


def _message(body: bytes) -> str:
    """Return GitLab's `message`: a text, or an object of lists such as `{"tags": ["too long"]}`."""
    try:
        message = orjson.loads(body)["message"]
    except (orjson.JSONDecodeError, KeyError, TypeError, IndexError):
        return ""
    if isinstance(message, str):
        text = message
    elif isinstance(message, dict):
        text = ", ".join(
            f"{key}: {', '.join(map(str, texts)) if isinstance(texts, list) else texts}"
            for key, texts in message.items()
            if isinstance(texts, list | str)
        )
    else:
        return ""
    return " ".join(text.split())[:_MESSAGE_MAX]


def _interval(headers: Mapping[str, str]) -> float | None:
    try:
        interval = float(headers.get(_INTERVAL, ""))
    except ValueError:
        return None
    return interval if math.isfinite(interval) else None


def _range_end(text: str) -> int | None:
    end = text.rpartition("-")[2].strip()
    return int(end) if end.isascii() and end.isdigit() else None
