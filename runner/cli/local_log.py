"""The jobs' logs on a terminal: whole lines, each behind its job's name."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from typing import TextIO

_SECTION = re.compile(rb"section_(?:start|end):[0-9]+:[^\r\n]*\r(?:\x1b\[0K)?")
_HEADER = re.compile(rb"\d{4}-\d\d-\d\dT[0-9:.]+Z [0-9a-f]{2}[OE][ +]")
_COLOUR = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_NAME_COLOURS = ("36", "33", "35", "32", "34", "96", "93", "95", "92", "94")


@dataclass(slots=True)
class _Log:
    colour: str
    part: bytes = b""


class LiveLog:
    """Prints what comes of each job's log, line by line, so that jobs that run together stay readable."""

    def __init__(self, names: tuple[str, ...], *, colour: bool, stream: TextIO | None = None) -> None:
        self._width = max((len(name) for name in names), default=0)
        self._colour = colour
        self._stream = stream or sys.stdout
        self._logs: dict[str, _Log] = {}

    def feed(self, name: str, data: bytes) -> None:
        """Take the next bytes of a job's log as GitLab stored them."""
        log = self._logs.setdefault(name, _Log(_NAME_COLOURS[len(self._logs) % len(_NAME_COLOURS)]))
        *lines, log.part = (log.part + data).split(b"\n")
        for line in lines:
            self._print(name, log, line)

    def end(self, name: str) -> None:
        """Print what stands without a newline at a log's end."""
        log = self._logs.get(name)
        if log is None:
            return
        if log.part:
            self._print(name, log, log.part)
        log.part = b""

    def _print(self, name: str, log: _Log, line: bytes) -> None:
        # A section's marks stand in front of its title or alone on a line; alone they say nothing to a reader here.
        line = _HEADER.sub(b"", line, count=1)
        plain = _SECTION.sub(b"", line)
        if not plain.replace(b"\x1b[0K", b"").strip() and plain != line:
            return
        text = plain.decode("utf-8", "replace").replace("\x1b[0K", "").rstrip("\r")
        text = text.rsplit("\r", 1)[-1]
        label = f"{name:<{self._width}} │ "
        if self._colour:
            self._stream.write(f"\x1b[{log.colour}m{label}\x1b[0m{text}\x1b[0m\n")
        else:
            self._stream.write(f"{label}{_COLOUR.sub('', text)}\n")
        self._stream.flush()
