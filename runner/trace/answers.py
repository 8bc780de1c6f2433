"""What GitLab answers to a job's requests, and what an answer means for the job.

Law: a meaning is read from the tables below, from the status and `Job-Status` alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto

NETWORK_FAILED = -1
"""The status of a reply that never came: refused, reset, timed out, or not understood."""

CLIENT_FAILED = -100
"""The status when no request could be made at all, such as for a malformed URL: asking again cannot help."""

_GONE = frozenset({"canceled", "failed"})


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateResult:
    """What GitLab said to `PUT jobs/:id`."""

    status: int
    """The HTTP status, or NETWORK_FAILED, or CLIENT_FAILED."""
    job_status: str = ""
    """`Job-Status`."""
    interval: float | None = None
    """`X-GitLab-Trace-Update-Interval` in seconds, None when it was absent or no number."""
    retry_after: float | None = None
    """`Retry-After` (or the time until `RateLimit-ResetTime`) in seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchResult(UpdateResult):
    """What GitLab said to `PATCH jobs/:id/trace`."""

    range_end: int | None = None
    """The second number of `Range`: how many bytes GitLab has, so the next one to send. None when absent or garbage."""


class Answer(Enum):
    """What a reply means, whatever it answers."""

    TAKEN = auto()
    PENDING = auto()
    MISMATCH = auto()
    INVALID = auto()
    NOT_FOUND = auto()
    ABORT = auto()
    FAILED = auto()


# GitLab's order of evaluation: `Job-Status` first, then these, and everything else has failed and may be tried again.
_PATCH_ANSWERS: Mapping[int, Answer] = {
    202: Answer.TAKEN,
    403: Answer.ABORT,
    404: Answer.NOT_FOUND,
    416: Answer.MISMATCH,
}
_UPDATE_ANSWERS: Mapping[int, Answer] = {
    200: Answer.TAKEN,
    202: Answer.PENDING,
    403: Answer.ABORT,
    404: Answer.ABORT,
    412: Answer.INVALID,
    CLIENT_FAILED: Answer.ABORT,
}


def answer_of(reply: UpdateResult) -> Answer:
    """Say what a reply means; a patch's and an update's statuses have their own tables."""
    if reply.job_status in _GONE:
        return Answer.ABORT
    table = _PATCH_ANSWERS if isinstance(reply, PatchResult) else _UPDATE_ANSWERS
    return table.get(reply.status, Answer.FAILED)


def is_refusal(status: int) -> bool:
    """Tell whether a GitLab that is there says no; one that is being restarted answers 5xx or nothing."""
    return 400 <= status < 500 and status not in {408, 429}
