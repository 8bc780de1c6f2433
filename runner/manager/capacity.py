"""Who may ask for a job now: `concurrent`, `limit`, `request_concurrency` and `check_interval` as one book.

Pure: `now` is an argument. A slot is reserved before GitLab is asked, so the process never holds more jobs than
`concurrent` says, and each reservation ends in exactly one of `answered` and `finished`.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field

QUICK_ANSWER = 1.0
"""Seconds: a server that holds a request longer is long polling, so asking again at once costs it nothing."""


@dataclass(slots=True)
class _Line:
    """The book of one runner."""

    limit: int
    request_concurrency: int
    strict: bool
    running: int = 0
    asking: int = 0
    ask_at: float = 0.0
    asked_at: dict[int, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Ask:
    """Leave to ask GitLab once for one runner."""

    runner: Hashable
    number: int
    long_poll: bool
    """Whether the server may hold the request: not while others wait for the same slots."""


class Capacity:
    """Slots of the process and of each runner."""

    def __init__(self, *, concurrent: int, check_interval: float) -> None:
        self.concurrent = concurrent
        self.check_interval = check_interval
        self._lines: dict[Hashable, _Line] = {}
        self._numbers = 0
        self._turn = 0

    def set_runner(self, runner: Hashable, *, limit: int, request_concurrency: int, strict: bool = False) -> None:
        """Add a runner or change its limits; what is running goes on."""
        line = self._lines.setdefault(runner, _Line(0, 1, False))
        line.limit, line.request_concurrency, line.strict = limit, max(1, request_concurrency), strict

    def keep_runners(self, runners: Iterable[Hashable]) -> None:
        """Stop asking for every other runner; its running jobs keep their slots until they finish."""
        keep = set(runners)
        for runner, line in tuple(self._lines.items()):
            if runner not in keep:
                line.limit = -1
                if not line.running and not line.asking:
                    del self._lines[runner]

    @property
    def running(self) -> int:
        """Jobs that run now."""
        return sum(line.running for line in self._lines.values())

    @property
    def reserved(self) -> int:
        """Slots in use: running jobs and requests under way."""
        return sum(line.running + line.asking for line in self._lines.values())

    def running_of(self, runner: Hashable) -> int:
        """Jobs of one runner that run now."""
        return self._lines[runner].running if runner in self._lines else 0

    def next_asks(self, now: float) -> tuple[Ask, ...]:
        """Reserve a slot for each runner that may ask now, taking turns, and say which."""
        asks = []
        order = list(self._lines)
        order = order[self._turn % len(order) :] + order[: self._turn % len(order)] if order else []
        for runner in order:
            line = self._lines[runner]
            while self.reserved < self.concurrent and self._may_ask(line, now):
                self._numbers += 1
                line.asking += 1
                line.asked_at[self._numbers] = now
                asks.append((runner, self._numbers))
        self._turn += len({runner for runner, _ in asks})
        crowded = any(self._wants(line) for line in self._lines.values()) and self.reserved >= self.concurrent
        return tuple(Ask(runner, number, long_poll=not crowded) for runner, number in asks)

    def answered(self, ask: Ask, now: float, *, job: bool, retry_after: float | None = None) -> None:
        """Book the answer: a job keeps the slot, anything else gives it back and says when to ask again."""
        line = self._lines[ask.runner]
        line.asking -= 1
        asked_at = line.asked_at.pop(ask.number)
        if job:
            line.running += 1
            line.ask_at = now if not line.strict else asked_at + self.check_interval
        elif retry_after is not None:
            line.ask_at = now + retry_after
        elif now - asked_at >= QUICK_ANSWER:
            line.ask_at = now
        else:
            line.ask_at = now + self.check_interval

    def finished(self, runner: Hashable) -> None:
        """A job of this runner has ended and everything of it is gone."""
        line = self._lines[runner]
        line.running -= 1
        if line.limit < 0 and not line.running and not line.asking:
            del self._lines[runner]

    def next_wakeup(self, now: float) -> float | None:
        """When `next_asks` may have something again without anything else happening;

        None: only after `answered` or `finished`.
        """
        if self.reserved >= self.concurrent:
            return None
        waiting = [line.ask_at for line in self._lines.values() if self._wants(line)]
        return max(now, min(waiting)) if waiting else None

    def _may_ask(self, line: _Line, now: float) -> bool:
        return self._wants(line) and line.ask_at <= now

    def _wants(self, line: _Line) -> bool:
        if line.limit < 0 or line.asking >= line.request_concurrency:
            return False
        return line.limit == 0 or line.running + line.asking < line.limit
