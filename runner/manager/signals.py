"""Signals to the process: the first asks it to end gently, the next insists.

Only the command line asks for them; an embedding program keeps its own.
"""

from __future__ import annotations

import signal
from collections.abc import AsyncGenerator
from enum import StrEnum

import anyio
import structlog

log = structlog.get_logger()


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


def next_wish(number: signal.Signals, state: Wish | None, *, on_sigterm: str) -> Wish | None:
    """Say what a signal means in a state; None: nothing new.

    QUIT drains and TERM or INT abort, as GitLab Runner has it; where TERM is told to drain (in the image, because
    Kubernetes sends TERM), it does. A second signal of any kind while draining aborts, a second TERM or INT while
    aborting leaves at once.
    """
    if number == signal.SIGHUP:
        return Wish.RELOAD
    gentle = number == signal.SIGQUIT or (number == signal.SIGTERM and on_sigterm == "drain")
    if state is None:
        return Wish.DRAIN if gentle else Wish.ABORT
    if state is Wish.DRAIN:
        return Wish.ABORT
    return Wish.EXIT if number != signal.SIGQUIT else None


async def wishes(*, on_sigterm: str) -> AsyncGenerator[Wish, None]:
    """Yield a wish for each signal that changes something."""
    state: Wish | None = None
    with anyio.open_signal_receiver(signal.SIGQUIT, signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as received:
        async for number in received:
            wish = next_wish(number, state, on_sigterm=on_sigterm)
            log.info("signal", signal=number.name, meaning=str(wish or "nothing new"))
            if wish is None:
                continue
            if wish is not Wish.RELOAD:
                state = wish
            yield wish
