"""The time before each line of the log (FF_TIMESTAMPS): GitLab's format, written and taken off again.

Law: 32 bytes stand before each entry, `2026-01-02T03:04:05.000001Z 00O ` (time, stream, kind, and a blank for a new
line or `+` for one that goes on). The time is an argument; what is written depends on the pieces as the caller cuts
them, so the caller cuts them by the journal.
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import lru_cache

EXECUTOR = b"00O"
"""The runner's own lines."""

SCRIPT = b"01O"
"""What the job's containers print."""

HEADER_BYTES = 32
"""The length of what stands before each entry."""

ENTRY_BYTES = 8192
"""Without a newline no more than this is kept: it becomes an entry, and the next one goes on."""

_HEADER = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z ([0-9a-f]{2}[OE])([ +])")


class Timestamper:
    """Puts the time before each line, for each stream on its own."""

    def __init__(self) -> None:
        self._streams: dict[bytes, _Stream] = {}

    def write(self, data: bytes, *, at: float, stream: bytes = SCRIPT) -> bytes:
        """Take a piece of a stream that came at `at` (seconds since the epoch) and give the entries that it completes.

        A newline completes an entry. A piece with a carriage return and no newline is given at once, as progress bars
        want it, and so is what grows beyond `ENTRY_BYTES`; the stream's next entry then is marked as going on. An
        entry's time is the time of its first byte.
        """
        if not data:
            return b""
        state = self._streams.setdefault(stream, _Stream(stream))
        return state.write(data, at)

    def finish(self, stream: bytes | None = None) -> bytes:
        """Give what waits for a newline, with a newline, and forget that entries went on: of one stream, or of all."""
        chosen = list(self._streams) if stream is None else [stream]
        return b"".join(self._streams.pop(name).close() for name in chosen if name in self._streams)


class _Stream:
    __slots__ = ("_began_at", "_flag", "_name", "_pending")

    def __init__(self, name: bytes) -> None:
        self._name = name
        self._pending = b""
        self._began_at = 0.0
        self._flag = b" "

    def write(self, data: bytes, at: float) -> bytes:
        lines, newline, rest = data.rpartition(b"\n")
        out: list[bytes] = []
        if newline:
            if b"\n" in lines:  # all lines but the first began in this piece and have its time
                lines = lines.replace(b"\n", b"\n%b %b " % (_moment(at), self._name))
            out += (self._header(at), self._pending, lines, b"\n")
            self._pending, self._flag = b"", b" "
        if rest and not self._pending:
            self._began_at = at
        self._pending += rest
        out += self._flush(at, whole=b"\r" in data and not newline)
        return b"".join(out)

    def close(self) -> bytes:
        return b"%b%b\n" % (self._header(self._began_at), self._pending) if self._pending else b""

    def _flush(self, at: float, *, whole: bool) -> Iterator[bytes]:
        """Give what is pending as entries that go on: all of it, or what is too much.

        An entry ends with a character: half of one is no text for whoever shows it, so it waits.
        """
        data, start = self._pending, 0
        while len(data) - start > (0 if whole else ENTRY_BYTES):
            end = whole_characters(data, min(len(data), start + ENTRY_BYTES))
            if end <= start:
                break
            yield from (self._header(self._began_at), data[start:end], b"\n")
            self._began_at, self._flag = at, b"+"
            start = end
        self._pending = data[start:]

    def _header(self, at: float) -> bytes:
        return b"%b %b%b" % (_moment(self._began_at if self._pending else at), self._name, self._flag)


def strip_timestamps(trace: bytes) -> bytes:
    """Take the times off again and join what goes on, as GitLab's viewer does.

    What a stream goes on with is put where its entry began, before what other streams wrote meanwhile. A line without
    the 32 bytes stays as it is.
    """
    lines: list[list[bytes]] = []
    begun: dict[bytes, list[bytes]] = {}
    for entry in trace.removesuffix(b"\n").split(b"\n"):
        header = _HEADER.match(entry)
        text = entry[HEADER_BYTES:] if header else entry
        if header and header[2] == b"+" and header[1] in begun:
            begun[header[1]].append(text)
            continue
        lines.append([text])
        if header:
            begun[header[1]] = lines[-1]
    return b"\n".join(map(b"".join, lines)) + (b"\n" if trace.endswith(b"\n") else b"")


def whole_characters(data: bytes, size: int) -> int:
    """The most bytes, up to `size`, that do not end inside a UTF-8 character. Bytes that are no text may end
    anywhere."""
    for back in range(1, min(4, size + 1)):
        byte = data[size - back]
        if byte >= 0xC0:  # a character of as many bytes as its first one has leading ones begins here
            return size - back if back < _length(byte) else size
        if byte < 0x80:
            break
    return size


def _length(first: int) -> int:
    return 2 if first < 0xE0 else 3 if first < 0xF0 else 4 if first < 0xF8 else 1


def _moment(at: float) -> bytes:
    seconds, micros = divmod(round(at * 1_000_000), 1_000_000)
    return b"%b.%06dZ" % (_second(seconds), micros)


@lru_cache(maxsize=256)
def _second(seconds: int) -> bytes:
    return datetime.fromtimestamp(seconds, UTC).isoformat()[:19].encode("ascii")
