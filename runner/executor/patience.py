"""Patience with an API server that is away: the same request again until a deadline.

Whether an error may pass is a property of its class (`UnavailableError`), never of its text.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

from runner.kube.errors import UnavailableError

T = TypeVar("T")

PAUSES = (0.2, 0.5, 1.0, 2.0, 5.0)


async def patiently(
    request: Callable[[], Awaitable[T]], *, timeout: float, waiting: Callable[[UnavailableError], None] = lambda _: None
) -> T:
    """Repeat an idempotent request while the API server is unavailable, for at most `timeout` seconds.

    `waiting` hears of the first failure, for the job's log. Raises the last UnavailableError when the time is over.
    """
    deadline = anyio.current_time() + timeout
    tries = 0
    while True:
        try:
            return await request()
        except UnavailableError as away:
            pause = max(PAUSES[min(tries, len(PAUSES) - 1)], away.retry_after or 0.0)
            if anyio.current_time() + pause > deadline:
                raise
            if tries == 0:
                waiting(away)
        tries += 1
        await anyio.sleep(pause)
