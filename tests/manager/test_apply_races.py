"""Another configuration at bad moments: while a question looks for room, while a token is renewed, at the end."""

from __future__ import annotations

from typing import Any

import anyio
import anyio.abc
import pytest
from structlog.testing import capture_logs

from runner.config.model import Config, RunnerConfig
from runner.gitlab.errors import CoordinatorConfigurationError
from runner.manager.runners import Change
from tests.manager.test_manager_apply import TOKENS, Hall, Scene, scene


class SlowHall(Hall):
    """A hall whose doors are open, unless its namespace says otherwise."""

    def __init__(self, runner: RunnerConfig) -> None:
        super().__init__(runner)
        self.open = anyio.Event()
        self.looking = 0
        self.looked_when_closed = False

    async def serve(self, *, task_status: anyio.abc.TaskStatus[None]) -> None:
        """A namespace `slow` opens when it is let, `away` never does."""
        if self.runner.kubernetes.namespace == "slow":
            await self.open.wait()
        if self.runner.kubernetes.namespace == "away":
            raise OSError("the cluster is away")
        await super().serve(task_status=task_status)

    async def has_room(self, beside: int) -> bool:
        """A namespace `queue` lets nobody in before it is let."""
        if self.runner.kubernetes.namespace == "queue":
            await self._look()
        return True

    async def out_of_reach(self) -> str:
        """It is here, and says so when it is let."""
        await self._look()
        return ""

    async def _look(self) -> None:
        self.looking += 1
        await self.open.wait()
        self.looked_when_closed |= not self.held
        self.looking -= 1


def halls(s: Scene) -> list[SlowHall]:
    """The halls that there have been."""
    return [hall for hall in s.halls if isinstance(hall, SlowHall)]


def place(name: str) -> dict[str, Any]:
    """What an entry says of the place of its jobs."""
    return {"kubernetes": {"namespace": name}}


@pytest.mark.parametrize("gone", [False, True], ids=["changed", "removed"])
async def test_apply_while_a_question_looks_for_room(gone: bool) -> None:
    """What the runner had is closed when the look is over, not under it; the question goes on with the new one."""
    async with scene(SlowHall) as s:
        await s.manager.apply(s.config(s.entry(**place("queue"))))
        await s.until(lambda: len(s.halls) == 2 and halls(s)[1].looking)
        await s.manager.apply(s.config(s.entry(1) if gone else s.entry(**place("new"))))
        await anyio.wait_all_tasks_blocked()
        old = halls(s)[1]
        assert old.held or gone
        old.open.set()
        await s.until(lambda: not old.held)
        job = await s.job(1 if gone else 0)
        assert (job.state, old.looked_when_closed) == ("running", False)


async def test_apply_while_a_probe_looks_at_the_place() -> None:
    """What the runner had is closed when the probe has its answer."""
    async with scene(SlowHall) as s:
        async with anyio.create_task_group() as group:
            group.start_soon(s.board.readiness)
            await s.until(lambda: halls(s)[0].looking)
            await s.manager.apply(s.config(s.entry(**place("new"))))
            await anyio.wait_all_tasks_blocked()
            await s.job()  # the question that was under way is answered
            assert halls(s)[0].held
            halls(s)[0].open.set()
        await s.until(lambda: not s.halls[0].held)
        assert not halls(s)[0].looked_when_closed


async def test_renew_while_a_configuration_is_applied() -> None:
    """The runner stays who it is: its running job counts for `limit`, and only the new token asks."""
    async with scene(SlowHall) as s:
        await s.job()
        renewed: dict[str, Any] = {"token": TOKENS[1]}
        changed = {"limit": 1, **place("slow")}
        changes: list[Change] = []

        async def reload() -> None:
            changes.append(await s.manager.apply(s.config(s.entry(**changed))))

        async def renew() -> None:
            identity = (s.gitlab.url, TOKENS[0])
            await s.manager.renew(identity, renewed, s.config(s.entry(**changed, **renewed)))

        async with anyio.create_task_group() as group:
            group.start_soon(reload)
            await s.until(lambda: len(s.halls) == 2)
            group.start_soon(renew)
            await anyio.wait_all_tasks_blocked()
            halls(s)[1].open.set()
        late = s.gitlab.queue(runner=TOKENS[1])
        await anyio.wait_all_tasks_blocked()
        assert changes == [Change(changed=("a",))]
        assert (late.state, len(s.halls), s.manager.running) == ("pending", 2, 1)


async def test_apply_when_a_place_cannot_be_served() -> None:
    """The others are served as they should be, the entry is served as before, and the next reload tries again."""
    async with scene(SlowHall) as s:
        with capture_logs() as logs:
            change = await s.manager.apply(s.config(s.entry(**place("away")), s.entry(1), s.entry(2, **place("away"))))
        assert change == Change(added=("b",), unchanged=1)
        assert [(line["event"], line["runner_name"]) for line in logs if line["log_level"] == "error"] == [
            ("the runner cannot be served", "a"),
            ("the runner cannot be served", "c"),
        ]
        assert [(await s.job(which)).state for which in (0, 1)] == ["running", "running"]
        assert await s.manager.apply(s.config(s.entry(), s.entry(1), s.entry(2))) == Change(added=("c",), unchanged=2)
        assert (await s.job(2)).state == "running"


async def test_apply_when_a_runner_cannot_be_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """An address that is none is told with its sentence, and nothing else suffers."""

    def refuse(runner: RunnerConfig) -> Hall:
        if runner.kubernetes.namespace == "none":
            raise CoordinatorConfigurationError("The url of this runner is no address of a GitLab.")
        return SlowHall(runner)

    async with scene(refuse) as s:
        with capture_logs() as logs:
            assert await s.manager.apply(s.config(s.entry(**place("none")), s.entry(1))) == Change(
                added=("b",), unchanged=1
            )
        [told] = [line for line in logs if line["log_level"] == "error"]
        assert told["reason"] == "The url of this runner is no address of a GitLab."


@pytest.mark.parametrize("end", ["drain", "abort"])
async def test_apply_while_the_manager_ends(end: str) -> None:
    """It waits for nothing, and fails nobody."""
    changes: list[Change] = []
    async with scene(SlowHall) as s:

        async def reload(config: Config) -> None:
            changes.append(await s.manager.apply(config))

        async with anyio.create_task_group() as group:
            group.start_soon(reload, s.config(s.entry(**place("slow"))))
            await s.until(lambda: len(s.halls) == 2)
            getattr(s.manager, end)()
    assert changes == [Change()]


async def test_apply_twice_at_once() -> None:
    """One after the other: the last one counts."""
    async with scene(SlowHall) as s:
        async with anyio.create_task_group() as group:
            group.start_soon(s.manager.apply, s.config(s.entry(**place("slow"))))
            await s.until(lambda: len(s.halls) == 2)
            group.start_soon(s.manager.apply, s.config(s.entry(1)))
            await anyio.wait_all_tasks_blocked()
            assert len(s.halls) == 2
            halls(s)[1].open.set()
        await s.until(lambda: not s.halls[1].held)
        assert [hall.held for hall in s.halls] == [False, False, True]
        assert (await s.job(1)).state == "running"
