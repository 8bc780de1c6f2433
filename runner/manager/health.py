"""Whether GitLab takes a runner for one of its own, and how long to leave it alone while it does not.

Pure: the random fraction of a wait is an argument. Refused requests (401, 403, or a configuration with which none can
be made) make a runner unhealthy after `unhealthy_requests_limit` of them in a row. Network trouble, a busy server and
garbage never do; for them GitLab's own word or the coordinator's backoff counts. Each change is told once, not each
request.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from runner.gitlab.backoff import Backoff
from runner.gitlab.replies import JobAnswer

PAUSE_MAX = 60.0
"""Seconds: the longest that a refused runner is left alone.

GitLab Runner leaves it alone for an hour by default; a token that was made valid again is to be noticed within seconds.
"""

_FINE = frozenset({JobAnswer.JOB, JobAnswer.NONE, JobAnswer.CONFLICT})
_REFUSED = frozenset({JobAnswer.FORBIDDEN, JobAnswer.UNUSABLE})


class News(Enum):
    """What is worth a line in the log."""

    TROUBLE = auto()
    """Asking has begun to fail, or fails in another way than before."""
    UNHEALTHY = auto()
    """It has been refused too often."""
    RECOVERED = auto()
    """It works again."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an answer means for the next question."""

    retry_after: float | None = None
    """Seconds to wait at least; None: the next turn will do."""
    news: News | None = None


class Health:
    """How one runner stands with GitLab."""

    def __init__(self, *, limit: int = 3, interval: float = PAUSE_MAX) -> None:
        """`limit` and `interval` are `unhealthy_requests_limit` and `unhealthy_interval`; waits begin at a second and
        double up to the interval, of which no more than PAUSE_MAX counts.
        """
        self._limit = max(1, limit)
        self._backoff = Backoff(initial=min(1.0, interval), limit=min(interval, PAUSE_MAX))
        self._refusals = 0
        self._trouble: JobAnswer | None = None

    @property
    def healthy(self) -> bool:
        """Whether GitLab accepts the runner, as far as is known."""
        return self._refusals < self._limit

    @property
    def refused(self) -> bool:
        """Whether the last answer was a refusal."""
        return self._refusals > 0

    def heard(self, answer: JobAnswer, fraction: float, *, retry_after: float | None = None) -> Verdict:
        """Take an answer, with the wait that it brought, and say what follows. `fraction` is random in [0, 1)."""
        if answer in _FINE:
            troubled, self._trouble, self._refusals = self._trouble, None, 0
            self._backoff.succeeded()
            return Verdict(retry_after, News.RECOVERED if troubled else None)
        news = News.TROUBLE if answer is not self._trouble else None
        self._trouble = answer
        if answer in _REFUSED:
            self._refusals += 1
            news = News.UNHEALTHY if self._refusals == self._limit else news
        else:
            self._refusals = 0
        if retry_after is None:
            retry_after = self._backoff.failed(fraction)
        return Verdict(retry_after, news)
