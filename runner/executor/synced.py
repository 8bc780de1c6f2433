"""Streams that begin with stale bytes.

After a reconnect an attach may first deliver what an earlier connection had asked for. The agent writes the
connection's token before anything new; these readers throw away what comes before it. Pure: bytes in, bytes or lines
out.
"""

from __future__ import annotations

LINE_LIMIT = 1 << 20
"""Bytes without a newline that a line stream keeps before it gives up on them."""


class SyncedBytes:
    """Bytes after `TOKEN` and a newline."""

    def __init__(self, token: bytes) -> None:
        self._mark: bytes | None = token + b"\n"
        self._tail = b""

    @property
    def synced(self) -> bool:
        """Whether the token has been seen."""
        return self._mark is None

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes and give those that are not stale."""
        if self._mark is None:
            return data
        seen = self._tail + data
        at = seen.find(self._mark)
        if at < 0:
            self._tail = seen[-(len(self._mark) - 1) :]
            return b""
        fresh = seen[at + len(self._mark) :]
        self._mark, self._tail = None, b""
        return fresh


class SyncedLines:
    """Lines after the line `sync TOKEN`, without their newlines."""

    def __init__(self, token: bytes) -> None:
        self._mark = b"sync " + token
        self._part = b""
        self.synced = False
        """Whether the token has been seen."""

    def feed(self, data: bytes) -> list[bytes]:
        """Take the next bytes and give the whole lines that are not stale."""
        *lines, part = (self._part + data).split(b"\n")
        self._part = part if len(part) <= LINE_LIMIT else b""
        if self.synced:
            return lines
        for index, line in enumerate(lines):
            # A stale line may have been cut in its middle, so the mark is looked for at the end of a line, not as the
            # whole of it.
            if line.endswith(self._mark):
                self.synced = True
                return lines[index + 1 :]
        return []
