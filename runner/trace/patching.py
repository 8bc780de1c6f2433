"""When which part of the log goes to GitLab, and how the job's end gets there: a machine without a socket or a clock.

Law: everything that decides about the log's way to GitLab stands in this file. The session is asked
`next_request(now)`, somebody carries the request out and hands back what GitLab said with `receive(reply, now)`; what
each answer does is read from the table below, the code only applies it. Asking twice without an answer gives the
same request: a request that was cut off is simply sent again, and when GitLab had taken it, its 416 says so.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import TypeAlias

from runner.trace.answers import Answer, PatchResult, UpdateResult, answer_of, is_refusal

FIRST_INTERVAL = 3.0
"""Seconds between patches until the server says otherwise."""

INTERVAL_MAX = 900.0
"""The longest interval that a server is believed."""

PATCH_BYTES = 1 << 20
"""GitLab's own bound of one patch."""

_KEEP_ALIVE_MAX = 1800.0
_BACKOFF_MAX = 60.0
_PROBE_AFTER = 5  # failures in a row, after which the end of a job asks whether GitLab takes anything at all
_PROBES = 3
_RESYNC_LIMIT = 10  # a server that never agrees on an offset, or never on the whole log, must not keep a job for ever


@dataclass(frozen=True, slots=True)
class Patch:
    """Send the log's bytes from `start` up to, without, `end`. (`Content-Range` names the last byte: `end - 1`.)"""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Touch:
    """Say that the job is running, with the log's present checksum and size: so a silent job hears of its cancel."""


@dataclass(frozen=True, slots=True)
class Update:
    """Report the job's end, with the checksum and size of the whole log."""

    state: str
    reason: str
    exit_code: int


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to send: ask again at `until` (infinity: not by time), or once the log holds `size` bytes."""

    until: float
    size: int | None = None
    """None when growth changes nothing."""


@dataclass(frozen=True, slots=True)
class Done:
    """Nothing will ever be sent again."""

    delivered: bool
    """False when GitLab has not heard of the job's end within the bound that the caller gave."""


Request: TypeAlias = Patch | Touch | Update | Wait | Done
"""What the session wants next."""


class Signal(Enum):
    """What GitLab wants of the job; each is given at most once."""

    CANCELING = auto()
    """Stop the script, then run after_script and the uploads for failed jobs."""
    ABORT = auto()
    """The job is no longer ours: stop all of it at once."""


class Phase(Enum):
    """Where the session stands."""

    RUNNING = auto()
    """The job runs: patches by interval, touches in silence."""
    ABORTED = auto()
    """GitLab gave the job up: nothing is sent until the job has ended here too."""
    FLUSHING = auto()
    """The job has ended: the rest of the log goes out back to back."""
    CLOSING = auto()
    """The log is out, or given up: the final state remains."""
    DELIVERED = auto()
    FAILED = auto()


class TraceSession:
    """One job's log on its way to GitLab.

    `grew` tells how much log there is, `finish` that there will be no more. Time never runs by itself: `now` is any
    monotonic clock, the same one in all calls.
    """

    def __init__(
        self,
        now: float,
        *,
        patch_bytes: int = PATCH_BYTES,
        keep_alive_interval: float = 30.0,
        dynamic_keep_alive: bool = False,
    ) -> None:
        """Begin after GitLab has acknowledged the job at `now`.

        `dynamic_keep_alive` is FF_USE_DYNAMIC_TRACE_FORCE_SEND_INTERVAL: silence may last four of the server's
        intervals, at least `keep_alive_interval` and at most half an hour.
        """
        self._patch_bytes = patch_bytes
        self._keep_alive_interval = keep_alive_interval
        self._dynamic = dynamic_keep_alive
        self._phase = Phase.RUNNING
        self._size = 0
        self._offset = 0
        self._interval = FIRST_INTERVAL
        self._patch_at = -math.inf  # the tick: a part of a patch waits for it, a whole one does not
        self._gate = -math.inf  # after trouble nothing at all leaves before it
        self._contact_at = now
        self._asked: Patch | Touch | Update | None = None
        self._patch_failed = False
        self._canceling_told = False
        self._failures = 0
        self._refusals = 0
        self._patient = True
        self._resyncs = 0
        self._rewinds = 0
        self._probes = 0
        self._retry_limit = 0
        self._final = Update("failed", "", 0)

    @property
    def phase(self) -> Phase:
        """Where the session stands."""
        return self._phase

    @property
    def offset(self) -> int:
        """The bytes GitLab has taken, as far as it told us."""
        return self._offset

    @property
    def interval(self) -> float:
        """Seconds between patches, as the server wants them now."""
        return self._interval

    @property
    def keep_alive_interval(self) -> float:
        """Seconds of silence after which GitLab is asked how the job is meant to go on."""
        if not self._dynamic:
            return self._keep_alive_interval
        return min(max(4 * self._interval, self._keep_alive_interval), _KEEP_ALIVE_MAX)

    def grew(self, size: int) -> None:
        """Tell how many bytes of log there are now."""
        self._size = size

    def finish(self, state: str, reason: str = "", exit_code: int = 0, *, retry_limit: int = 10) -> None:
        """Tell that the log is whole and how the job ended; only the first call counts.

        `retry_limit` bounds how often a GitLab that is there refuses (4xx), first the log's rest and then the final
        state, with waits of 1, 2, 4 ... 60 seconds between the tries. A GitLab that is away or in trouble, and one that
        orders a wait itself (202, 429), is asked without a bound here, so the caller sets a deadline as well. A log
        that GitLab refuses again and again, while it answers other requests, does not hold the state back. After an
        ABORT each is tried once.
        """
        if self._phase not in {Phase.RUNNING, Phase.ABORTED}:
            return
        self._patient = self._phase is not Phase.ABORTED
        self._retry_limit = max(retry_limit, 1) if self._patient else 1
        self._final = Update(state, reason, exit_code)
        self._phase = Phase.FLUSHING
        self._failures = self._refusals = 0
        self._gate = -math.inf

    def next_request(self, now: float) -> Request:
        """Say what to send now, or until when to wait; asking again, nothing else having happened, says the same."""
        request = self._decide(now)
        if isinstance(request, (Patch, Touch, Update)):
            self._asked = request
        return request

    def receive(self, reply: UpdateResult, now: float) -> tuple[Signal, ...]:
        """Take the reply to the last request and say what GitLab wants of the job.

        Raises RuntimeError when nothing was asked, or a patch is answered with an update's reply or the other way
        round.
        """
        asked = self._asked
        if asked is None or isinstance(asked, Patch) is not isinstance(reply, PatchResult):
            raise RuntimeError(f"A {type(reply).__name__} came where {asked!r} had been asked.")
        was_running = self._phase is Phase.RUNNING
        if reply.interval is not None and reply.interval > 0:
            self._interval = min(reply.interval, INTERVAL_MAX)
        answer = answer_of(reply)
        self._patch_failed = isinstance(asked, Patch) and answer is not Answer.TAKEN
        _TRANSITIONS[self._phase, type(asked)][answer](self, reply, now)
        self._asked = None
        return self._signals(answer, reply.job_status) if was_running else ()

    def _signals(self, answer: Answer, job_status: str) -> tuple[Signal, ...]:
        if answer is Answer.ABORT:
            return (Signal.ABORT,)
        if job_status == "canceling" and not self._canceling_told:
            self._canceling_told = True
            return (Signal.CANCELING,)
        return ()

    def _decide(self, now: float) -> Request:
        match self._phase:
            case Phase.DELIVERED | Phase.FAILED:
                return Done(self._phase is Phase.DELIVERED)
            case Phase.ABORTED:
                return Wait(math.inf)
            case _ if now < self._gate:
                return Wait(self._gate)
            case Phase.RUNNING:
                return self._decide_running(now)
            case Phase.FLUSHING if self._offset < self._size:
                return Touch() if self._patch_failed and self._failures >= _PROBE_AFTER else self._patch()
        self._phase = Phase.CLOSING
        return self._final

    def _decide_running(self, now: float) -> Request:
        touch_at = self._contact_at + self.keep_alive_interval
        waiting = self._size - self._offset
        # A patch that keeps failing gives way to a touch, which may still bring the news of a cancel.
        if waiting >= self._patch_bytes or (waiting and now >= self._patch_at):
            return Touch() if self._patch_failed and now >= touch_at else self._patch()
        if now >= touch_at:
            return Touch()
        if now < self._patch_at:
            return Wait(min(self._patch_at, touch_at), self._offset + self._patch_bytes)
        return Wait(touch_at, self._offset + 1)

    def _patch(self) -> Patch:
        return Patch(self._offset, min(self._size, self._offset + self._patch_bytes))

    # What an answer does: each of the following is a cell of the table below.

    def _stored(self, reply: UpdateResult, now: float) -> None:
        assert isinstance(self._asked, Patch)  # by the table
        self._offset = self._asked.end
        self._patch_at = now + self._interval
        self._resyncs = 0
        self._probes = 0
        self._heard(reply, now)

    def _heard(self, _reply: UpdateResult, now: float) -> None:
        self._contact_at = now
        self._failures = self._refusals = 0

    def _resync(self, reply: UpdateResult, now: float) -> None:
        assert isinstance(reply, PatchResult)  # by the table
        offset = reply.range_end or 0
        if offset > self._size:  # GitLab has more than we ever had: another log, or one we are still making again
            self._fail(reply, now)
            return
        self._offset = offset
        self._resyncs += 1
        self._contact_at = now
        self._pause(reply, now)
        if self._phase is Phase.FLUSHING and self._resyncs > _RESYNC_LIMIT:
            self._close(reply, now)

    def _rewind(self, reply: UpdateResult, now: float) -> None:
        self._offset = 0
        self._contact_at = now
        self._pause(reply, now)
        if self._phase is Phase.CLOSING:
            self._rewinds += 1
            self._phase = Phase.FLUSHING if self._rewinds <= _RESYNC_LIMIT else Phase.FAILED

    def _pause(self, reply: UpdateResult, now: float) -> None:
        # After the job's end an interval that was meant for a running job's patches would hold its state back.
        ending = self._phase is not Phase.RUNNING and not reply.interval
        self._gate = now + (FIRST_INTERVAL if ending else self._interval)
        self._failures = self._refusals = 0

    def _fail(self, reply: UpdateResult, now: float) -> None:
        self._failures += 1
        self._refusals += not self._patient or is_refusal(reply.status)
        backoff = min(2.0 ** min(self._failures - 1, 10), _BACKOFF_MAX)
        self._gate = now + max(backoff, min(reply.retry_after or 0.0, INTERVAL_MAX))
        if self._phase is not Phase.RUNNING and self._refusals >= self._retry_limit:
            if self._phase is Phase.FLUSHING:
                self._close(reply, now)
            else:
                self._phase = Phase.FAILED

    def _abort(self, _reply: UpdateResult, _now: float) -> None:
        self._phase = Phase.ABORTED

    def _probed(self, reply: UpdateResult, now: float) -> None:
        # GitLab is there and takes the job, not its log. It may have come back just now, so once proves nothing.
        self._probes += 1
        if self._probes >= _PROBES:
            self._close(reply, now)

    def _close(self, _reply: UpdateResult, _now: float) -> None:
        self._phase = Phase.CLOSING
        self._failures = self._refusals = 0
        self._gate = -math.inf

    def _deliver(self, _reply: UpdateResult, _now: float) -> None:
        self._phase = Phase.DELIVERED


_Action: TypeAlias = Callable[[TraceSession, UpdateResult, float], None]

_TRANSITIONS: Mapping[tuple[Phase, type], Mapping[Answer, _Action]] = {
    (Phase.RUNNING, Patch): {
        Answer.TAKEN: TraceSession._stored,
        Answer.MISMATCH: TraceSession._resync,
        Answer.NOT_FOUND: TraceSession._pause,  # GitLab may only have mislaid the log: the job goes on
        Answer.ABORT: TraceSession._abort,
        Answer.FAILED: TraceSession._fail,
    },
    (Phase.RUNNING, Touch): {
        Answer.TAKEN: TraceSession._heard,
        Answer.PENDING: TraceSession._heard,
        Answer.INVALID: TraceSession._rewind,
        Answer.ABORT: TraceSession._abort,
        Answer.FAILED: TraceSession._fail,
    },
    (Phase.FLUSHING, Patch): {
        Answer.TAKEN: TraceSession._stored,
        Answer.MISMATCH: TraceSession._resync,
        Answer.NOT_FOUND: TraceSession._close,
        Answer.ABORT: TraceSession._close,
        Answer.FAILED: TraceSession._fail,
    },
    (Phase.FLUSHING, Touch): {
        Answer.TAKEN: TraceSession._probed,
        Answer.PENDING: TraceSession._probed,
        Answer.INVALID: TraceSession._rewind,
        Answer.ABORT: TraceSession._close,
        Answer.FAILED: TraceSession._fail,
    },
    (Phase.CLOSING, Update): {
        Answer.TAKEN: TraceSession._deliver,
        Answer.PENDING: TraceSession._pause,
        Answer.INVALID: TraceSession._rewind,
        Answer.ABORT: TraceSession._deliver,  # `Job-Status: failed` also answers a job that reports its failure
        Answer.FAILED: TraceSession._fail,
    },
}
