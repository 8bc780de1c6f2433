"""Signals to the process: the first asks it to end gently, the next insists.

Only the command line asks for them; an embedding program keeps its own.
"""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from enum import StrEnum
from typing import Protocol

import anyio
import structlog

from runner.manager.logging import debugs, toggle_debug
from runner.manager.tasks import tell_tasks

log = structlog.get_logger()

ABORT_MARGIN = 15.0
"""Seconds beyond `shutdown_timeout` after which a process that was told to end its jobs leaves whatever hinders it."""


class Wish(StrEnum):
    """What whoever sent a signal wants."""

    DRAIN = "drain"
    """Take no more jobs, let the running ones end."""
    ABORT = "abort"
    """End the running jobs, clean up, leave."""
    EXIT = "exit"
    """Leave at once."""
    RELOAD = "reload"
    """Read the configuration again."""
    TASKS = "tasks"
    """Write to the log what every task waits for."""
    DEBUG = "debug"
    """Log everything, or no longer."""


class Ending(Protocol):
    """What is told to end: the manager."""

    @property
    def running(self) -> int:
        """Jobs that run now."""

    @property
    def shutdown_timeout(self) -> float:
        """Seconds that jobs which are ended get."""

    def drain(self) -> None:
        """Let the running jobs end."""

    def abort(self, signal: str) -> None:
        """End the running jobs."""


_CHANGE_NOTHING = {signal.SIGHUP: Wish.RELOAD, signal.SIGUSR1: Wish.TASKS, signal.SIGUSR2: Wish.DEBUG}
_WORDS = {signal.SIGINT: "interrupt", signal.SIGQUIT: "quit", signal.SIGTERM: "terminated"}


def next_wish(number: signal.Signals, state: Wish | None, *, on_sigterm: str) -> Wish | None:
    """Say what a signal means in a state; None: nothing new.

    QUIT drains and TERM or INT abort, as GitLab Runner has it; where TERM is told to drain (in the image, because
    Kubernetes sends TERM), it does. TERM or INT while draining abort, and while aborting they leave at once; QUIT says
    nothing new then.
    """
    if number in _CHANGE_NOTHING:
        return _CHANGE_NOTHING[number]
    if number == signal.SIGQUIT:
        return Wish.DRAIN if state is None else None
    if state is None:
        return Wish.DRAIN if number == signal.SIGTERM and on_sigterm == "drain" else Wish.ABORT
    return Wish.ABORT if state is Wish.DRAIN else Wish.EXIT


async def wishes(*, on_sigterm: str) -> AsyncGenerator[tuple[Wish, str], None]:
    """Yield a wish for each signal that changes something, with the signal's name in words."""
    state: Wish | None = None
    with anyio.open_signal_receiver(*_WORDS, *_CHANGE_NOTHING) as received:
        async for number in received:
            wish = next_wish(number, state, on_sigterm=on_sigterm)
            log.info("signal", signal=number.name, meaning=str(wish or "nothing new"))
            if wish is None:
                continue
            if number not in _CHANGE_NOTHING:
                state = wish
            yield wish, _WORDS.get(number, "")


async def obey(
    manager: Ending,
    *,
    on_sigterm: str,
    reload: Callable[[], None] = lambda: None,
    leave: Callable[[int], None] = os._exit,
) -> None:
    """Do what signals ask of a process that serves this manager, until cancelled. `leave` ends the process at once."""
    async with anyio.create_task_group() as group, aclosing(wishes(on_sigterm=on_sigterm)) as heard:
        async for wish, word in heard:
            if wish is Wish.DRAIN:
                manager.drain()
            elif wish is Wish.ABORT:
                manager.abort(word)
                group.start_soon(_leave_late, manager, leave, name="leave late")
            elif wish is Wish.EXIT:
                log.error("leaving at once, jobs may be left in the cluster", running=manager.running)
                leave(1)
            elif wish is Wish.RELOAD:
                reload()
            elif wish is Wish.DEBUG:
                log.warning("the log's level is switched", to="debug" if toggle_debug() else "the configured one")
            elif debugs():
                tell_tasks()
            else:
                log.info("what tasks wait for is told at level debug only, which USR2 switches to")


async def _leave_late(manager: Ending, leave: Callable[[int], None]) -> None:
    """Leave when what was to be over long ago is not: whoever sent the signal sends KILL next."""
    await anyio.sleep(manager.shutdown_timeout + ABORT_MARGIN)
    log.error("leaving late, jobs may be left in the cluster", running=manager.running)
    leave(1)
