"""What the agent sends to the manager: log bytes on stdout, control lines on stderr.

Law: nothing here ever waits. A reader that has stopped reading costs a bounded buffer and no more, and what it did not
take is read again from the files when the next one asks for it. At most a window of bytes lies unacknowledged on the
way, and an entry is sent only when its offset lies within the window.
"""

import os

from runner.helper.journal_file import JournalFile, offset_of
from runner.helper.log_file import LogFile

_CONTROL_BYTES = 1 << 15
_ANSWER_BYTES = 1 << 16


class Pump:
    """One stream of log and journal, replaced whenever a manager resumes; and the answers to commands."""

    def __init__(self, journal: JournalFile, log: LogFile, *, stdout: int = 1, stderr: int = 2) -> None:
        self._journal = journal
        self._log = log
        self._stdout = stdout
        self._stderr = stderr
        self._streaming = False
        self._head = b""  # the token, which goes before the bytes
        self._offset = 0
        self._line = 0
        self._position = 0  # of `_line` in the journal's file
        self._acknowledged = 0
        self._window = 0
        self._control = bytearray()
        self._mid_line = False

    def resume(self, token: str, offset: int, line: int, *, window: int) -> None:
        """Begin a new stream at a byte of the log and a line of the journal; the old one ends where it is."""
        self._streaming = True
        self._head = token.encode("ascii", "replace") + b"\n"
        self._offset = self._acknowledged = offset
        self._line, self._position = line, self._journal.position_of(line)
        self._window = window
        # A line that is half in the pipe ends here, or the mark would hang at its tail.
        self._control = bytearray(b"\n" if self._mid_line else b"") + b"sync " + self._head

    def acknowledge(self, offset: int) -> None:
        """Move the window: bytes before `offset` have been taken. Never beyond what was sent, never back."""
        self._acknowledged = max(self._acknowledged, min(offset, self._offset))
        self._log.forget(self._acknowledged)

    def answer(self, text: str) -> None:
        """Send a line of our own. When nobody has read for long it is dropped: who connects next will ask again."""
        if len(self._control) < _ANSWER_BYTES:
            self._control += text.encode("ascii", "replace") + b"\n"

    @property
    def has_output(self) -> bool:
        """Whether stdout is worth waiting for."""
        return bool(self._head) or (self._streaming and self._offset < self._limit)

    @property
    def has_control(self) -> bool:
        """Whether stderr is worth waiting for."""
        self._fill()
        return bool(self._control)

    def send_output(self) -> None:
        """Write bytes of the log until the window or the pipe is full."""
        while self.has_output:
            data = self._head or self._log.read(self._offset, self._limit - self._offset)
            if not data:
                return  # the file is shorter than the journal says: the next look at it mends that
            sent = self._write(self._stdout, data)
            if self._head:
                self._head = self._head[sent:]
            else:
                self._offset += sent
            if not sent:
                return

    def send_control(self) -> None:
        """Write control lines until there are no more for now, or the pipe is full."""
        while self.has_control:
            sent = self._write(self._stderr, self._control)
            if not sent:
                return
            self._mid_line = self._control[sent - 1] != ord("\n")
            del self._control[:sent]

    @property
    def _limit(self) -> int:
        return min(self._journal.offset, self._acknowledged + self._window)

    def _fill(self) -> None:
        """Add journal lines that lie in the window, as far as the buffer goes."""
        if not self._streaming or len(self._control) >= _CONTROL_BYTES:
            return
        data = self._journal.read(self._position)
        at = 0
        while len(self._control) < _CONTROL_BYTES and (end := data.find(b"\n", at)) >= 0:
            entry = data[at:end]
            if offset_of(entry) > self._acknowledged + self._window:
                break
            self._control += b"j %d %s\n" % (self._line, entry)
            self._line += 1
            at = end + 1
        self._position += at

    def _write(self, fd: int, data: bytes | bytearray) -> int:
        try:
            return os.write(fd, data)
        except BlockingIOError:
            return 0
        except OSError:  # nobody will ever read this pipe again
            self._streaming = False
            self._head = b""
            self._control.clear()
            return 0
