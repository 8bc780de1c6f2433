"""What ends a terminal when one of its ends falls silent."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from aiohttp import WSMessage, WSMsgType

from runner.terminal.relay import Relay


class Person:
    """A WebSocket whose person types nothing; it answers pings as long as it is there."""

    ws_protocol = "terminal.gitlab.com"

    def __init__(self, *, answers: int) -> None:
        self.pings = 0
        self.closed: list[int] = []
        self._answers = answers
        self._pinged = anyio.Event()

    async def ping(self) -> None:
        self.pings += 1
        if self.pings <= self._answers:
            self._pinged.set()

    async def receive(self, timeout: float) -> WSMessage:
        with anyio.fail_after(timeout):
            await self._pinged.wait()
        self._pinged = anyio.Event()
        return WSMessage(WSMsgType.PONG, b"", None)

    async def close(self, *, code: int) -> None:
        self.closed.append(code)


class Shell:
    """A terminal that prints nothing, and keeps what it was sent."""

    trouble = ""

    def __init__(self) -> None:
        self.heard: list[bytes] = []

    async def receive(self) -> bytes:
        await anyio.sleep_forever()
        raise AssertionError

    async def send(self, data: bytes) -> None:
        self.heard.append(data)


@pytest.mark.parametrize("answers", [0, 3])
async def test_run_when_the_person_does_not_answer_any_more(answers: int) -> None:
    """Pings go out in silence, answers to them keep the terminal, and without any it ends, the shell too."""
    person: Any = Person(answers=answers)
    shell: Any = Shell()
    with anyio.fail_after(10):
        await Relay(person, shell, ping_interval=0.05, silence_timeout=1.0).run()
    assert person.pings > answers
    assert shell.heard == [b"\x04"]
    assert person.closed == [1000]
