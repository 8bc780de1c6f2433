"""What a manager tells its board of turns, refusals, ends and states."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest
from structlog.testing import capture_logs

from runner.job.verdict import Evidence
from runner.status.board import ProcessState, StatusBoard
from runner.status.metrics import Metrics
from runner.testing.faults import FaultRule, Reply
from runner.testing.gitlab import GitLabServer
from tests.manager.parts import Room
from tests.manager.test_manager import NO_SOURCES, SYSTEM_ID, managing


@pytest.fixture
async def gitlab() -> AsyncIterator[GitLabServer]:
    """A GitLab."""
    async with GitLabServer() as server:
        yield server


class Told:
    """A board, and what was counted by way of it."""

    def __init__(self, gitlab: GitLabServer) -> None:
        self.metrics = Metrics()
        self.board = StatusBoard(system_id=SYSTEM_ID, meter=self.metrics)
        self.metrics.watch(self.board)
        self._who = {
            "runner": gitlab.token.removeprefix("glrt-")[:9],
            "runner_name": "r",
            "system_id": SYSTEM_ID,
        }

    def count(self, name: str, **labels: str) -> float | None:
        """One series of the runner."""
        return self.metrics.registry.get_sample_value(name, {**self._who, **labels})

    def plain(self, name: str, **labels: str) -> float | None:
        """One series that no runner has."""
        return self.metrics.registry.get_sample_value(name, labels)


async def test_board_when_a_process_lives_and_drains(gitlab: GitLabServer) -> None:
    """Starting, running, and on the way out; the runner's questions show while they are under way."""
    told = Told(gitlab)
    states: list[ProcessState] = [told.board.state]
    async with managing(gitlab, Room(), board=told.board) as manager:
        states.append(told.board.state)
        [questions] = told.board.questions()
        assert (questions.hard_limit, questions.adaptive_limit) == (1, 1)
        [configuration, place] = await told.board.readiness()
        assert (configuration.trouble, place.name, place.trouble) == ("", "cluster of r", "")
        manager.drain()
        states.append(told.board.state)
        manager.abort()
    assert [*states, told.board.state] == list(ProcessState)


async def test_board_when_a_job_is_refused(gitlab: GitLabServer) -> None:
    """It has no place and no phases but the last, and is counted as any that fails."""
    told = Told(gitlab)
    job = gitlab.queue(variables={**NO_SOURCES, "GIT_CLONE_PATH": "/elsewhere"})
    async with managing(gitlab, Room(), max_jobs=1, board=told.board):
        await job.wait_finished()
    [card] = told.board.recent
    assert (card.state, card.reason, [phase.name for phase in card.phases]) == (
        "failed",
        "runner_configuration_error",
        ["finish"],
    )
    assert told.count("gitlab_runner_jobs_total") == told.count("runner_jobs_finished_total", state="failed") == 1
    assert told.board.jobs == []


async def test_board_when_a_job_ends_by_a_fault_of_ours(gitlab: GitLabServer) -> None:
    """Its outcome stood before; nothing of it is left on the board."""
    told = Told(gitlab)

    class Stuck(Room):
        async def remove(self) -> None:
            raise ZeroDivisionError

    job = gitlab.queue(variables=NO_SOURCES)
    async with managing(gitlab, Stuck(), max_jobs=1, board=told.board):
        await job.wait_finished()
    assert told.board.jobs == []
    assert [card.place for card in told.board.recent] == ["room"]
    assert told.plain("runner_removals_under_way") == 0


async def test_board_when_gitlab_refuses_the_runner(gitlab: GitLabServer) -> None:
    """Turns are counted, and refusals from the one on that makes the runner unhealthy; the log names the runner."""
    told = Told(gitlab)
    gitlab.faults.add(FaultRule("POST", "/jobs/request$", Reply(403), times=None))
    with capture_logs() as logs:
        async with managing(gitlab, Room(), board=told.board) as manager:
            with anyio.fail_after(10):
                while not told.count("gitlab_runner_worker_health_check_failures_total"):
                    await anyio.lowlevel.checkpoint()
            manager.drain()
    short = gitlab.token.removeprefix("glrt-")[:9]
    assert [(line["log_level"], line["runner"], line["runner_name"]) for line in logs if "correlation_id" in line] == [
        ("warning", short, "r"),
        ("error", short, "r"),
    ]
    assert (told.count("gitlab_runner_worker_feeds_total") or 0) >= 1
    assert told.count("gitlab_runner_worker_feed_failures_total") == 0


async def test_board_when_a_stage_is_tried_again(gitlab: GitLabServer) -> None:
    """The retry is counted, and both attempts are in the times."""
    told = Told(gitlab)
    codes = iter((1, 0))

    async def sources(attempt: str, stop: anyio.Event) -> Evidence:
        return Evidence(attempt, exit_code=next(codes), drained=True)

    over: dict[str, Any] = {"GET_SOURCES_ATTEMPTS": "2", "FF_USE_EXPONENTIAL_BACKOFF_STAGE_RETRY": "false"}
    job = gitlab.queue(variables=over)
    async with managing(gitlab, Room(get_sources=sources), max_jobs=1, board=told.board):
        await job.wait_finished()
    assert told.plain("runner_job_stage_retries_total", stage="get_sources") == 1
    assert told.plain("runner_job_phase_duration_seconds_count", phase="get_sources") == 2
