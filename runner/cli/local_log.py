"""The jobs' logs on a terminal: whole lines, each behind its job's name when there are several."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TextIO

_SECTION = re.compile(rb"section_(?:start|end):[0-9]+:[^\r\n]*\r(?:\x1b\[0K)?")
_TIME = re.compile(rb"\d{4}-\d\d-\d\dT[0-9:.]+Z [0-9a-f]{2}[OE][ +]")
# Colours may stay; whatever else a program sends to a terminal would move the cursor under the other jobs' lines.
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_]?)")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1a\x1c-\x1f\x7f-\x9f]")
_NAME_COLOURS = ("36", "33", "35", "32", "34", "96", "93", "95", "92", "94")
_LONGEST_LINE_BYTES = 64 * 1024


@dataclass(slots=True)
class _Log:
    label: str
    pending: list[bytes] = field(default_factory=list)
    """Pieces of a line that is not whole yet."""
    pending_bytes: int = 0


class LiveLog:
    """Prints what comes of each job's log, line by line, so that jobs that run together stay readable."""

    def __init__(self, names: Sequence[str], *, colour: bool, stream: TextIO) -> None:
        self._colour = colour
        self._stream = stream
        self._logs = {name: _Log(self._label(index, names)) for index, name in enumerate(names)}
        self.broken = False
        """Whether nobody reads any more; nothing is printed then."""

    def feed(self, name: str, data: bytes) -> None:
        """Take the next bytes of a job's log as GitLab stored them."""
        log = self._logs[name]
        head, newline, rest = data.rpartition(b"\n")
        if newline:
            whole = b"".join((*log.pending, head))
            log.pending, log.pending_bytes = [], 0
            self._write("".join(self._line(log, line) for line in whole.split(b"\n")))
        if rest:
            log.pending.append(rest)
            log.pending_bytes += len(rest)
        if log.pending_bytes > _LONGEST_LINE_BYTES:
            self.end(name)

    def end(self, name: str) -> None:
        """Print what stands without a newline at a log's end."""
        log = self._logs[name]
        line = b"".join(log.pending)
        log.pending, log.pending_bytes = [], 0
        if line:
            self._write(self._line(log, line))

    def say(self, name: str, text: str) -> None:
        """Print a line of ours among a job's."""
        styled = f"\x1b[33m{text}\x1b[0m" if self._colour else text
        self._write(f"{self._logs[name].label}{styled}\n")

    def _label(self, index: int, names: Sequence[str]) -> str:
        if len(names) < 2:
            return ""
        width = max(map(len, names))
        label = f"{names[index]:<{width}} │ "
        return f"\x1b[{_NAME_COLOURS[index % len(_NAME_COLOURS)]}m{label}\x1b[0m" if self._colour else label

    def _line(self, log: _Log, line: bytes) -> str:
        """One line as it is printed; nothing for one that has only the marks of sections."""
        line = _TIME.sub(b"", line, count=1)
        plain = _SECTION.sub(b"", line)
        text = plain.decode("utf-8", "replace").rstrip("\r").rsplit("\r", 1)[-1]
        text = _ESCAPE.sub(lambda found: found[0] if self._colour and _COLOUR.fullmatch(found[0]) else "", text)
        text = _CONTROL.sub("", text)
        if plain != line and not _ESCAPE.sub("", text).strip():
            return ""
        reset = "\x1b[0m" if "\x1b" in text else ""
        return f"{log.label}{text}{reset}\n"

    def _write(self, text: str) -> None:
        if self.broken or not text:
            return
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):
            # The reader went away (`| head`), or the terminal did.
            self.broken = True
