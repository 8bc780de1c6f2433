"""What a process opens to be looked at: a board always, metrics and a server where an address is given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from runner.status.address import AddressError, parse_address
from runner.status.board import StatusBoard

if TYPE_CHECKING:
    from runner.status.server import StatusServer

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Status:
    """A board, and the server that shows it; None for none."""

    board: StatusBoard
    server: StatusServer | None = None


def open_status(address: str, *, system_id: str, revision: str = "HEAD") -> Status:
    """Make what `address` asks for; empty: no server, and nothing is counted.

    A text that is no address is an error in the log and no server, as the original has it. Nothing is listened at
    before the server's `serve`.
    """
    if not address:
        return Status(StatusBoard(system_id=system_id))
    try:
        parsed = parse_address(address)
    except AddressError as error:
        log.error("there is no status server", reason=str(error))  # noqa: TRY400 -- a traceback tells nothing here
        return Status(StatusBoard(system_id=system_id))
    # Loaded here alone: a process without a server does without a web server and a registry.
    from runner.status.metrics import Metrics
    from runner.status.server import StatusServer

    metrics = Metrics(revision=revision)
    board = StatusBoard(system_id=system_id, meter=metrics)
    metrics.watch(board)
    return Status(board, StatusServer(parsed, board, metrics))
