"""Who may ask for a job now: `concurrent`, `limit`, `request_concurrency` and `check_interval` as one book.

Pure: `now` is an argument. A slot is reserved before GitLab is asked, so the process never holds more jobs than
`concurrent` says, and each reservation ends in exactly one of `answered`, `put_back` and `finished`.

Who asked longest ago is next, so nobody starves, however few slots there are, and a question that GitLab holds is
called off when another runner waits for its slot. A runner without a job asks once in `check_interval`, which is GitLab
Runner's pace too; while jobs come it asks for up to `request_concurrency` at once.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass

HELD_PATIENCE = 5.0
"""Seconds after which a question that GitLab may hold is taken to be held, and may be called off for another's sake.

GitLab answers one that it does not hold within a second or two, so a job on its way is not hung up on.
"""

SLOW_PATIENCE = 30.0
"""The same for a question that GitLab may not hold: the server hangs."""


SAVED_TURNS = 5
"""Turns of `check_interval` that a runner may save up while its question is held, and use at once when the queue moves.

So it asks no more often than GitLab Runner does, and the next job finds a question that is held.
"""

REPORTS_MAX = 100
"""Ends of one runner's jobs that may wait for GitLab beside new jobs, or `concurrent` where that is more.

Each keeps its log: up to 64 KiB in memory, a longer one in a file.
"""


@dataclass(slots=True)
class _Share:
    """What entries with the same token have in common: GitLab Runner counts jobs and requests by token."""

    running: int = 0
    asking: int = 0
    adapted: float = 0.0
    """How many questions at once are worth asking, by the answers so far."""

    def adapt(self, factor: float, most: int) -> None:
        self.adapted = min(max(self.adapted * factor, 1.0), float(most))


@dataclass(slots=True)
class _Line:
    """The book of one runner."""

    token: Hashable
    share: _Share
    limit: int = 0
    request_concurrency: int = 1
    strict: bool = False
    adaptive: bool = False
    running: int = 0
    reporting: int = 0
    asking: int = 0
    turn: int = 0
    """The number of the last question."""
    ask_at: float = 0.0
    spent_until: float = -math.inf
    """Up to when the turns are used up that this runner has had."""
    busy: bool = False
    """The last answer was a job: where there was one there may be another."""
    without_room: bool = False

    @property
    def requests(self) -> int:
        """How many questions may be under way at once."""
        if not self.adaptive:
            return self.request_concurrency
        return min(max(math.ceil(self.share.adapted), 1), self.request_concurrency)

    @property
    def idle(self) -> bool:
        return not (self.running or self.asking or self.reporting)


@dataclass(frozen=True, slots=True)
class Ask:
    """Leave to ask GitLab once for one runner."""

    runner: Hashable
    number: int
    long_poll: bool
    """Whether the server may hold the request: not while others wait for the same slots."""


@dataclass(slots=True)
class _Question:
    """A question under way."""

    runner: Hashable
    asked_at: float
    patience: float = HELD_PATIENCE
    called_off: bool = False

    @property
    def held_at(self) -> float:
        return self.asked_at + self.patience


class Capacity:
    """Slots of the process and of each runner."""

    def __init__(self, *, concurrent: int, check_interval: float) -> None:
        self.concurrent = concurrent
        self.check_interval = check_interval
        self._lines: dict[Hashable, _Line] = {}
        self._questions: dict[int, _Question] = {}
        self._numbers = 0

    # The configuration -------------------------------------------------------------------------------------------

    def set_runner(
        self,
        runner: Hashable,
        *,
        limit: int,
        request_concurrency: int,
        strict: bool = False,
        adaptive: bool = False,
        token: Hashable = None,
    ) -> None:
        """Add a runner or change its limits; what is running goes on.

        `adaptive` is FF_USE_ADAPTIVE_REQUEST_CONCURRENCY: `request_concurrency` is reached while jobs come, and left
        while there are none or the server is in trouble. Runners of one `token` share their jobs and questions; None
        shares with nobody.
        """
        line = self._lines.get(runner)
        if line is None:
            others = [line.share for line in self._lines.values() if token is not None and line.token == token]
            line = self._lines[runner] = _Line(token, others[0] if others else _Share())
        line.token = token  # another after its renewal; what is shared stays shared
        line.limit, line.request_concurrency = max(0, limit), max(1, request_concurrency)
        line.strict, line.adaptive = strict, adaptive

    def keep_runners(self, runners: Iterable[Hashable]) -> None:
        """Stop asking for every other runner; its running jobs keep their slots until they finish."""
        keep = set(runners)
        for runner, line in tuple(self._lines.items()):
            if runner not in keep:
                line.limit = -1
                self._forget(runner)

    # What there is -----------------------------------------------------------------------------------------------

    @property
    def running(self) -> int:
        """Jobs that hold a slot now."""
        return sum(line.running for line in self._lines.values())

    @property
    def reporting(self) -> int:
        """Jobs that hold no slot any more, whose end GitLab has not yet taken."""
        return sum(line.reporting for line in self._lines.values())

    @property
    def reserved(self) -> int:
        """Slots in use: running jobs and requests under way."""
        return sum(line.running + line.asking for line in self._lines.values())

    def asking_of(self, runner: Hashable) -> int:
        """Questions of one runner that are under way."""
        return self._lines[runner].asking if runner in self._lines else 0

    def questions_of(self, runner: Hashable) -> tuple[int, ...]:
        """The numbers of a runner's questions that are under way."""
        return tuple(number for number, question in self._questions.items() if question.runner == runner)

    def knows(self, runner: Hashable) -> bool:
        """Whether a runner is served, or has something under way that is left of when it was."""
        return runner in self._lines

    def requests_of(self, runner: Hashable) -> tuple[int, int]:
        """How many questions of a runner may be under way at once: by its configuration, and by the load."""
        line = self._lines.get(runner)
        return (line.request_concurrency, line.requests) if line else (1, 1)

    # Questions ---------------------------------------------------------------------------------------------------

    def next_asks(self, now: float) -> tuple[Ask, ...]:
        """Reserve a slot for each question that may be asked now, whose runner asked longest ago first, and say which.

        A runner that is not busy asks one question and no further one for `check_interval`.
        """
        numbers = []
        while self.reserved < self.concurrent:
            due = [(line.turn, runner) for runner, line in self._lines.items() if self._may_ask(line, now)]
            if not due:
                break
            runner = min(due, key=lambda entry: entry[0])[1]
            self._numbers += 1
            line = self._lines[runner]
            line.turn = self._numbers
            line.asking += 1
            line.share.asking += 1
            if not line.busy:
                line.ask_at = now + self.check_interval
                unused = now - SAVED_TURNS * self.check_interval
                line.spent_until = max(line.spent_until, unused) + self.check_interval
            self._questions[self._numbers] = _Question(runner, now)
            numbers.append(self._numbers)
        return tuple(self._leave(number) for number in numbers)

    def answered(
        self,
        ask: Ask,
        now: float,
        *,
        job: bool,
        retry_after: float | None = None,
        overloaded: bool = False,
        moved: bool = False,
    ) -> None:
        """Book the answer: a job keeps the slot, anything else gives it back and says when to ask again.

        `overloaded` says that the server asked for patience (429, 5xx): a runner that adapts asks less at once. `moved`
        says that there is no job, and that the server's queue is another one than when we asked last: it will hold the
        next question, so that goes out at once while turns are left that were not used before.
        """
        line, question = self._close(ask)
        line.share.adapt(0.5 if overloaded else 1.1 if job else 0.95, line.request_concurrency)
        line.without_room = False
        line.busy = job and not line.strict
        if job:
            line.running += 1
            line.share.running += 1
        paced = question.asked_at + self.check_interval
        if line.busy:
            line.ask_at = now
        elif retry_after is not None:
            line.ask_at = max(line.ask_at, paced, now + retry_after)
        elif moved and ask.long_poll and not line.strict:
            line.ask_at = max(now, line.spent_until)
        else:
            line.ask_at = max(line.ask_at, paced)
        self._forget(ask.runner)

    def put_back(self, ask: Ask, *, until: float) -> None:
        """The question was not asked, for the jobs' place has no room: look again at `until`, or after `room_came`."""
        line, _ = self._close(ask)
        line.without_room = True
        line.ask_at = until
        self._forget(ask.runner)

    def ask_now(self, runner: Hashable, now: float) -> None:
        """Forget the wait of a runner that was left alone."""
        if runner in self._lines:
            self._lines[runner].ask_at = now

    def room_came(self, runner: Hashable, now: float) -> None:
        """There may be room where this runner's jobs go."""
        line = self._lines.get(runner)
        if line and line.without_room:
            line.ask_at = now

    def to_call_off(self, now: float) -> tuple[int, ...]:
        """Say which questions must end before their answers: others wait for their slots. Each is named once."""
        if self.reserved < self.concurrent:
            return ()
        waiting = {runner for runner, line in self._starved() if line.ask_at <= now}
        leaving = sum(question.called_off for question in self._questions.values())
        called: list[int] = []
        for number, question in self._questions.items():
            if leaving + len(called) >= len(waiting):
                break
            if not question.called_off and question.held_at <= now:
                question.called_off = True
                called.append(number)
        return tuple(called)

    def in_excess(self) -> tuple[int, ...]:
        """Say which questions limits that were lowered have no slot for, the last ones first. Each is named once."""
        going = Counter(id(self._lines[q.runner].share) for q in self._questions.values() if q.called_off)
        called: list[int] = []
        for number, question in reversed(self._questions.items()):
            line = self._lines[question.runner]
            staying = line.share.running + line.share.asking - going[id(line.share)]
            excess = 0 < line.limit < staying or self.concurrent < self.reserved - going.total()
            if excess and not question.called_off:
                question.called_off = True
                going[id(line.share)] += 1
                called.append(number)
        return tuple(called)

    # Jobs --------------------------------------------------------------------------------------------------------

    def finished(self, runner: Hashable, *, reporting: bool = False) -> None:
        """A job of this runner has ended and its place is gone, so the slot is free.

        With `reporting` its end still has to reach GitLab; `reported` follows. A runner with too many of those asks
        no more, for their logs lie here.
        """
        line = self._lines[runner]
        line.running -= 1
        line.share.running -= 1
        line.reporting += reporting
        self._forget(runner)

    def reported(self, runner: Hashable) -> None:
        """GitLab has taken the end of a job, or will never."""
        self._lines[runner].reporting -= 1
        self._forget(runner)

    def next_wakeup(self, now: float) -> float | None:
        """When there may be something to ask or to call off without anything else happening.

        None: only after `answered`, `finished` or `reported`.
        """
        if self.reserved < self.concurrent:
            waiting = [line.ask_at for line in self._lines.values() if self._wants(line)]
            return max(now, min(waiting)) if waiting else None
        leaving = sum(question.called_off for question in self._questions.values())
        starved = sorted(line.ask_at for _, line in self._starved())[leaving:]  # the first ones get what is called off
        held = [question.held_at for question in self._questions.values() if not question.called_off]
        return max(now, starved[0], min(held)) if starved and held else None

    # Small things ------------------------------------------------------------------------------------------------

    def _leave(self, number: int) -> Ask:
        """Let a question go out, to be held only when nobody waits for its slot."""
        question = self._questions[number]
        crowded = self.reserved >= self.concurrent and any(True for _ in self._starved())
        if crowded:
            question.patience = SLOW_PATIENCE
        return Ask(question.runner, number, long_poll=not crowded)

    def _close(self, ask: Ask) -> tuple[_Line, _Question]:
        line = self._lines[ask.runner]
        line.asking -= 1
        line.share.asking -= 1
        return line, self._questions.pop(ask.number)

    def _forget(self, runner: Hashable) -> None:
        """Drop a runner that is in no configuration any more and has nothing under way."""
        line = self._lines[runner]
        if line.limit < 0 and line.idle:
            del self._lines[runner]

    def _starved(self) -> Iterator[tuple[Hashable, _Line]]:
        """The runners that would ask and have no question under way."""
        return ((runner, line) for runner, line in self._lines.items() if not line.asking and self._wants(line))

    def _may_ask(self, line: _Line, now: float) -> bool:
        return self._wants(line) and line.ask_at <= now

    def _wants(self, line: _Line) -> bool:
        if line.limit < 0 or line.share.asking >= line.requests or line.reporting >= max(self.concurrent, REPORTS_MAX):
            return False
        return line.limit == 0 or line.share.running + line.share.asking < line.limit
