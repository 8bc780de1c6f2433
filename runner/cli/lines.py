"""What the short commands say: lines in the original's three log formats, on stderr.

Scripts written for the original read these lines by columns, so even their escapes are always written. Nothing heavy
is imported: `list` is called often. The service's own log is `runner.manager.logging`'s; a test holds the two together.
"""

from __future__ import annotations

import json
import os
import sys
from datetime import UTC, datetime
from typing import Final, Literal

Level = Literal["debug", "info", "warning", "error", "fatal"]

_LEVELS: Final = {"debug": 0, "info": 1, "warn": 2, "warning": 2, "error": 3, "fatal": 4, "panic": 4}
_RESET = "\x1b[0;m"
_STYLES: Final = {
    "debug": ("\x1b[37;1m", ""),
    "info": ("", ""),
    "warning": ("\x1b[0;33m", "WARNING: "),
    "error": ("\x1b[31;1m", "ERROR: "),
    "fatal": ("\x1b[31;1m", "FATAL: "),
}
_WIDTH = 50


def say(level: Level, message: str, **fields: object) -> None:
    """Write one line; LOG_FORMAT and LOG_LEVEL decide how and whether."""
    if _LEVELS[level] < _LEVELS.get(os.environ.get("LOG_LEVEL", "").lower(), 1):
        return
    form = os.environ.get("LOG_FORMAT", "")
    line = {"json": _json, "text": _text}.get(form, runner_line)(level, message, fields)
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def runner_line(level: Level, message: str, fields: dict[str, object]) -> str:
    """The original's own form: colour, prefix, padded message, then the fields in alphabetical order."""
    colour, prefix = _STYLES[level]
    told = "".join(f" {colour}{key}{_RESET}={fields[key]}" for key in sorted(fields))
    return f"{colour}{prefix}{message.ljust(_WIDTH - len(prefix))}{_RESET} {told}"


def _json(level: Level, message: str, fields: dict[str, object]) -> str:
    return json.dumps({**fields, "level": level, "msg": message, "time": _now()}, default=str)


def _text(level: Level, message: str, fields: dict[str, object]) -> str:
    told = "".join(f" {key}={json.dumps(str(fields[key]))}" for key in sorted(fields))
    return f"time={json.dumps(_now())} level={level} msg={json.dumps(message)}{told}"


def _now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")
