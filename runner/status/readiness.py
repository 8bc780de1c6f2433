"""Answers about readiness, worth keeping for a moment: probes come often, and clusters are asked over a network."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import anyio

from runner.status.board import Check

if TYPE_CHECKING:
    from runner.status.board import StatusBoard

KEPT_FOR = 5.0
"""Seconds for which an answer is given again."""

CHECK_TIMEOUT = 5.0


class Readiness:
    """The board's checks, at most one round of them at a time."""

    def __init__(self, board: StatusBoard, *, kept_for: float = KEPT_FOR, timeout: float = CHECK_TIMEOUT) -> None:
        self._board = board
        self._kept_for = kept_for
        self._timeout = timeout
        self._turn = anyio.Lock()
        self._checks: tuple[Check, ...] = ()
        self._asked_at = float("-inf")

    async def checks(self) -> tuple[Check, ...]:
        """Give what was found, at most some seconds ago; those that did not answer in time failed."""
        async with self._turn:
            if time.monotonic() - self._asked_at >= self._kept_for:
                self._checks = await self._ask()
                self._asked_at = time.monotonic()
            return self._checks

    async def _ask(self) -> tuple[Check, ...]:
        with anyio.move_on_after(self._timeout):
            return await self._board.readiness()
        return (Check("clusters", f"no answer in {self._timeout:.0f} s"),)
