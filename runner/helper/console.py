"""What the helper's commands say, on stderr, in the form that GitLab's users know from the job log.

`runner` writes coloured lines, `text` and `json` one record a line. Fields follow the message in the order of their
names.
"""

import errno
import json
import os
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

Field = str | int | float

_WIDTH = 50
_RESET = "\033[0;m"
_LEVELS: Mapping[str, tuple[int, str, str]] = {
    "debug": (0, "", ""),
    "info": (1, "", ""),
    "warning": (2, "\033[0;33m", "WARNING: "),
    "error": (3, "\033[31;1m", "ERROR: "),
    "fatal": (4, "\033[31;1m", "FATAL: "),
}


class HelperError(Exception):
    """A command cannot do its work. The message is told as fatal, and the command ends with 1."""

    def __init__(self, message: str, **fields: Field) -> None:
        super().__init__(message)
        self.fields = fields


class Console:
    """Writes records above a level."""

    def __init__(
        self, *, form: str = "runner", level: str = "info", write: Callable[[str], object] | None = None
    ) -> None:
        self._form = form if form in ("runner", "text", "json") else "runner"
        self._least = _LEVELS.get(level, _LEVELS["info"])[0]
        self._write = write or _write_stderr

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> "Console":
        """Make the console that the environment asks for: LOG_FORMAT, LOG_LEVEL, RUNNER_DEBUG."""
        debug = environ.get("RUNNER_DEBUG", "").lower() in ("1", "t", "true")
        return cls(
            form=environ.get("LOG_FORMAT", "runner"), level="debug" if debug else environ.get("LOG_LEVEL", "info")
        )

    def debug(self, message: str, **fields: Field) -> None:
        """What helps to find a fault."""
        self._record("debug", message, fields)

    def info(self, message: str, **fields: Field) -> None:
        """What a user wants to know."""
        self._record("info", message, fields)

    def warning(self, message: str, **fields: Field) -> None:
        """What a user should look at."""
        self._record("warning", message, fields)

    def error(self, message: str, **fields: Field) -> None:
        """What went wrong."""
        self._record("error", message, fields)

    def fatal(self, error: HelperError) -> None:
        """What ended the command."""
        self._record("fatal", str(error), error.fields)

    def _record(self, level: str, message: str, fields: Mapping[str, Field]) -> None:
        number, color, prefix = _LEVELS[level]
        if number < self._least:
            return
        ordered = sorted(fields.items())
        if self._form == "runner":
            words = f"{color}{prefix}{message:<{max(0, _WIDTH - len(prefix))}}{_RESET} "
            self._write(words + "".join(f" {color}{key}{_RESET}={value}" for key, value in ordered) + "\n")
            return
        record = {"time": datetime.now(UTC).isoformat(timespec="seconds"), "level": level, "msg": message, **fields}
        if self._form == "json":
            self._write(json.dumps(record) + "\n")
        else:
            self._write(" ".join(f"{key}={_quoted(value)}" for key, value in record.items()) + "\n")


def disk_words(error: OSError, path: str) -> str:
    """Say what a file system refused, and the way out where it is full."""
    words = f"{error.filename or path}: {error.strerror}"
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return f"{words}. Keep less there, or give the pod a larger volume"
    return words


def _quoted(value: Field) -> str:
    text = str(value)
    return text if text and not set(text) & set(' "=\n') else json.dumps(text)


def _write_stderr(text: str) -> None:
    # One system call for one record: lines of other processes do not come in between.
    os.write(sys.stderr.fileno(), text.encode(errors="surrogateescape"))
