"""The manager's own log: events in few words with fields, on stderr.

Three forms, written as the original writes them: `runner` (coloured and padded), `text` (key=value) and `json`. No line
ever holds a token or a job's variable.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterable, MutableMapping
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, TextIO

import structlog

from runner.job.variables import short_token
from runner.trace.masking import Masker

if TYPE_CHECKING:
    from runner.config.model import RunnerConfig
    from runner.job.payload import Job

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
_CONTROL = re.compile("[\\x00-\\x1f\\x7f-\\x9f\\u2028\\u2029]")
"""What moves a terminal's cursor, or begins a line that would pass for one of ours."""
_LEVEL_NAMES = {"critical": "fatal"}
"""Levels that the original calls by another name."""

_PLAIN = re.compile(r"[A-Za-z0-9\-._/@^+]*")
"""Values that stand without quotes in form `text`."""


class _Output:
    """What becomes of a line. One for the process, so that loggers which were bound before a change follow it too."""

    def __init__(self) -> None:
        self.level = logging.INFO
        self.configured = logging.INFO
        self.form = "runner"
        self.on_line: Callable[[str], None] | None = None
        self.json = structlog.processors.JSONRenderer(sort_keys=True)

    def drop_below(self, _logger: object, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        if _METHODS.get(method, logging.INFO) < self.level:
            raise structlog.DropEvent
        return event

    def tell(self, _logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        if self.on_line:
            self.on_line(str(event["level"]))
        return event

    def render(self, logger: object, method: str, event: MutableMapping[str, Any]) -> Any:
        if self.form not in ("json", "text"):
            return render_like_runner(logger, method, event)
        event["msg"] = event.pop("event")
        event["level"] = _LEVEL_NAMES.get(event["level"], event["level"])
        return self.json(logger, method, event) if self.form == "json" else render_as_text(event)


_output = _Output()
_METHODS = {**_LEVELS, "exception": logging.ERROR, "critical": logging.CRITICAL}


def setup_logging(
    *, level: str, form: str, stream: TextIO | None = None, on_line: Callable[[str], None] | None = None
) -> None:
    """Configure structlog for this process; `level` and `form` are config.toml's `log_level` and `log_format`.

    `on_line` hears of the level of each line that is written.
    """
    _output.on_line = on_line
    change_logging(level=level, form=form)
    structlog.configure(
        processors=[
            _output.drop_below,
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            _output.tell,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
            structlog.processors.format_exc_info,
            _output.render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.NOTSET),
        logger_factory=structlog.PrintLoggerFactory(stream or sys.stderr),
        cache_logger_on_first_use=False,
    )
    logging.lastResort = _foreign  # nobody else in this process takes what libraries write


def change_logging(*, level: str, form: str) -> None:
    """Go on with another level and form, running jobs' lines included."""
    _output.level = _output.configured = _LEVELS.get(level, logging.INFO)
    _output.form = form


def debugs() -> bool:
    """Whether lines of level debug are written now."""
    return _output.level <= logging.DEBUG


def toggle_debug() -> bool:
    """Write everything, or again what the configuration says; returns whether everything is written now."""
    _output.level = _output.configured if _output.level != _output.configured else logging.DEBUG
    return debugs()


def render_as_text(event: MutableMapping[str, Any]) -> str:
    """Write a line as `time="..." level=info msg="..."` and the fields in alphabetical order; quotes where needed."""
    first = ("time", "level", "msg")
    fields = [*(key for key in first if key in event), *sorted(event.keys() - set(first))]
    return " ".join(f"{key}={_text_value(event[key])}" for key in fields)


def _text_value(value: object) -> str:
    text = str(value).lower() if value is None or isinstance(value, bool) else str(value)
    return text if _PLAIN.fullmatch(text) else _shown(json.dumps(text, ensure_ascii=False))


def render_like_runner(_logger: object, _method: str, event: MutableMapping[str, Any]) -> str:
    """Write a line in the original's form: colour, prefix, padded message, then the fields in alphabetical order.

    Much of what is told was written by others: control characters in it are shown, not sent, and further lines stand to
    the right of where ours begin.
    """
    level = str(event.pop("level", "info"))
    event.pop("time", None)
    trace = event.pop("exception", "")
    colour, prefix = _STYLES.get(level, ("", ""))
    message = _shown(event.pop("event", "")).ljust(_WIDTH - len(prefix))
    fields = "".join(f" {colour}{key}{_RESET}={_shown(event[key])}" for key in sorted(event))
    line = f"{colour}{prefix}{message}{_RESET} {fields}"
    return "\n".join((line, *(_shown(one) for one in str(trace).splitlines())))


def _shown(value: object) -> str:
    text = str(value)
    if text.isprintable():
        return text
    return "\n    ".join(_CONTROL.sub(lambda found: ascii(found[0])[1:-1], line) for line in text.split("\n"))


def job_fields(job: Job, runner: RunnerConfig) -> dict[str, object]:
    """The fields that every line about a job has; its pod is told once there is one."""
    return {"job": job.id, "project": job.job_info.project_id, **runner_fields(runner)}


def runner_fields(runner: RunnerConfig) -> dict[str, str]:
    """The fields that every line about a runner has."""
    return {"runner": short_token(runner.token), "runner_name": runner.name}


def tell_fault(logger: Any, event: str, error: BaseException, *, secrets: Iterable[bytes] = ()) -> None:
    """Write a line about a fault of this program, with the place where it was; `secrets` do not show.

    Formatted here: a renderer may show local variables, and with them what must not be told.
    """
    told = "".join(traceback.format_exception(error)).encode(errors="replace")
    logger.error(event, exception=Masker(secrets).whole(told).decode(errors="replace"))


class _Foreign(logging.Handler):
    """Lines of libraries, which write by Python's own logging: as ours, and without the words of errors.

    Those may hold what a stranger has sent. An error in which nothing of ours had a part is one of his making.
    """

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        fields = {"logger": record.name}
        level = logging.getLevelName(record.levelno).lower()
        if error is not None:
            frames = traceback.extract_tb(error.__traceback__)
            fields["fault"] = type(error).__name__
            if any(frame.filename.startswith(_OURS) for frame in frames):
                fields["exception"] = "".join(traceback.format_list(frames)) + type(error).__name__
            else:
                level = "debug"
        message = record.getMessage().partition("\n")[0]
        getattr(structlog.get_logger(), level if level in _STYLES else "warning")(message, **fields)


_OURS = str(PurePath(__file__).parents[1]) + os.sep
_foreign = _Foreign(logging.WARNING)
