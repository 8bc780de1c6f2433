"""What every task of the process waits for, for the log: names of functions and files, never a value."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePath
from types import CodeType
from typing import Any

import anyio
import structlog

log = structlog.get_logger()


def tell_tasks() -> None:
    """Write one line at level debug for each task."""
    tasks = sorted(anyio.get_running_tasks(), key=lambda task: task.name or "")
    log.debug("tasks", count=len(tasks))
    for task in tasks:
        log.debug("task", task=task.name, at=" > ".join(frames(task.coro)))


def frames(coro: Any) -> Iterator[str]:
    """The functions that a suspended coroutine is in, the outermost first, each with file and line.

    What waits in an asynchronous generator shows no further than to its loop.
    """
    while coro is not None:
        frame = _first(coro, "cr_frame", "gi_frame")
        if frame is not None:
            yield _place(frame.f_code, frame.f_lineno)
        coro = _first(coro, "cr_await", "gi_yieldfrom")


def _first(subject: Any, *names: str) -> Any:
    return next((getattr(subject, name) for name in names if getattr(subject, name, None) is not None), None)


def _place(code: CodeType, line: int) -> str:
    return f"{code.co_qualname} ({PurePath(code.co_filename).name}:{line})"
