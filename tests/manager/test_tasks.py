"""Where tasks are, for the log."""

from __future__ import annotations

import anyio
from structlog.testing import capture_logs

from runner.manager.tasks import frames, tell_tasks


async def _inner(secret: str) -> None:
    await anyio.sleep_forever()


async def _outer(secret: str) -> None:
    await _inner(secret)


async def test_tell_tasks_when_one_waits() -> None:
    """A line has the task's name and its functions from the outermost on, and no value of any variable."""
    async with anyio.create_task_group() as group:
        group.start_soon(_outer, "glrt-secret", name="job 7")
        await anyio.wait_all_tasks_blocked()
        with capture_logs() as logs:
            tell_tasks()
        group.cancel_scope.cancel()
    (told,) = [entry["at"] for entry in logs if entry.get("task") == "job 7"]
    functions = [place.split(" ")[0] for place in told.split(" > ")]
    assert functions.index("_outer") + 1 == functions.index("_inner")
    assert "secret" not in str(logs)


def test_frames_when_there_is_no_coroutine() -> None:
    """What is none has none."""
    assert list(frames(None)) == []
