"""Streams that begin with stale bytes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from runner.executor.synced import LINE_LIMIT, SyncedBytes, SyncedLines

TOKEN = b"0123456789abcdef"


def cut(data: bytes, sizes: list[int]) -> list[bytes]:
    """Cut bytes into pieces of these sizes and a rest."""
    pieces = []
    for size in sizes:
        pieces.append(data[:size])
        data = data[size:]
    return [*pieces, data]


@given(st.binary(max_size=60), st.binary(max_size=60), st.lists(st.integers(0, 9), max_size=30))
def test_synced_bytes_gives_what_follows_the_token(stale: bytes, fresh: bytes, sizes: list[int]) -> None:
    """However the bytes are cut: nothing from before the token, everything from after it."""
    stream = SyncedBytes(TOKEN)
    out = b"".join(map(stream.feed, cut(stale + TOKEN + b"\n" + fresh, sizes)))
    assert stream.synced
    assert out == fresh


def test_synced_bytes_holds_back_without_a_token() -> None:
    """Bytes of another connection are never output."""
    stream = SyncedBytes(TOKEN)
    assert stream.feed(b"old log line\n" * 1000) == b""
    assert not stream.synced


@given(
    st.lists(st.binary(max_size=20).filter(lambda line: b"\n" not in line), max_size=8),
    st.lists(st.integers(0, 9), max_size=30),
)
def test_synced_lines_gives_the_lines_after_the_mark(lines: list[bytes], sizes: list[int]) -> None:
    """However the bytes are cut, and though the mark's own line begins with a stale half line."""
    stream = SyncedLines(TOKEN)
    data = b"j 7 stale\nhalf a li" + b"sync " + TOKEN + b"\n" + b"".join(line + b"\n" for line in lines)
    out = [line for piece in cut(data, sizes) for line in stream.feed(piece)]
    assert stream.synced
    assert out == lines


def test_synced_lines_does_not_grow_without_bound() -> None:
    """A line that never ends is given up."""
    stream = SyncedLines(TOKEN)
    stream.feed(b"x" * (LINE_LIMIT + 1))
    assert stream.feed(b"\nsync " + TOKEN + b"\nj 0 a\n") == [b"j 0 a"]
