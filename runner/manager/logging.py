"""The manager's own log: events in few words with fields, on stderr.

Three forms: `runner` (the original's, coloured and padded), `text` (key=value) and `json`. No line ever holds a token
or a job's variable.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, MutableMapping
from functools import partial
from typing import Any, TextIO

import structlog

_LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "fatal": logging.CRITICAL,
    "panic": logging.CRITICAL,
}
_RESET = "\x1b[0;m"
_STYLES = {
    "debug": ("\x1b[37;1m", ""),
    "info": ("", ""),
    "warning": ("\x1b[0;33m", "WARNING: "),
    "error": ("\x1b[31;1m", "ERROR: "),
    "critical": ("\x1b[31;1m", "FATAL: "),
}
_WIDTH = 50


def setup_logging(
    *, level: str, form: str, stream: TextIO | None = None, on_line: Callable[[str], None] | None = None
) -> None:
    """Configure structlog for this process; `level` and `form` are config.toml's `log_level` and `log_format`.

    `on_line` hears of the level of each line that is written.
    """
    renderers: dict[str, Any] = {
        "json": structlog.processors.JSONRenderer(),
        "text": structlog.processors.KeyValueRenderer(key_order=["time", "level", "msg"]),
        "runner": render_like_runner,
    }
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            *([partial(_tell_level, on_line)] if on_line else []),
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
            structlog.processors.format_exc_info,
            *([] if form == "runner" else [structlog.processors.EventRenamer("msg")]),
            renderers.get(form, render_like_runner),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS.get(level, logging.INFO)),
        logger_factory=structlog.PrintLoggerFactory(stream or sys.stderr),
        cache_logger_on_first_use=False,
    )


def _tell_level(
    on_line: Callable[[str], None], _logger: object, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    on_line(str(event["level"]))
    return event


def render_like_runner(_logger: object, _method: str, event: MutableMapping[str, Any]) -> str:
    """Write a line in the original's form: colour, prefix, padded message, then the fields in alphabetical order."""
    level = str(event.pop("level", "info"))
    event.pop("time", None)
    trace = event.pop("exception", "")
    colour, prefix = _STYLES.get(level, ("", ""))
    message = str(event.pop("event", "")).ljust(_WIDTH - len(prefix))
    fields = "".join(f" {colour}{key}{_RESET}={event[key]}" for key in sorted(event))
    line = f"{colour}{prefix}{message}{_RESET} {fields}"
    return f"{line}\n{trace}" if trace else line
