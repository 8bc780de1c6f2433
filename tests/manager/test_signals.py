"""What signals mean in which state, and that a process obeys them."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager
from functools import partial
from signal import Signals

import anyio
import anyio.lowlevel
import pytest
import structlog
from structlog.testing import capture_logs

from runner.manager.logging import setup_logging
from runner.manager.signals import Wish, next_wish, obey, wishes

QUIT, TERM, INT, HUP = signal.SIGQUIT, signal.SIGTERM, signal.SIGINT, signal.SIGHUP
USR1, USR2 = signal.SIGUSR1, signal.SIGUSR2


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    yield
    setup_logging(level="info", form="runner")
    structlog.reset_defaults()


@pytest.mark.parametrize(
    ("number", "state", "on_sigterm", "expected"),
    [
        pytest.param(QUIT, None, "abort", Wish.DRAIN, id="QUIT drains"),
        pytest.param(TERM, None, "abort", Wish.ABORT, id="TERM aborts as the original does"),
        pytest.param(TERM, None, "drain", Wish.DRAIN, id="TERM drains in the image"),
        pytest.param(INT, None, "drain", Wish.ABORT, id="INT aborts"),
        pytest.param(QUIT, Wish.DRAIN, "abort", None, id="a second QUIT says nothing new"),
        pytest.param(TERM, Wish.DRAIN, "drain", Wish.ABORT, id="a second TERM insists"),
        pytest.param(TERM, Wish.DRAIN, "abort", Wish.ABORT, id="TERM after QUIT insists"),
        pytest.param(TERM, Wish.ABORT, "abort", Wish.EXIT, id="TERM while aborting leaves at once"),
        pytest.param(INT, Wish.ABORT, "abort", Wish.EXIT, id="INT while aborting leaves at once"),
        pytest.param(QUIT, Wish.ABORT, "abort", None, id="QUIT while aborting changes nothing"),
        pytest.param(HUP, None, "abort", Wish.RELOAD, id="HUP asks for the configuration"),
        pytest.param(HUP, Wish.DRAIN, "abort", Wish.RELOAD, id="HUP while draining too"),
        pytest.param(USR1, None, "abort", Wish.TASKS, id="USR1 asks for the tasks"),
        pytest.param(USR2, Wish.ABORT, "abort", Wish.DEBUG, id="USR2 switches the log"),
    ],
)
def test_next_wish(number: Signals, state: Wish | None, on_sigterm: str, expected: Wish | None) -> None:
    """The table of the command's documentation."""
    assert next_wish(number, state, on_sigterm=on_sigterm) is expected


async def test_wishes_when_signals_come() -> None:
    """Real signals to this process: reload changes no state, a second TERM insists, a third leaves."""
    send, receive = anyio.create_memory_object_stream[tuple[Wish, str]](4)

    async def follow() -> None:
        async with aclosing(wishes(on_sigterm="drain")) as stream:
            async for wish in stream:
                await send.send(wish)

    with send, receive:
        async with anyio.create_task_group() as group:
            group.start_soon(follow)
            await _until_heard()
            seen = []
            for number in (HUP, TERM, INT, TERM):
                os.kill(os.getpid(), number)
                seen.append(await receive.receive())
            group.cancel_scope.cancel()
    assert seen == [(Wish.RELOAD, ""), (Wish.DRAIN, "terminated"), (Wish.ABORT, "interrupt"), (Wish.EXIT, "terminated")]


class Told:
    """A manager that keeps what it is told."""

    def __init__(self) -> None:
        self.running = 2
        self.shutdown_timeout = 30.0
        self.heard: list[object] = []
        self.came = anyio.Event()

    def tell(self, what: object) -> None:
        self.heard.append(what)
        self.came.set()
        self.came = anyio.Event()

    def drain(self) -> None:
        self.tell("drain")

    def abort(self, signal: str) -> None:
        self.tell(signal)

    async def hears(self, number: Signals) -> object:
        """Send a signal and wait for what comes of it."""
        came = self.came
        os.kill(os.getpid(), number)
        with anyio.fail_after(5):
            await came.wait()
        return self.heard[-1]


async def _until_heard() -> None:
    # Ignored at first where the tests run in the background of a shell.
    while signal.getsignal(QUIT) in {signal.SIG_DFL, signal.SIG_IGN}:
        await anyio.lowlevel.checkpoint()


@asynccontextmanager
async def obeying(told: Told) -> AsyncIterator[None]:
    """A process that obeys signals to a manager, for as long as the block."""
    async with anyio.create_task_group() as group:
        group.start_soon(partial(obey, told, on_sigterm="abort", reload=partial(told.tell, "reload"), leave=told.tell))
        await _until_heard()
        yield
        group.cancel_scope.cancel()


async def test_obey_when_signals_come() -> None:
    """Each does what it means, the running jobs learn the signal's name, and insisting leaves with 1."""
    told = Told()
    async with obeying(told):
        assert [await told.hears(number) for number in (HUP, QUIT, INT, TERM)] == ["reload", "drain", "interrupt", 1]


async def test_obey_when_the_end_takes_too_long() -> None:
    """A process whose jobs do not end within their time leaves nevertheless, with 1."""
    told = Told()
    told.shutdown_timeout = -15.0
    async with obeying(told):
        os.kill(os.getpid(), TERM)
        with anyio.fail_after(5):
            while len(told.heard) < 2:
                await anyio.lowlevel.checkpoint()
    assert told.heard == ["terminated", 1]


async def test_obey_when_the_tasks_are_asked_for() -> None:
    """At level debug there is a line for each task with its functions; at any other level there is none."""
    told = Told()
    setup_logging(level="info", form="json")
    with capture_logs() as logs:
        async with obeying(told):
            os.kill(os.getpid(), USR1)
            await told.hears(HUP)
    assert "signal" in [entry["event"] for entry in logs]
    assert [entry for entry in logs if entry["event"] == "task"] == []


async def test_obey_when_the_log_is_switched() -> None:
    """USR2 lets everything be written, and the tasks are told then; another one ends it."""
    told = Told()
    setup_logging(level="info", form="json")
    async with obeying(told):
        with capture_logs() as logs:
            os.kill(os.getpid(), USR2)
            os.kill(os.getpid(), USR1)
            await told.hears(HUP)
            os.kill(os.getpid(), USR2)
            await told.hears(HUP)
    assert [entry["to"] for entry in logs if entry["event"] == "the log's level is switched"] == [
        "debug",
        "the configured one",
    ]
    assert any("test_obey_when_the_log_is_switched" in entry["at"] for entry in logs if entry["event"] == "task")
