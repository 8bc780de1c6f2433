"""The journal as the agent writes it: what happened in the pod, at which byte of the log, and when.

Law: one writer, appending whole lines; offsets never decrease; a start, a note, an end is written once, also after the
agent was started again over the same volume. The format is docs/decisions/001's; `runner.trace.journal` reads it, but
this side stands alone, because a pod starts it and pays for every import.
"""

import os
from collections.abc import Callable

SEGMENT_BYTES = 65536
"""How far apart two entries may lie: the manager holds a segment in memory until it is whole."""

_READ_BYTES = 1 << 16
_OPEN_FLAGS = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
_OFFSET_FIELDS = {b"log": 1, b"start": 2, b"ran": 2, b"lost": 2, b"note": 3, b"exit": 4}


def offset_of(entry: bytes) -> int:
    """Give the entry's place in the log; 0 for a line that is no entry, so that it can hold nothing up."""
    fields = entry.split(b" ", 5)
    place = _OFFSET_FIELDS.get(fields[0], len(fields))
    try:
        return int(fields[place])
    except (IndexError, ValueError):
        return 0


class JournalFile:
    """The file `journal`, and what it says so far. Entries are collected and written by `flush`."""

    def __init__(self, path: str, *, clock: Callable[[], float]) -> None:
        self._fd = os.open(path, _OPEN_FLAGS, 0o666)
        self._clock = clock
        self._pending = bytearray()
        self.offset = 0
        """The last entry's place: bytes before it are known."""
        self.started: set[str] = set()
        self.ran: set[str] = set()
        self.ended: set[str] = set()
        self._notes: set[int] = set()
        self._replay()

    def grow(self, size: int) -> None:
        """Mark the log's growth to `size`, in steps of at most a segment."""
        moment = self._moment()
        while self.offset < size:
            self.offset = min(size, self.offset + SEGMENT_BYTES)
            self._add(f"log {self.offset} {moment}")

    def start(self, attempt: str) -> None:
        """Write where the attempt begins, once."""
        if attempt not in self.started:
            self.started.add(attempt)
            self._add(f"start {attempt} {self.offset} {self._moment()}")

    def run(self, attempt: str) -> None:
        """Write that the attempt's start guard stands, once."""
        if attempt not in self.ran:
            self.ran.add(attempt)
            self._add(f"ran {attempt} {self.offset} {self._moment()}")

    def exit(self, attempt: str, code: int, oom_kills: int) -> None:
        """Write the attempt's result; only the first end of an attempt counts."""
        if attempt not in self.ended:
            self.ended.add(attempt)
            self._add(f"exit {attempt} {code} {oom_kills} {self.offset} {self._moment()}")

    def lose(self, attempt: str) -> None:
        """Write that the attempt will have no result; only the first end of an attempt counts."""
        if attempt not in self.ended:
            self.ended.add(attempt)
            self._add(f"lost {attempt} {self.offset} {self._moment()}")

    def note(self, seq: int, kind: str, moment: str, encoded: str) -> None:
        """Write a line of the manager's with the manager's time, once for each `seq`."""
        if seq not in self._notes:
            self._notes.add(seq)
            self._add(f"note {seq} {kind} {self.offset} {moment} {encoded}")

    def flush(self) -> bool:
        """Write what was collected; false when the volume takes no more now. Nothing is lost then, ask again later."""
        while self._pending:
            try:
                del self._pending[: os.write(self._fd, self._pending)]
            except OSError:
                return False
        return True

    def read(self, position: int) -> bytes:
        """Read on from a byte of the journal's file; the end may lie in the middle of a line."""
        return os.pread(self._fd, _READ_BYTES, position)

    def position_of(self, line: int) -> int:
        """Give the byte where a line begins; the file's end when it has fewer lines."""
        position = 0
        while line > 0 and (data := self.read(position)):
            count = data.count(b"\n")
            if count < line:
                line -= count
                position += len(data)
                continue
            at = 0
            for _ in range(line):
                at = data.index(b"\n", at) + 1
            return position + at
        return position

    def _add(self, entry: str) -> None:
        self._pending += entry.encode("ascii", "replace") + b"\n"

    def _moment(self) -> str:
        return f"{self._clock():.6f}"

    def _replay(self) -> None:
        """Take up what an earlier agent wrote; a line that was cut by its death is removed."""
        position, rest = 0, b""
        while data := self.read(position):
            position += len(data)
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                self._take(line)
        if rest:
            os.ftruncate(self._fd, position - len(rest))

    def _take(self, line: bytes) -> None:
        self.offset = max(self.offset, offset_of(line))
        kind, _, rest = line.decode("ascii", "replace").partition(" ")
        subject = rest.partition(" ")[0]
        if kind == "note" and subject.isdecimal():
            self._notes.add(int(subject))
        elif kind == "start":
            self.started.add(subject)
        elif kind == "ran":
            self.ran.add(subject)
        elif kind in ("exit", "lost"):
            self.ended.add(subject)
