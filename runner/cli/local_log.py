"""The jobs' logs on a terminal: whole lines, each behind its job's name when there are several.

The whole log, or only what the job itself printed: then what the runner does before and after it is held back, and
shown when the job fails before its script begins. Warnings and errors are always shown.
"""

from __future__ import annotations

import os
import re
import sys
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TextIO

_MARK = re.compile(rb"section_(start|end):[0-9]+:([^\r\n\[]*)[^\r\n]*\r(?:\x1b\[0K)?")
_TIME = re.compile(rb"\d{4}-\d\d-\d\dT[0-9:.]+Z [0-9a-f]{2}[OE][ +]")
# Colours may stay; whatever else a program sends to a terminal would move the cursor under the other jobs' lines.
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_]?)")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1a\x1c-\x1f\x7f-\x9f]")
_NAME_COLOURS = ("36", "33", "35", "32", "34", "96", "93", "95", "92", "94")
_LONGEST_LINE_BYTES = 64 * 1024
_MOST_HELD_LINES = 500
_WIDEST_NAME = 40

_SHOWN_SECTIONS = frozenset({b"step_script", b"after_script"})
"""What the job itself prints."""

_TITLED_SECTION = b"get_sources"
"""The one section of the runner's own whose title is shown: it may take long."""

_ALWAYS_SHOWN = ("WARNING: ", "ERROR: ", "Job succeeded")

_DIM = "\x1b[2m"


def wants_colour(*, no_color: bool) -> bool:
    """Say whether to print in colour: on a terminal, unless it is unwanted; FORCE_COLOR asks for it anywhere."""
    if no_color or os.environ.get("NO_COLOR"):
        return False
    return sys.stdout.isatty() or bool(os.environ.get("FORCE_COLOR"))


@dataclass(slots=True)
class _Log:
    label: str
    pending: list[bytes] = field(default_factory=list)
    """Pieces of a line that is not whole yet."""
    pending_bytes: int = 0
    section: bytes = b""
    """The runner's own section that is open."""
    began: bool = False
    """Whether the job's script has begun."""
    blank: bool = False
    """Whether the last line was empty, and is not printed yet."""
    held: deque[str] = field(default_factory=lambda: deque(maxlen=_MOST_HELD_LINES))
    """Lines that are shown if the script never begins."""


class LiveLog:
    """Prints what comes of each job's log, line by line, so that jobs that run together stay readable."""

    def __init__(self, names: Sequence[str], *, colour: bool, whole: bool, stream: TextIO) -> None:
        self._colour = colour
        self._whole = whole
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
        width = min(_WIDEST_NAME, max(map(len, names)))
        name = names[index]
        label = f"{name if len(name) <= width else name[: width - 1] + '…':<{width}} │ "
        return f"\x1b[{_NAME_COLOURS[index % len(_NAME_COLOURS)]}m{label}\x1b[0m" if self._colour else label

    def _line(self, log: _Log, line: bytes) -> str:
        """What is printed for one line of a log: marks of sections stand in it, between what belongs to each.

        An empty line waits for the next: at a section's end it is the runner's, and says nothing on a terminal.
        """
        line = _TIME.sub(b"", line, count=1)
        shown = [f"{log.label}\n"] if log.blank and not line.startswith(b"section_end:") else []
        log.blank = not line and not self._whole and log.section in _SHOWN_SECTIONS
        if log.blank:
            return "".join(shown)
        start, marked = 0, False
        for mark in _MARK.finditer(line):
            shown.append(self._piece(log, line[start : mark.start()], marked=True))
            marked = self._follow(log, mark)
            start = mark.end()
        shown.append(self._piece(log, line[start:], marked=start > 0, title=marked))
        return "".join(shown)

    def _follow(self, log: _Log, mark: re.Match[bytes]) -> bool:
        """Note which of the runner's sections is open; true when this mark opens one."""
        kind, name = mark[1], mark[2]
        if kind == b"end" and name == log.section:
            log.section = b""
        elif kind == b"start" and not log.section:
            log.section = name
            log.began = log.began or name in _SHOWN_SECTIONS
            return True
        return False

    def _piece(self, log: _Log, piece: bytes, *, marked: bool, title: bool = False) -> str:
        """What is printed for a piece of a line; nothing when it is only what a mark leaves, or held back."""
        text = self._printable(piece)
        bare = _ESCAPE.sub("", text)
        if marked and not bare.strip():
            return ""
        shown = f"{log.label}{text}\n"
        script = log.section in _SHOWN_SECTIONS
        # That the script is executed is plain from its own first line.
        idle = title and log.section == b"step_script"
        if self._whole or (script and not idle) or bare.startswith(_ALWAYS_SHOWN):
            return self._held_before(log, bare) + shown
        if title and log.section == _TITLED_SECTION:
            return f"{log.label}{_DIM}{bare}\x1b[0m\n" if self._colour else shown
        if not script:
            log.held.append(shown)
        return ""

    def _held_before(self, log: _Log, bare: str) -> str:
        """What was held back, before the line that ends a job whose script never began."""
        if log.began or not bare.startswith("ERROR: Job failed"):
            return ""
        held = "".join(log.held)
        log.held.clear()
        return held

    def _printable(self, line: bytes) -> str:
        """A line as text that cannot do more to a terminal than colour itself."""
        text = line.decode("utf-8", "replace").rstrip("\r").rsplit("\r", 1)[-1]
        text = _ESCAPE.sub(lambda found: found[0] if self._colour and _COLOUR.fullmatch(found[0]) else "", text)
        text = _CONTROL.sub("", text)
        return f"{text}\x1b[0m" if "\x1b" in text else text

    def _write(self, text: str) -> None:
        if self.broken or not text:
            return
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):
            # The reader went away (`| head`), or the terminal did.
            self.broken = True
