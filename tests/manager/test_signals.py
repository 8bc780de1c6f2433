"""What signals mean in which state."""

from __future__ import annotations

import os
import signal
from contextlib import aclosing
from signal import Signals

import anyio
import anyio.lowlevel
import pytest

from runner.manager.signals import Wish, next_wish, wishes

QUIT, TERM, INT, HUP = signal.SIGQUIT, signal.SIGTERM, signal.SIGINT, signal.SIGHUP


@pytest.mark.parametrize(
    ("number", "state", "on_sigterm", "expected"),
    [
        pytest.param(QUIT, None, "abort", Wish.DRAIN, id="QUIT drains"),
        pytest.param(TERM, None, "abort", Wish.ABORT, id="TERM aborts as the original does"),
        pytest.param(TERM, None, "drain", Wish.DRAIN, id="TERM drains in the image"),
        pytest.param(INT, None, "drain", Wish.ABORT, id="INT aborts"),
        pytest.param(QUIT, Wish.DRAIN, "abort", Wish.ABORT, id="a second QUIT insists"),
        pytest.param(TERM, Wish.DRAIN, "drain", Wish.ABORT, id="a second TERM insists"),
        pytest.param(TERM, Wish.ABORT, "abort", Wish.EXIT, id="TERM while aborting leaves at once"),
        pytest.param(INT, Wish.ABORT, "abort", Wish.EXIT, id="INT while aborting leaves at once"),
        pytest.param(QUIT, Wish.ABORT, "abort", None, id="QUIT while aborting changes nothing"),
        pytest.param(HUP, None, "abort", Wish.RELOAD, id="HUP asks for the configuration"),
        pytest.param(HUP, Wish.DRAIN, "abort", Wish.RELOAD, id="HUP while draining too"),
    ],
)
def test_next_wish(number: Signals, state: Wish | None, on_sigterm: str, expected: Wish | None) -> None:
    """The table of the command's documentation."""
    assert next_wish(number, state, on_sigterm=on_sigterm) is expected


async def test_wishes_when_signals_come() -> None:
    """Real signals to this process: reload changes no state, a second TERM insists, a third leaves."""
    send, receive = anyio.create_memory_object_stream[Wish](4)

    async def follow() -> None:
        async with aclosing(wishes(on_sigterm="drain")) as stream:
            async for wish in stream:
                await send.send(wish)

    with send, receive:
        async with anyio.create_task_group() as group:
            group.start_soon(follow)
            while signal.getsignal(QUIT) is signal.SIG_DFL:
                await anyio.lowlevel.checkpoint()
            seen = []
            for number in (HUP, TERM, TERM, TERM):
                os.kill(os.getpid(), number)
                seen.append(await receive.receive())
            group.cancel_scope.cancel()
    assert seen == [Wish.RELOAD, Wish.DRAIN, Wish.ABORT, Wish.EXIT]
