"""Every entry has its 32 bytes, and taking them off again gives the job's own bytes."""

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.trace import sections
from runner.trace.timestamps import (
    ENTRY_BYTES,
    EXECUTOR,
    HEADER_BYTES,
    SCRIPT,
    Timestamper,
    strip_timestamps,
    whole_characters,
)

T = 1767323045.000001
HEAD = b"2026-01-02T03:04:05.000001Z 01O "
MORE = b"2026-01-02T03:04:05.000001Z 01O+"


def written(*pieces: bytes) -> list[bytes]:
    """What comes out for each piece, and at the end."""
    stamps = Timestamper()
    return [*(stamps.write(piece, at=T) for piece in pieces), stamps.finish()]


CASES = [
    ("line", [b"a\n"], [HEAD + b"a\n", b""]),
    ("empty line", [b"\n"], [HEAD + b"\n", b""]),
    ("two lines", [b"a\nb\n"], [HEAD + b"a\n" + HEAD + b"b\n", b""]),
    ("line in two pieces", [b"a", b"b\nc"], [b"", HEAD + b"ab\n", HEAD + b"c\n"]),
    ("no piece", [b"a", b"", b"\n"], [b"", b"", HEAD + b"a\n", b""]),
    ("progress", [b"1%\r", b"2%\r", b"done\n"], [HEAD + b"1%\r\n", MORE + b"2%\r\n", MORE + b"done\n", b""]),
    ("progress behind a beginning", [b"get ", b"1%\r"], [b"", HEAD + b"get 1%\r\n", b""]),
    ("return with a newline", [b"a\r\nb\rc", b"\n"], [HEAD + b"a\r\n", HEAD + b"b\rc\n", b""]),
    ("line after a long one", [b"1%\r", b"\n", b"a\n"], [HEAD + b"1%\r\n", MORE + b"\n", HEAD + b"a\n", b""]),
    ("as much as is kept", [b"a" * ENTRY_BYTES], [b"", HEAD + b"a" * ENTRY_BYTES + b"\n"]),
    ("more than is kept", [b"a" * 8193, b"b\n"], [HEAD + b"a" * 8192 + b"\n", MORE + b"ab\n", b""]),
    (
        "far more than is kept",
        [b"a" * 20000],
        [HEAD + b"a" * 8192 + b"\n" + MORE + b"a" * 8192 + b"\n", MORE + b"a" * 3616 + b"\n"],
    ),
    ("long line in one piece", [b"a" * 20000 + b"\n"], [HEAD + b"a" * 20000 + b"\n", b""]),
    (
        "character at the bound",
        [b"a" * 8191 + "é".encode(), b"\n"],
        [HEAD + b"a" * 8191 + b"\n", MORE + "é\n".encode(), b""],
    ),
    ("character after progress", [b"1\r\xc3", b"\xa9\n"], [HEAD + b"1\r\n", MORE + "é\n".encode(), b""]),
    ("nothing", [b""], [b"", b""]),
]


@pytest.mark.parametrize(("pieces", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_entries_are_written(pieces: list[bytes], expected: list[bytes]) -> None:
    """Each piece gives the entries that it completes; the end gives the rest."""
    assert written(*pieces) == expected


def test_header_is_thirty_two_bytes() -> None:
    """The header's length and form are GitLab's."""
    assert len(HEAD) == HEADER_BYTES == 32


def test_entry_has_the_time_of_its_first_byte() -> None:
    """What waited for its newline keeps the time at which it began; what follows has its own."""
    stamps = Timestamper()
    assert stamps.write(b"be", at=10.5) == b""
    assert stamps.write(b"gun\nnext\nlast", at=20.25) == (
        b"1970-01-01T00:00:10.500000Z 01O begun\n1970-01-01T00:00:20.250000Z 01O next\n"
    )
    assert stamps.finish() == b"1970-01-01T00:00:20.250000Z 01O last\n"


def test_entry_that_goes_on_has_its_own_time() -> None:
    """What follows a long beginning is marked with the time at which it came."""
    stamps = Timestamper()
    assert stamps.write(b"a" * 8000, at=10.0) == b""
    assert stamps.write(b"b" * 1000, at=20.0) == (
        b"1970-01-01T00:00:10.000000Z 01O " + b"a" * 8000 + b"b" * 192 + b"\n"
    )
    assert stamps.finish() == b"1970-01-01T00:00:20.000000Z 01O+" + b"b" * 808 + b"\n"


def test_microseconds_are_exact() -> None:
    """The journal's six decimals come out as they are."""
    stamps = Timestamper()
    for micros in (0, 1, 249999, 250000, 999999):
        entry = stamps.write(b"x\n", at=float(f"1767323045.{micros:06d}"))
        assert entry == b"2026-01-02T03:04:05.%06dZ 01O x\n" % micros


def test_streams_go_on_by_themselves() -> None:
    """A line of another stream neither ends nor continues what one stream has begun."""
    stamps = Timestamper()
    assert stamps.write(b"1%\r", at=T) == HEAD + b"1%\r\n"
    assert stamps.write(b"note\n", at=T, stream=EXECUTOR) == b"2026-01-02T03:04:05.000001Z 00O note\n"
    assert stamps.write(b"half", at=T, stream=b"0fE") == b""
    assert stamps.write(b"2%\n", at=T) == MORE + b"2%\n"
    assert stamps.finish() == b"2026-01-02T03:04:05.000001Z 0fE half\n"


def test_finish_ends_one_stream() -> None:
    """A writer that is closed gives what it kept, and the next one of its name begins a new line."""
    stamps = Timestamper()
    stamps.write(b"1%\r", at=T)
    stamps.write(b"rest", at=T)
    assert stamps.finish(SCRIPT) == MORE + b"rest\n"
    assert stamps.finish(SCRIPT) == b""
    assert stamps.write(b"new\n", at=T) == HEAD + b"new\n"


def test_successful_job_is_the_transcript() -> None:
    """The log of the protocol's example, byte by byte: 343 bytes in the first patch, 820 with this checksum in all."""
    day = 1787392800.0
    stamps = Timestamper()

    def own(second: int, micros: int, line: bytes) -> bytes:
        return stamps.write(line, at=day + second + micros / 1e6, stream=EXECUTOR)

    first = b"".join(
        (
            own(1, 120, sections.plain("Running with gitlab-runner 19.4.0 (1a2b3c4d)")),
            own(1, 150, sections.plain("  on k8s-a Ab3dEfGh1, system ID: s_0f1e2d3c4b5a")),
            own(1, 300, sections.section_start("prepare_executor", day + 1)),
            own(1, 320, sections.title('Preparing the "kubernetes" executor')),
        )
    )
    second = b"".join(
        (
            own(9, 10, sections.section_end("prepare_executor", day + 9)),
            own(9, 20, sections.section_start("step_script", day + 9)),
            own(9, 30, sections.title('Executing "step_script" stage of the job script')),
            stamps.write(b"\x1b[32;1m$ echo hello\x1b[0;m\n", at=day + 10 + 5e-6),
            stamps.write(b"hello\n", at=day + 10 + 9e-6),
            own(10, 500, sections.section_end("step_script", day + 10)),
            stamps.finish(),
            own(10, 900, sections.green("Job succeeded")),
        )
    )
    assert len(first) == 343
    assert len(first + second) == 820
    assert f"{zlib.crc32(first + second):08x}" == "e1e04805"


BYTES = st.lists(
    st.sampled_from(
        [b"a", b"\n", b"\r", b"\r\n", b"\xc3\xa9", b"\xe2\x82\xac", b"\xff", b"\x00", b"+", HEAD, b"x" * 5000]
    ),
    max_size=12,
).map(b"".join)


@pytest.mark.slow
@given(st.lists(BYTES, max_size=8))
def test_bytes_come_back_when_times_are_taken_off(pieces: list[bytes]) -> None:
    """Taking the times off gives what was written, but for the newline that ends every log."""
    text = b"".join(pieces)
    assert strip_timestamps(b"".join(written(*pieces))) == text + (b"" if text.endswith(b"\n") or not text else b"\n")


@pytest.mark.slow
@given(st.lists(st.tuples(st.sampled_from([b"00O", b"01O", b"01E"]), BYTES), max_size=10))
def test_no_entry_is_without_a_header(pieces: list[tuple[bytes, bytes]]) -> None:
    """Whatever is written to whichever stream, each line of the log begins with 32 bytes."""
    stamps = Timestamper()
    trace = b"".join([*(stamps.write(data, at=T, stream=stream) for stream, data in pieces), stamps.finish()])
    for line in trace.split(b"\n")[:-1]:
        assert line.startswith(b"2026-01-02T03:04:05.000001Z 0")
        assert line[31:32] in (b" ", b"+")
    assert trace == b"" or trace.endswith(b"\n")


STRIPPED = [
    (b"", b""),
    (b"no header\nat all", b"no header\nat all"),
    (HEAD + b"a\n" + MORE + b"b\n", b"ab\n"),
    (MORE + b"alone\n", b"alone\n"),
    (HEAD + b"1\r\n2026-01-02T03:04:05.000001Z 00O n\n" + MORE + b"2\nlimit\n", b"1\r2\nn\nlimit\n"),
]


@pytest.mark.parametrize(("trace", "expected"), STRIPPED)
def test_entries_are_joined(trace: bytes, expected: bytes) -> None:
    """What goes on stands where it began; lines without a header stay."""
    assert strip_timestamps(trace) == expected


@given(st.text(max_size=30), st.integers(0, 200))
def test_text_is_cut_between_characters(text: str, size: int) -> None:
    """A cut gives up at most three bytes, and what is before it can be read."""
    data = text.encode()
    size = min(size, len(data))
    cut = whole_characters(data, size)
    assert size - 3 <= cut <= size
    assert text.startswith(data[:cut].decode())


@pytest.mark.parametrize(
    ("data", "size", "expected"),
    [(b"\x80\x80\x80\x80", 4, 4), (b"a\xff", 2, 2), (b"\xf0\x9f\x98", 3, 0), (b"\xf0\x9f\x98\x80", 4, 4), (b"", 0, 0)],
)
def test_bytes_that_are_no_text_are_cut_anywhere(data: bytes, size: int, expected: int) -> None:
    """Only the beginning of a character that may still become whole is left for later."""
    assert whole_characters(data, size) == expected
