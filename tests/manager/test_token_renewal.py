"""Tokens are renewed before they expire: when, what the file says afterwards, and what failures cost."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import anyio
import orjson
import pytest
from structlog.testing import capture_logs

from runner.config.load import parse_config
from runner.config.model import Config, RunnerConfig
from runner.gitlab.features import ClientInfo
from runner.gitlab.registration import Credentials, Registrar
from runner.manager import token_renewal
from runner.manager.config_file import ConfigFileError
from runner.manager.token_renewal import TokenRenewal
from runner.testing.faults import FaultRule, Hold, Reply
from runner.testing.gitlab import GitLabServer

START = datetime(2026, 8, 22, 10, 0, tzinfo=UTC)
OLD = "glrt-old00000000000000000"
RESET = "/runners/reset_authentication_token$"
TEXT = """\
# ours
concurrent = 3

[[runners]]  # the only one
  name = "one"
  url = "{url}/ci/"
  token = "$OLD_TOKEN" # from the vault
  executor = "kubernetes"
  token_obtained_at = 2026-08-01T10:00:00Z
  token_expires_at = 2026-08-29T10:00:00Z
  [runners.kubernetes]
    image = "alpine"   # enough
"""


class Clock:
    """A wall clock that stands until it is set."""

    def __init__(self) -> None:
        self.moment = START

    def __call__(self) -> datetime:
        return self.moment


class Renewed:
    """What is applied after each change."""

    def __init__(self) -> None:
        self.configs: list[Config] = []
        self.saved: list[bool] = []
        self._event = anyio.Event()

    async def __call__(self, identity: tuple[str, str], values: Mapping[str, Any], config: Config) -> None:
        assert identity not in {(runner.url, runner.token) for runner in config.runners}
        assert values["token"] in {runner.token for runner in config.runners}
        self.configs.append(config)
        self._event.set()
        self._event = anyio.Event()

    async def wait(self, count: int = 1) -> Config:
        """The configuration after so many changes."""
        with anyio.fail_after(10):
            while len(self.configs) < count:
                await self._event.wait()
        return self.configs[-1]


@pytest.fixture
async def gitlab() -> AsyncIterator[GitLabServer]:
    """A GitLab whose new tokens are good for four weeks."""
    async with GitLabServer(tokens=(OLD,)) as server:
        server.runners.token_expires_at = "2026-09-19T10:00:00.000Z"
        yield server
        assert server.violations == []


@pytest.fixture
def file(tmp_path: Path, gitlab: GitLabServer) -> Path:
    """A configuration whose runner's token is due for renewal."""
    path = tmp_path / "config.toml"
    path.write_text(TEXT.format(url=gitlab.url))
    return path


@pytest.fixture
def clock() -> Clock:
    """Three weeks after the token was made: three quarters of its time."""
    return Clock()


def parsed(text: str) -> Config:
    """A configuration as the service reads it."""
    return parse_config(text, file="config.toml", environ={"OLD_TOKEN": OLD})[0]


def said(file: Path) -> str:
    """What stands in the file."""
    return file.read_text()


def write(file: Path, text: str) -> None:
    """Write it."""
    file.write_text(text)


def registrar_for(runner: RunnerConfig) -> Registrar:
    """As the service asks."""
    return Registrar(runner.url, info=ClientInfo(version="19.4.0"))


def renewal_of(file: Path | None, renewed: Renewed, clock: Clock) -> TokenRenewal:
    """One that edits `file`."""
    return TokenRenewal(
        file,
        registrar_for=registrar_for,
        renewed=renewed,
        saved=renewed.saved.append,
        now=clock,
        environ={"OLD_TOKEN": OLD},
    )


@asynccontextmanager
async def running(renewal: TokenRenewal) -> AsyncIterator[None]:
    """Its task."""
    async with anyio.create_task_group() as group:
        group.start_soon(renewal.run)
        yield
        group.cancel_scope.cancel()


async def test_token_is_renewed_and_written_down(file: Path, gitlab: GitLabServer, clock: Clock) -> None:
    """The new token is applied at once and in the file, whose comments and order stay; to a reload nothing changed."""
    renewed, before = Renewed(), said(file)
    renewal = renewal_of(file, renewed, clock)
    renewal.adopt(parsed(before))
    async with running(renewal):
        applied = await renewed.wait()
    (token,) = gitlab.runners.tokens
    assert token != OLD
    assert renewed.saved == [True]
    assert said(file) == before.replace('"$OLD_TOKEN"', f'"{token}"').replace("2026-08-01T10", "2026-08-22T10").replace(
        "2026-08-29T10:00:00Z", "2026-09-19T10:00:00Z"
    )
    assert applied.runners[0].token == token
    assert renewal.adopt(parsed(said(file))) == applied
    assert renewal.next_wait() == timedelta(days=21).total_seconds()


@pytest.mark.parametrize(
    ("obtained", "expires", "wait"),
    [
        pytest.param("2026-08-01T10:00:00Z", "2026-08-29T10:00:00Z", 0.0, id="three quarters have passed"),
        pytest.param("2026-08-15T10:00:00Z", "2026-09-12T10:00:00Z", 14 * 86400.0, id="a quarter has"),
        pytest.param("2026-08-22T12:00:00+02:00", "2026-08-26T10:00:00Z", 3 * 86400.0, id="just made, another zone"),
        pytest.param("0001-01-01T00:00:00Z", "2026-08-26T10:00:00Z", 3 * 86400.0, id="nobody knows since when"),
        pytest.param("2026-08-01T10:00:00Z", "2026-08-02T10:00:00Z", 0.0, id="expired"),
        pytest.param("2026-08-01T10:00:00Z", "0001-01-01T00:00:00Z", None, id="never"),
    ],
)
def test_renewal_is_due_at_three_quarters(clock: Clock, obtained: str, expires: str, wait: float | None) -> None:
    """`obtained + 0.75 * (expires - obtained)`, as the original plans it."""
    text = TEXT.format(url="https://gitlab.example.com")
    text = text.replace("2026-08-01T10:00:00Z", obtained, 1).replace("2026-08-29T10:00:00Z", expires)
    renewal = renewal_of(None, Renewed(), clock)
    renewal.adopt(parsed(text))
    assert renewal.next_wait() == wait


async def test_wall_clock_that_is_set_forward_makes_it_due(file: Path, clock: Clock) -> None:
    """An expiry is a moment: what is planned follows the clock, not the seconds that went by."""
    clock.moment = START - timedelta(days=7)
    renewal = renewal_of(file, Renewed(), clock)
    renewal.adopt(parsed(said(file)))
    early = renewal.next_wait()
    clock.moment = START
    assert (early, renewal.next_wait()) == (7 * 86400.0, 0.0)


async def test_wall_clock_that_is_set_while_it_waits_is_noticed(
    file: Path, gitlab: GitLabServer, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine that slept, or whose clock is set: the renewal that is due by then is not seven days away."""
    monkeypatch.setattr(token_renewal, "_LOOK_INTERVAL", 0.01)
    clock.moment = START - timedelta(days=7)
    renewed = Renewed()
    renewal = renewal_of(file, renewed, clock)
    renewal.adopt(parsed(said(file)))
    async with running(renewal):
        await anyio.wait_all_tasks_blocked()
        clock.moment = START
        await renewed.wait()
    assert len(gitlab.requests) == 1


async def test_token_that_is_too_short_lived_is_not_renewed_without_a_pause(
    file: Path, gitlab: GitLabServer, clock: Clock
) -> None:
    """A GitLab whose clock is wrong gives tokens that have expired: it is asked once a minute."""
    gitlab.runners.token_expires_at = "2026-08-22T09:00:00.000Z"
    renewed = Renewed()
    renewal = renewal_of(file, renewed, clock)
    renewal.adopt(parsed(said(file)))
    async with running(renewal):
        await renewed.wait()
    assert renewal.next_wait() == 60.0


def inline(url: str) -> str:
    """The runner as one value, in which no key can be set."""
    return (
        f'runners = [{{name = "one", url = "{url}", token = "{OLD}", executor = "kubernetes", '
        "token_expires_at = 2026-08-22T10:00:01Z, token_obtained_at = 2026-08-01T10:00:00Z}]\n"
    )


def read_only(path: Path, edit: Callable[[str], str]) -> str:
    """An edit in a folder that takes none, also for root."""
    edit(path.read_text())
    raise ConfigFileError(f"{path} cannot be written: read-only file system.")


@pytest.mark.parametrize("how", ["read-only", "inline"])
async def test_file_that_cannot_be_written_leaves_the_token_in_memory(
    file: Path, gitlab: GitLabServer, clock: Clock, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """An error says so; a reload of the file, whatever changed in it, keeps the new token."""
    if how == "inline":
        write(file, inline(gitlab.url))
    else:
        monkeypatch.setattr(token_renewal, "edit_file", read_only)
    renewed, before = Renewed(), said(file)
    renewal = renewal_of(file, renewed, clock)
    renewal.adopt(parsed(before))
    with capture_logs() as logs:
        async with running(renewal):
            applied = await renewed.wait()
    assert said(file) == before
    assert renewed.saved == [False]
    assert {applied.runners[0].token} == gitlab.runners.tokens
    reloaded = renewal.adopt(parsed("check_interval = 9\n" + before))
    assert (reloaded.check_interval, reloaded.runners) == (9.0, applied.runners)
    (line,) = [line for line in logs if line["log_level"] == "error"]
    assert line["event"].startswith("the runner's new token cannot be written down")
    assert line["runner"] == "old000000"


async def test_failure_is_told_long_before_the_token_expires(file: Path, gitlab: GitLabServer, clock: Clock) -> None:
    """The file stays as it is; the next try comes after a minute, then two, and brings the token."""
    gitlab.faults.add(FaultRule("POST", RESET, Reply(500), times=2))
    renewed, before = Renewed(), said(file)
    renewal = renewal_of(file, renewed, clock)
    renewal.adopt(parsed(before))
    waits = []
    with capture_logs() as logs:
        for count in (1, 2):
            async with running(renewal):
                await gitlab.faults.wait_seen("POST", RESET, count=count)
                while not (wait := renewal.next_wait()):
                    await anyio.lowlevel.checkpoint()
            waits.append(wait)
            clock.moment += timedelta(seconds=wait)
        assert said(file) == before
        async with running(renewal):
            await renewed.wait()
    assert waits == [60.0, 120.0]
    told = [line for line in logs if line["log_level"] == "error"]
    assert [(line["event"], line["expires"], line["next_try"]) for line in told] == [
        (
            "the runner's token cannot be renewed and expires soon",
            "2026-08-29T10:00:00+00:00",
            f"2026-08-22T10:0{minute}:00+00:00",
        )
        for minute in (1, 3)
    ]
    assert OLD not in str(logs)


@pytest.mark.parametrize(
    ("reply", "wait"),
    [
        pytest.param(Reply(429, {"Retry-After": "900"}), 900.0, id="asked to wait"),
        pytest.param(
            Reply(201, {"Content-Type": "application/json"}, orjson.dumps({"id": 1, "token": OLD})),
            60.0,
            id="the old one",
        ),
    ],
)
async def test_answer_without_a_new_token_is_a_failure(
    file: Path, gitlab: GitLabServer, clock: Clock, reply: Reply, wait: float
) -> None:
    """Nothing is written or applied, and the next try comes no sooner than GitLab wants it."""
    gitlab.faults.add(FaultRule("POST", RESET, reply))
    renewed, before = Renewed(), said(file)
    renewal = renewal_of(file, renewed, clock)
    renewal.adopt(parsed(before))
    async with running(renewal):
        with anyio.fail_after(10):
            while not renewal.next_wait():
                await anyio.lowlevel.checkpoint()
    assert (renewal.next_wait(), said(file), renewed.configs) == (wait, before, [])


async def test_token_that_another_process_renewed_is_left_to_the_reload(
    file: Path, gitlab: GitLabServer, clock: Clock
) -> None:
    """Replicas on one volume renew once: who finds another token in the file asks nothing."""
    renewed = Renewed()
    renewal = renewal_of(file, renewed, clock)
    renewal.adopt(parsed(said(file)))
    write(file, said(file).replace("$OLD_TOKEN", "glrt-new00000000000000000"))
    async with running(renewal):
        with anyio.fail_after(10):
            while not renewal.next_wait():
                await anyio.lowlevel.checkpoint()
    assert (list(gitlab.requests), renewed.configs) == ([], [])


async def test_two_replicas_on_one_volume_renew_once(file: Path, gitlab: GitLabServer, clock: Clock) -> None:
    """The file is held while GitLab is asked, so the second sees what the first has written."""
    hold = Hold()
    gitlab.faults.add(FaultRule("POST", RESET, hold))
    renewed = Renewed()
    replicas = [renewal_of(file, renewed, clock) for _ in range(2)]
    for replica in replicas:
        replica.adopt(parsed(said(file)))
    async with running(replicas[0]), running(replicas[1]):
        await hold.reached()
        hold.release()
        await renewed.wait()
        with anyio.fail_after(10):
            while not all(replica.next_wait() for replica in replicas):
                await anyio.lowlevel.checkpoint()
    assert len(gitlab.requests) == 1
    assert f'"{renewed.configs[0].runners[0].token}"' in said(file)


async def test_end_of_the_process_waits_for_the_new_token(file: Path, gitlab: GitLabServer, clock: Clock) -> None:
    """Called off while GitLab is asked: the token that is void by then is replaced in the file all the same."""
    hold = Hold(after_effect=True)
    gitlab.faults.add(FaultRule("POST", RESET, hold))
    renewal = renewal_of(file, Renewed(), clock)
    renewal.adopt(parsed(said(file)))
    async with anyio.create_task_group() as group:
        group.start_soon(renewal.run)
        await hold.reached()
        group.cancel_scope.cancel()
        hold.release()
    (token,) = gitlab.runners.tokens
    assert f'"{token}"' in said(file)


async def test_token_that_is_not_accepted_is_told(file: Path, gitlab: GitLabServer, clock: Clock) -> None:
    """Who has renewed it wrote it elsewhere: only a new token helps, and no try comes sooner for it."""
    write(file, said(file).replace("$OLD_TOKEN", "glrt-void00000000000000"))
    renewal = renewal_of(file, Renewed(), clock)
    renewal.adopt(parsed(said(file)))
    with capture_logs() as logs:
        async with running(renewal):
            with anyio.fail_after(10):
                while not renewal.next_wait():
                    await anyio.lowlevel.checkpoint()
    assert [line["event"] for line in logs if line["log_level"] == "error"] == [
        "the runner's token is not accepted any more: give it a new one"
    ]


async def test_switched_off_renewal_only_warns(file: Path, gitlab: GitLabServer, clock: Clock) -> None:
    """FF_DISABLE_AUTOMATIC_TOKEN_ROTATION of the runner's own flags."""
    text = said(file) + "  [runners.feature_flags]\n    FF_DISABLE_AUTOMATIC_TOKEN_ROTATION = true\n"
    renewal = renewal_of(file, Renewed(), clock)
    renewal.adopt(parsed(text))
    with capture_logs() as logs:
        async with running(renewal):
            with anyio.fail_after(10):
                while not renewal.next_wait():
                    await anyio.lowlevel.checkpoint()
    assert list(gitlab.requests) == []
    assert [line["event"] for line in logs if line["log_level"] == "warning"] == [
        "the runner's token expires soon, and FF_DISABLE_AUTOMATIC_TOKEN_ROTATION keeps it from being renewed"
    ]


async def test_earliest_comes_first_and_each_once(gitlab: GitLabServer, clock: Clock, tmp_path: Path) -> None:
    """Two runners that are due: one after the other, the one whose time was up first; both are in the file."""
    tokens = [OLD, gitlab.runners.add("glrt-other000000000000000").token]
    file = tmp_path / "config.toml"
    file.write_text(
        "\n".join(
            TEXT.format(url=gitlab.url).replace("$OLD_TOKEN", token).replace("2026-08-29", f"2026-08-2{day}")
            for token, day in zip(tokens, (9, 5), strict=True)
        ).replace("concurrent = 3\n\n[[runners]]", "\n[[runners]]")
    )
    renewed = Renewed()
    renewal = renewal_of(file, renewed, clock)
    renewal.adopt(parsed(said(file)))
    async with running(renewal):
        await renewed.wait(2)
    asked = [orjson.loads(request.body)["token"] for request in gitlab.requests]
    assert asked == [tokens[1], tokens[0]]
    assert gitlab.runners.tokens == {runner.token for runner in parsed(said(file)).runners}


class Undecided:
    """A GitLab that has two tokens, and gives each for the other."""

    async def __aenter__(self) -> Undecided:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Nothing is held."""

    async def reset_token(self, token: str) -> Credentials:
        """Give the other one, which expires in four weeks."""
        return Credentials(id=1, token="glrt-other" if token == OLD else OLD, expires_at=START + timedelta(days=28))


async def test_token_that_comes_back_is_the_last_one(clock: Clock) -> None:
    """A GitLab that was restored from a copy gives a token again: what came after it once is forgotten."""
    renewed = Renewed()
    renewal = TokenRenewal(
        None, registrar_for=lambda _: cast(Registrar, Undecided()), renewed=renewed, now=clock, environ={}
    )
    old = parsed(TEXT.format(url="http://gitlab.invalid"))
    renewal.adopt(old)
    async with running(renewal):
        await renewed.wait(1)
        clock.moment += timedelta(days=22)
        renewal.adopt(old)
        await renewed.wait(2)
    assert [config.runners[0].token for config in renewed.configs] == ["glrt-other", OLD]
    assert renewal.adopt(old).runners[0].token == OLD
