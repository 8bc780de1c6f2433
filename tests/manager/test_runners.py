"""Which entries of a new configuration are those of the old one, and how long what serves an entry stays."""

from __future__ import annotations

from typing import Any, cast

import anyio
import anyio.abc
import pytest

from runner.config.model import RunnerConfig
from runner.gitlab.coordinator import Coordinator
from runner.gitlab.replies import JobAnswer, JobReply
from runner.manager.runners import RunnerParts, ServedRunner, matched
from runner.manager.sessions import Sessions
from tests.manager.parts import HeldRoom, NoCaches


class Desk:
    """A coordinator that answers when it is let, and tells whether it is closed."""

    def __init__(self) -> None:
        self.answer = anyio.Event()
        self.closed = False

    async def request_job(self, *, long_poll: bool) -> JobReply:
        await self.answer.wait()
        return JobReply(answer=JobAnswer.NONE)

    async def aclose(self) -> None:
        self.closed = True


def entry(name: str, token: str = "glrt-aaaaaaaaaaaa", **over: Any) -> RunnerConfig:
    """An entry of a configuration."""
    return RunnerConfig.model_validate({"name": name, "url": "http://x", "token": token, "executor": "k", **over})


def served(key: str, config: RunnerConfig, *, desk: Any = None, place: Any = None) -> ServedRunner:
    """A runner with what serves it."""
    parts = RunnerParts(
        executor=lambda _: place or HeldRoom(),
        coordinator=lambda _: cast(Coordinator, desk or Desk()),
        caches=lambda _: NoCaches(),
        sessions=Sessions(),
    )
    return ServedRunner(key, config, parts)


A, B, C = "glrt-aaaaaaaaaaaa", "glrt-bbbbbbbbbbbb", "glrt-cccccccccccc"


@pytest.mark.parametrize(
    ("before", "now", "keys"),
    [
        pytest.param([], [entry("a", A), entry("b", B)], ["aaaaaaaaa", "bbbbbbbbb"], id="all are new"),
        pytest.param([entry("a", A), entry("b", B)], [entry("b", B), entry("a", A)], ["1", "0"], id="another order"),
        pytest.param([entry("a", A)], [entry("a", A, limit=3)], ["0"], id="changed in place"),
        pytest.param([entry("a", A)], [entry("other", A)], ["0"], id="another name"),
        pytest.param([entry("a", A)], [entry("a", B)], ["bbbbbbbbb"], id="another token is another runner"),
        pytest.param(
            [entry("a", A)], [entry("a", A, url="http://y")], ["aaaaaaaaa"], id="another GitLab is another runner"
        ),
        pytest.param(
            [entry("a", A), entry("b", A)], [entry("b", A)], ["1"], id="of two with one token the unchanged one stays"
        ),
        pytest.param(
            [entry("a", A), entry("b", A)], [entry("b", A, limit=2)], ["1"], id="and the one of the same name"
        ),
        pytest.param(
            [entry("a", A), entry("a", A, limit=2)],
            [entry("a", A, limit=2), entry("a", A, limit=9)],
            ["1", "0"],
            id="and the unchanged one of two that have all but a key in common",
        ),
        pytest.param([entry("a", A)], [entry("a", A), entry("a", A)], ["0", "aaaaaaaaa"], id="one more of the same"),
        pytest.param(
            [], [entry("a", A), entry("b", A)], ["aaaaaaaaa", "aaaaaaaaa #2"], id="two new ones with one token"
        ),
    ],
)
async def test_matched(before: list[RunnerConfig], now: list[RunnerConfig], keys: list[str]) -> None:
    """The key of an entry that was there before is its place in `before`."""
    known = [served(str(place), config) for place, config in enumerate(before)]
    assert matched(known, now) == list(zip(keys, now, strict=True))


async def test_retire_when_a_job_and_a_question_are_under_way() -> None:
    """What they need is held until both have ended; then the connection is closed."""
    desk, place = Desk(), HeldRoom()
    runner = served("r", entry("r"), desk=desk, place=place)
    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            await group.start(runner.serve)
            group.start_soon(lambda: runner.request_job(long_poll=True))
            await anyio.wait_all_tasks_blocked()
            with runner.job():
                assert runner.running == 1
                runner.retire()
                desk.answer.set()
                await anyio.wait_all_tasks_blocked()
                assert (place.held, desk.closed) == (True, False)
    assert (runner.running, place.held, desk.closed) == (0, False, True)


async def test_retire_when_nothing_is_under_way() -> None:
    """It ends at once."""
    desk = Desk()
    runner = served("r", entry("r"), desk=desk)
    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            await group.start(runner.serve)
            runner.retire()
    assert desk.closed
