"""One `[[runners]]` entry with all that serves it, and which entries of a new configuration are those of the old one.

Law: an entry that did not change keeps its executor, its connections and its counts. One that did is served anew, and
what served it before stays until its last job has ended.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import anyio
from anyio.abc import TaskStatus

from runner.job.variables import short_token

if TYPE_CHECKING:
    from runner.config.model import Config, RunnerConfig
    from runner.executor.base import Executor
    from runner.gitlab.coordinator import Coordinator
    from runner.gitlab.replies import JobReply
    from runner.manager.caches import LinkMaker
    from runner.manager.sessions import Sessions

CLOSE_TIMEOUT = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerParts:
    """How to make what serves a runner. Nothing is opened before it is served."""

    executor: Callable[[RunnerConfig], Executor]
    coordinator: Callable[[RunnerConfig], Coordinator]
    caches: Callable[[RunnerConfig], LinkMaker]
    sessions: Sessions


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What another configuration meant for the runners: their names."""

    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    unchanged: int = 0

    def fields(self) -> dict[str, object]:
        """The fields of the log's line about it."""
        names = {"added": self.added, "changed": self.changed, "removed": self.removed}
        return {**{key: ", ".join(value) for key, value in names.items() if value}, "unchanged": self.unchanged}


class ServedRunner:
    """A runner with its configuration, of which only the token ever changes, and what its jobs share."""

    def __init__(self, key: str, config: RunnerConfig, parts: RunnerParts) -> None:
        self.key = key
        """Its name in this process: stays when the entry changes, unless its `url` or `token` does."""
        self.config = config
        self.executor = parts.executor(config)
        self.coordinator = parts.coordinator(config)
        self.caches = parts.caches(config)
        self._sessions = parts.sessions
        self.running = 0
        """Jobs that run with this configuration, and those whose end GitLab has not yet taken."""
        self._users = 0
        self._retired = False
        self._scope = anyio.CancelScope()

    @property
    def identity(self) -> tuple[str, str]:
        """Whom GitLab takes it for. Entries of one identity share `limit` and `request_concurrency`."""
        return identity_of(self.config)

    async def serve(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Hold what its jobs share until it is retired and nobody uses it any more, or until cancelled."""
        try:
            with self._scope:
                await self.executor.serve(task_status=task_status)
        finally:
            with anyio.CancelScope(shield=True, deadline=anyio.current_time() + CLOSE_TIMEOUT):
                await self.coordinator.aclose()

    async def request_job(self, *, long_poll: bool) -> JobReply:
        """Ask GitLab for a job."""
        with self._used():
            return await self._sessions.request_job(self.coordinator, long_poll=long_poll)

    async def has_room(self, beside: int) -> bool:
        """Say whether another job could start where its jobs run, beside so many that are on their way."""
        with self._used():
            return await self.executor.has_room(beside)

    async def out_of_reach(self) -> str:
        """Say why its jobs could not run now; empty when they could."""
        with self._used():
            return await self.executor.out_of_reach()

    @contextmanager
    def job(self) -> Iterator[None]:
        """Hold it for as long as a job runs."""
        with self._used():
            self.running += 1
            try:
                yield
            finally:
                self.running -= 1

    def renew(self, values: Mapping[str, Any]) -> None:
        """Go on with another token; `values` are the keys of the entry that come with it."""
        self.config = self.config.model_copy(update=values)
        self.coordinator.renew(self.config.token)

    def retire(self) -> None:
        """Nothing new comes: end `serve` once the last job and the last question have ended."""
        self._retired = True
        self._leave()

    @contextmanager
    def _used(self) -> Iterator[None]:
        self._users += 1
        try:
            yield
        finally:
            self._users -= 1
            self._leave()

    def _leave(self) -> None:
        if self._retired and not self._users:
            self._scope.cancel()


def identity_of(runner: RunnerConfig) -> tuple[str, str]:
    """Whom GitLab takes a runner for: its `url` and `token`."""
    return runner.url, runner.token


def labelled(config: Config) -> tuple[RunnerConfig, ...]:
    """The entries with the labels that GitLab is told: those of all runners, and over them each one's own."""
    if not config.labels:
        return config.runners
    return tuple(runner.model_copy(update={"labels": {**config.labels, **runner.labels}}) for runner in config.runners)


def matched(known: Iterable[ServedRunner], runners: Collection[RunnerConfig]) -> list[tuple[str, RunnerConfig]]:
    """Give each entry of a new configuration its key: that of the entry it was, or a new one.

    An entry is first one that is the same in every value, then one of the same identity and name, then one of the
    same identity; so of two entries with one token the unchanged one stays what it is, wherever it stands in the file.
    """
    free = {served.key: served for served in known}
    taken = {*free}
    keys: dict[int, str] = {}

    def take(same: Callable[[RunnerConfig, RunnerConfig], bool]) -> None:
        for place, runner in enumerate(runners):
            key = next((key for key, served in free.items() if same(served.config, runner)), None)
            if place not in keys and key is not None:
                keys[place] = key
                del free[key]

    take(lambda old, new: old == new)
    take(lambda old, new: identity_of(old) == identity_of(new) and old.name == new.name)
    take(lambda old, new: identity_of(old) == identity_of(new))
    for place, runner in enumerate(runners):
        if place not in keys:
            keys[place] = _new_key(runner, taken)
            taken.add(keys[place])
    return [(keys[place], runner) for place, runner in enumerate(runners)]


def _new_key(runner: RunnerConfig, taken: Collection[str]) -> str:
    name = short_token(runner.token)
    number = 1
    key = name
    while key in taken:
        number += 1
        key = f"{name} #{number}"
    return key
