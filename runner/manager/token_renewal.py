"""Tokens that expire are exchanged for new ones when three quarters of their time have passed, as GitLab Runner does.

Law: a new token is never lost while the process lives. The old one is void the moment GitLab answers, so the exchange
cannot be called off, the file is held meanwhile (replicas on one volume renew once), and a file that cannot be written
costs only a warning: the token then stays in memory and goes before the file's.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import anyio.from_thread
import anyio.to_thread
import structlog

from runner.config.edit import EditError, runner_tables, set_runner_keys
from runner.config.model import api_root
from runner.gitlab.errors import CoordinatorError, CoordinatorForbiddenError, CoordinatorProtocolError
from runner.job.feature_flags import FLAGS
from runner.job.variables import expand_text, short_token
from runner.manager.config_file import ConfigFileError, edit_file
from runner.manager.logging import runner_fields

if TYPE_CHECKING:
    from runner.config.model import Config, RunnerConfig
    from runner.gitlab.registration import Credentials, Registrar

log = structlog.get_logger()

SWITCHED_OFF_FLAG = "FF_DISABLE_AUTOMATIC_TOKEN_ROTATION"

_SHARE = 0.75
_LOOK_INTERVAL = 600.0  # the wall clock may be set, and a machine may sleep: no wait is longer than this
_RETRY_MIN = 60.0
_RETRY_MAX = 3600.0
_SAVE_TIMEOUT = 300.0
_NO_DATE = datetime(1, 1, 1, tzinfo=UTC)

Identity = tuple[str, str]
"""A runner's `url` and `token`."""


@dataclass(slots=True)
class _Watch:
    """One token that expires, and how its renewal stands."""

    runner: RunnerConfig
    expires: datetime
    due: datetime
    failures: int = 0


@dataclass(slots=True)
class _Exchange:
    """What one exchange brought: an edit of the file asks GitLab, and may fail after it."""

    credentials: Credentials | None = None
    obtained: datetime = _NO_DATE
    ours: bool = True
    """False when another process has renewed the token: the file has another by now."""
    values: Mapping[str, Any] = field(default_factory=dict)


class TokenRenewal:
    """Renews the tokens of a configuration for as long as `run` runs.

    `config_file` is where new tokens are written, None: nowhere. `renewed` is called after each change with the `url`
    and token that were, with the keys that came instead, and with the whole configuration. `now` gives the wall
    clock's time with its zone: an expiry is a moment, not a span.
    """

    def __init__(
        self,
        config_file: Path | None,
        *,
        registrar_for: Callable[[RunnerConfig], Registrar],
        renewed: Callable[[Identity, Mapping[str, Any], Config], Awaitable[None]],
        saved: Callable[[bool], None] = lambda done: None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        """`saved` hears whether a new token could be written down."""
        self._file = config_file
        self._registrar_for = registrar_for
        self._renewed = renewed
        self._saved = saved
        self._now = now
        self._environ = environ
        self._config: Config | None = None
        self._watches: dict[Identity, _Watch] = {}
        self._successors: dict[Identity, Mapping[str, Any]] = {}
        self._changed = anyio.Event()

    def adopt(self, config: Config) -> Config:
        """Take a configuration as the present one, and return it with the tokens that are good by now.

        Every configuration goes through this before it is applied: a file that could not be written still has the
        token from before its renewal.
        """
        self._config = config.model_copy(update={"runners": tuple(self._succeeded(one) for one in config.runners)})
        known, self._watches = self._watches, {}
        for runner in self._config.runners:
            identity = (runner.url, runner.token)
            if runner.token_expires_at is not None and runner.token:
                watch = known.get(identity)
                same = watch is not None and watch.expires == _aware(runner.token_expires_at)
                self._watches[identity] = watch if watch is not None and same else self._watch(runner)
                self._watches[identity].runner = runner
        self._wake()
        return self._config

    def next_wait(self) -> float | None:
        """Seconds until the earliest renewal is due, at least 0; None when no token expires."""
        watch = self._earliest()
        return None if watch is None else max((watch.due - self._now()).total_seconds(), 0.0)

    async def run(self) -> None:
        """Renew what falls due, one token at a time, until cancelled; what fails is tried again."""
        while True:
            changed, wait = self._changed, self.next_wait()
            if wait != 0.0:
                with anyio.move_on_after(None if wait is None else min(wait, _LOOK_INTERVAL)):
                    await changed.wait()
                continue
            watch = self._earliest()
            assert watch is not None
            await self._renew(watch)

    def _earliest(self) -> _Watch | None:
        return min(self._watches.values(), key=lambda watch: watch.due, default=None)

    def _watch(self, runner: RunnerConfig) -> _Watch:
        assert runner.token_expires_at is not None
        expires = _aware(runner.token_expires_at)
        # Who writes a token down by hand often leaves out since when it is good; then its time begins now.
        obtained = _aware(runner.token_obtained_at) if runner.token_obtained_at else self._now()
        due = obtained + max(expires - obtained, timedelta(0)) * _SHARE
        log.info(
            "the runner's token expires", **runner_fields(runner), expires=expires.isoformat(), renewal=due.isoformat()
        )
        return _Watch(runner, expires, due)

    def _succeeded(self, runner: RunnerConfig) -> RunnerConfig:
        while values := self._successors.get((runner.url, runner.token)):
            runner = runner.model_copy(update=values)
        return runner

    async def _renew(self, watch: _Watch) -> None:
        """Exchange one token; on failure say so and plan the next try."""
        runner = watch.runner
        if runner.feature_flags.get(SWITCHED_OFF_FLAG, FLAGS[SWITCHED_OFF_FLAG]):
            self._tell_switched_off(watch)
            return
        exchange = _Exchange()
        # Between GitLab's answer and the file nothing may come in between, not even the end of the process.
        with anyio.CancelScope(shield=True), anyio.move_on_after(_SAVE_TIMEOUT):
            try:
                await self._exchange(runner, exchange)
            except CoordinatorError as error:
                self._tell_failure(watch, error)
                return
            except (ConfigFileError, EditError) as error:
                if exchange.credentials is None:
                    self._tell_failure(watch, error)
                    return
                self._saved(False)
                self._tell_unwritten(runner, error)
        if exchange.ours and exchange.credentials is None:
            self._tell_failure(watch, TimeoutError("GitLab or the configuration's file took too long."))
        elif exchange.ours:
            await self._take(runner, exchange)
        else:
            # Its reload brings the new token; until then there is nothing to do here.
            log.info("the runner's token was renewed by another process", **runner_fields(runner))
            self._postpone(watch, _RETRY_MAX)
        await anyio.lowlevel.checkpoint()

    async def _exchange(self, runner: RunnerConfig, exchange: _Exchange) -> None:
        if self._file is None or not self._file.exists():
            await self._ask(runner, exchange)
            return

        def edited(text: str) -> str:
            places = self._places_in(text, runner)
            exchange.ours = bool(places)
            if not places:
                return text
            anyio.from_thread.run(self._ask, runner, exchange)
            for place in places:
                text = set_runner_keys(text, place, exchange.values)
            return text

        await anyio.to_thread.run_sync(edit_file, self._file, edited)
        if exchange.ours:
            self._saved(True)

    async def _ask(self, runner: RunnerConfig, exchange: _Exchange) -> None:
        async with self._registrar_for(runner) as registrar:
            credentials = await registrar.reset_token(runner.token)
        if credentials.token == runner.token:
            raise CoordinatorProtocolError("GitLab answered with the token that it was to replace.")
        exchange.credentials = credentials
        exchange.obtained = self._now().astimezone(UTC).replace(microsecond=0)
        exchange.values = {
            "token": credentials.token,
            "token_obtained_at": exchange.obtained,
            "token_expires_at": credentials.expires_at or _NO_DATE,
        }

    def _places_in(self, text: str, runner: RunnerConfig) -> list[int]:
        """Where the runner stands in the file: by what GitLab knows of it, in whatever order."""

        def filled(table: Mapping[str, Any], key: str) -> str:
            value = next((value for name, value in table.items() if name.casefold() == key), "")
            return expand_text(str(value), lambda name: self._environ.get(name, ""))

        return [
            place
            for place, table in enumerate(runner_tables(text))
            if filled(table, "token") == runner.token and api_root(filled(table, "url")) == runner.url
        ]

    async def _take(self, runner: RunnerConfig, exchange: _Exchange) -> None:
        assert self._config is not None
        assert exchange.credentials is not None
        new = exchange.credentials
        identity = runner.url, runner.token
        self._successors[identity] = values = {
            "token": new.token,
            "token_obtained_at": exchange.obtained,
            "token_expires_at": new.expires_at,
        }
        self._successors.pop((runner.url, new.token), None)  # one that comes back has no other after it
        until = new.expires_at.isoformat() if new.expires_at else "never"
        log.info("the runner's token was renewed", **runner_fields(runner), new=short_token(new.token), expires=until)
        config = self.adopt(self._config)
        if watch := self._watches.get((runner.url, new.token)):
            # A GitLab whose tokens are too short-lived, or whose clock is wrong, is not asked without a pause.
            watch.due = max(watch.due, self._now() + timedelta(seconds=_RETRY_MIN))
        await self._renewed(identity, values, config)

    def _postpone(self, watch: _Watch, seconds: float) -> None:
        watch.due = self._now() + timedelta(seconds=seconds)

    def _tell_failure(self, watch: _Watch, error: Exception) -> None:
        watch.failures += 1
        left = (watch.expires - self._now()).total_seconds()
        delay = min(_RETRY_MIN * 2.0 ** min(watch.failures - 1, 10), _RETRY_MAX, max(left / 4, _RETRY_MIN))
        self._postpone(watch, max(delay, getattr(error, "retry_after", None) or 0.0))
        what = "the runner's token cannot be renewed and expires soon"
        if left <= 0:
            what = "the runner's token has expired: give it a new one"
        elif isinstance(error, CoordinatorForbiddenError):
            what = "the runner's token is not accepted any more: give it a new one"
        fields = {
            **runner_fields(watch.runner),
            "expires": watch.expires.isoformat(),
            "next_try": watch.due.isoformat(),
        }
        log.error(what, **fields, reason=str(error))

    def _tell_switched_off(self, watch: _Watch) -> None:
        log.warning(
            f"the runner's token expires soon, and {SWITCHED_OFF_FLAG} keeps it from being renewed",
            **runner_fields(watch.runner),
            expires=watch.expires.isoformat(),
        )
        self._postpone(watch, 24 * _RETRY_MAX)

    def _tell_unwritten(self, runner: RunnerConfig, error: Exception) -> None:
        log.error(
            "the runner's new token cannot be written down: it is lost when this process ends, and other processes "
            f"with the old one have none. Let the configuration be written, or set {SWITCHED_OFF_FLAG}",
            **runner_fields(runner),
            reason=str(error),
        )

    def _wake(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()


def _aware(moment: datetime) -> datetime:
    """A date without a zone is taken as UTC, as GitLab writes them."""
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
