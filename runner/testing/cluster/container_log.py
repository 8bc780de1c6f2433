"""What a container printed, as the kubelet keeps it and `kubectl logs` shows it.

Law: memory is bounded. Lines are kept whole: a piece without its newline waits until the line is complete, is longer
than 16 KiB, or the container ends, as containerd does. Beyond `keep_bytes` the oldest go, as after a rotation.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace

from runner.testing.cluster.moments import precise_moment
from runner.testing.cluster.news import News

_PARTIAL_BYTES = 16 * 1024


@dataclass(frozen=True, slots=True)
class LogOptions:
    """What a client asks of `pods/log`."""

    follow: bool = False
    timestamps: bool = False
    tail_lines: int | None = None
    limit_bytes: int | None = None
    since: float = 0.0
    """Seconds since the epoch; older lines are left out."""
    since_seconds: int | None = None
    """The same, counted back from now."""


@dataclass(frozen=True, slots=True)
class _Piece:
    """Whole lines, or a part of a very long one, that came at one time."""

    at: float
    data: bytes
    continues: bool
    """Whether it begins in the middle of a line."""


class ContainerLog:
    """The log of one container."""

    def __init__(self, *, keep_bytes: int = 10 * 1024 * 1024) -> None:
        self._keep_bytes = keep_bytes
        self._pieces: deque[_Piece] = deque()
        self._dropped = 0
        self._bytes = 0
        self._open: dict[int, bytes] = {}
        self._continued: set[int] = set()
        self._closed = False
        self._news = News()

    def append(self, stream: int, data: bytes) -> None:
        """Take what the container printed on one stream."""
        data = self._open.pop(stream, b"") + data
        end = data.rfind(b"\n") + 1
        if not end and len(data) >= _PARTIAL_BYTES:
            end = len(data)
        if end < len(data):
            self._open[stream] = data[end:]
        if end:
            self._add(stream, data[:end])

    def close(self) -> None:
        """Take the container's end: what waits for a newline is a line now, and followers come to their end."""
        for stream, data in self._open.items():
            self._add(stream, data)
        self._open.clear()
        self._closed = True
        self._news.ring()

    @property
    def content(self) -> bytes:
        """What is kept, without time stamps."""
        return b"".join(piece.data for piece in self._pieces)

    async def read(self, options: LogOptions) -> AsyncIterator[bytes]:
        """Yield the log as bytes, and what comes later when following; ends at the container's end or the limit."""
        left = options.limit_bytes
        if options.since_seconds is not None:
            options = replace(options, since=max(options.since, time.time() - options.since_seconds))
        async for text in self._texts(options):
            if left is not None:
                yield text[:left]
                left -= len(text)
                if left <= 0:
                    return
            else:
                yield text

    async def _texts(self, options: LogOptions) -> AsyncIterator[bytes]:
        position = self._dropped + len(self._pieces)
        kept = b"".join(_shown(piece, options) for piece in self._pieces)
        yield kept if options.tail_lines is None else _tail(kept, options.tail_lines)
        while options.follow:
            heard = self._news.count
            fresh = b"".join(_shown(piece, options) for piece in self._after(position))
            position = self._dropped + len(self._pieces)
            if fresh:
                yield fresh
            elif self._closed:
                return
            else:
                await self._news.wait(heard)

    def _after(self, position: int) -> Iterator[_Piece]:
        for index in range(max(0, position - self._dropped), len(self._pieces)):
            yield self._pieces[index]

    def _add(self, stream: int, data: bytes) -> None:
        self._pieces.append(_Piece(time.time(), data, stream in self._continued))
        self._continued.discard(stream)
        if not data.endswith(b"\n"):
            self._continued.add(stream)
        self._bytes += len(data)
        while self._bytes > self._keep_bytes and len(self._pieces) > 1:
            self._bytes -= len(self._pieces.popleft().data)
            self._dropped += 1
        self._news.ring()


def _shown(piece: _Piece, options: LogOptions) -> bytes:
    if piece.at < options.since:
        return b""
    if not options.timestamps:
        return piece.data
    stamp = precise_moment(piece.at).encode() + b" "
    body = piece.data.removesuffix(b"\n")
    stamped = body.replace(b"\n", b"\n" + stamp) + (b"\n" if body != piece.data else b"")
    return stamped if piece.continues else stamp + stamped


def _tail(text: bytes, lines: int) -> bytes:
    if lines <= 0:
        return b""
    # Not splitlines: a carriage return is no line's end here.
    ends = text.removesuffix(b"\n").split(b"\n")[-lines:]
    return b"\n".join(ends) + (b"\n" if text.endswith(b"\n") else b"")
