"""A task group that is opened in one task and closed from another.

Law: the one place in the package that makes a task by hand. A server is started by one pytest fixture step and closed
by another, which run in different tasks, and an anyio group must be left in the task that entered it: so a task of its
own enters and leaves it, and everything else is a child of that group.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import anyio
from anyio.abc import TaskGroup


class TaskOwner:
    """Holds a task group between `start` and `aclose`."""

    def __init__(self) -> None:
        self._group: TaskGroup | None = None
        self._task: asyncio.Task[None] | None = None
        self._closing = anyio.Event()

    @property
    def running(self) -> bool:
        """Whether tasks can be started."""
        return self._group is not None

    async def start(self) -> None:
        """Open the group."""
        opened = anyio.Event()
        self._closing = anyio.Event()
        # Not a child of anybody's group, on purpose: see the module's docstring. `aclose` waits for it.
        self._task = asyncio.create_task(self._hold(opened))  # noqa: TID251
        await opened.wait()

    def start_soon(
        self, function: Callable[..., Coroutine[Any, Any, Any]], *arguments: object, name: object = None
    ) -> None:
        """Start a task in the group; nothing when the group is not open."""
        if self._group is not None:
            self._group.start_soon(function, *arguments, name=name)

    async def aclose(self) -> None:
        """Cancel what runs, wait for its end, and raise what it raised."""
        self._closing.set()
        if self._task is not None:
            task, self._task = self._task, None
            await task

    async def _hold(self, opened: anyio.Event) -> None:
        try:
            async with anyio.create_task_group() as group:
                self._group = group
                opened.set()
                await self._closing.wait()
                group.cancel_scope.cancel()
        finally:
            self._group = None
