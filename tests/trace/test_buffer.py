"""What is stored is what came, up to the limit, and its size and checksum are those of a server that took the
patches."""

import io
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.trace.buffer import DEFAULT_LIMIT_BYTES, TraceBuffer


def notice(limit: int) -> bytes:
    """What is written at the limit."""
    first = b"Job's log exceeded limit of %d bytes.\n" % limit
    return b"\n\x1b[33;1m" + first + b"The job goes on, but no more of its output is kept.\x1b[0;m\n"


def stored(*pieces: bytes, limit: int) -> bytes:
    """What a buffer holds after these writes."""
    file = io.BytesIO()
    buffer = TraceBuffer(file, limit)
    for piece in pieces:
        buffer.write(piece)
    buffer.write_final(b"")
    assert buffer.size == len(file.getvalue())
    assert buffer.checksum == f"crc32:{zlib.crc32(file.getvalue()):08x}"
    return file.getvalue()


CASES = [
    ("below", [b"abc", b"defg"], 8, b"abcdefg"),
    ("exact fit", [b"abc", b"defgh"], 8, b"abcdefgh" + notice(8)),
    ("beyond", [b"abc", b"defghi"], 8, b"abcdefgh" + notice(8)),
    ("later writes", [b"abcdefghi", b"more"], 8, b"abcdefgh" + notice(8)),
    ("inside a character", ["abcdefgé".encode()], 8, b"abcdefg" + notice(8)),
    ("inside a character written in pieces", [b"abcdefg\xc3", b"\xa9x"], 8, b"abcdefg" + notice(8)),
    ("character that fits", [b"abcdef\xc3", b"\xa9x"], 8, "abcdefé".encode() + notice(8)),
    ("character of four bytes", [b"abcde\xf0\x9f\x98", b"\x80"], 8, b"abcde" + notice(8)),
    ("bytes that are no text", [b"\x80" * 9], 8, b"\x80" * 8 + notice(8)),
    ("character that never ends", [b"abcdef\xe2", b"z"], 9, b"abcdef\xe2z"),
    ("nothing", [b""], 8, b""),
]


@pytest.mark.parametrize(("pieces", "limit", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_log_is_cut_at_its_limit(pieces: list[bytes], limit: int, expected: bytes) -> None:
    """What reaches the limit is cut there, between characters, and a notice says so once."""
    assert stored(*pieces, limit=limit) == expected


CHARACTERS = st.sampled_from([b"a", b"\xc3\xa9", b"\xe2\x82\xac", b"\xf0\x9f\x98\x80", b"\xff", b"\xe2"])


@pytest.mark.slow
@given(st.lists(CHARACTERS, max_size=12), st.data())
def test_cut_is_the_same_at_any_split(characters: list[bytes], data: st.DataObject) -> None:
    """However the log came in pieces, what is stored is the same."""
    text = b"".join(characters)
    limit = data.draw(st.integers(1, 20))
    places = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6)))
    pieces = [text[start:end] for start, end in zip([0, *places], [*places, len(text)], strict=True)]
    assert stored(*pieces, limit=limit) == stored(text, limit=limit)


def test_characters_wait_only_just_before_the_limit() -> None:
    """Far from the limit every byte is stored at once; at it, half a character is not."""
    buffer = TraceBuffer(io.BytesIO(), 12)
    buffer.write(b"abc\xc3")
    assert buffer.size == 4
    buffer.write(b"\xa9defg\xc3")
    assert buffer.size == 9
    buffer.write_final(b"!")
    assert buffer.read(0, 100) == b"abc\xc3\xa9defg\xc3!"


def test_result_is_kept_when_the_log_is_full() -> None:
    """How the job ended stands behind the notice."""
    buffer = TraceBuffer(io.BytesIO(), 4)
    buffer.write(b"output")
    assert buffer.full
    buffer.write(b"dropped")
    buffer.write_final(b"Job succeeded\n")
    whole = b"outp" + notice(4) + b"Job succeeded\n"
    assert buffer.read(0, 1000) == whole
    assert buffer.checksum == f"crc32:{zlib.crc32(whole):08x}"


def test_parts_are_read_while_more_is_written() -> None:
    """A patch's bytes come from the middle, and writing goes on at the end."""
    buffer = TraceBuffer(io.BytesIO())
    buffer.write(b"0123456789")
    assert buffer.read(2, 3) == b"234"
    buffer.write(b"abc")
    assert buffer.read(8, 100) == b"89abc"
    assert buffer.read(13, 5) == b""
    assert buffer.read(20, 5) == b""


def test_checksum_has_eight_digits() -> None:
    """An empty log has a checksum too."""
    assert TraceBuffer(io.BytesIO()).checksum == "crc32:00000000"


@pytest.mark.parametrize("limit", [0, -1])
def test_limit_is_the_default_when_there_is_none(limit: int) -> None:
    """No limit means GitLab Runner's four megabytes."""
    text = b"x" * (DEFAULT_LIMIT_BYTES + 1)
    assert stored(text, limit=limit) == text[:-1] + notice(DEFAULT_LIMIT_BYTES)


def test_bytes_are_exact() -> None:
    """What is no text is stored as it is."""
    assert stored(bytes(range(256)), limit=1000) == bytes(range(256))
