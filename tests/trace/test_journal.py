"""The journal's spelling: what agents write is read, and what they are told fits one line."""

import base64
import gzip
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.trace.journal import (
    LINE_BYTES,
    NOTE_TEXT_BYTES,
    Entry,
    ExitEntry,
    JournalError,
    LogEntry,
    LostEntry,
    NoteEntry,
    RanEntry,
    StartEntry,
    clip_note,
    command_line,
    format_entry,
    note_command,
    parse_entry,
    put_commands,
)

LINES = [
    ("log 4096 1767323045.000001", LogEntry(4096, 1767323045.000001)),
    ("start get_sources-1 0 1767323045.250000", StartEntry("get_sources-1", 0, 1767323045.25)),
    ("ran step_script-2 17 1767323045.250000", RanEntry("step_script-2", 17, 1767323045.25)),
    (
        "exit step_script-1 137 2 9000000000 1767323045.000000",
        ExitEntry("step_script-1", 137, 2, 9000000000, 1767323045.0),
    ),
    ("lost step_script-1 5 1767323045.500000", LostEntry("step_script-1", 5, 1767323045.5)),
    ("note 3 warning 12 1767323045.500000 Y2Fmw6k=", NoteEntry(3, "warning", 12, 1767323045.5, "café")),
    ("note 1 plain 0 1.000000 -", NoteEntry(1, "plain", 0, 1.0, "")),
]


@pytest.mark.parametrize(("line", "entry"), LINES, ids=[line.split()[0] + str(n) for n, (line, _) in enumerate(LINES)])
def test_entry_is_read_and_written(line: str, entry: Entry) -> None:
    """A line and its entry are two forms of the same thing."""
    assert parse_entry(line) == entry
    assert parse_entry(line.encode()) == entry
    assert format_entry(entry) == line


@pytest.mark.parametrize(
    "line",
    [
        "",
        "log",
        "log 1",
        "log 1 2.0 3",
        "log -1 2.000000",
        "log 1 nan",
        "log 1 2",
        "log 1 999999999999.000000",
        "log ١ 2.000000",
        "log 99999999999999999999 1.000000",
        "start ../etc/passwd-1 0 1.000000",
        "start get_sources 0 1.000000",
        "exit step_script-1 -1 0 0 1.000000",
        "exit step_script-1 0 0 1.000000",
        "note 1 blink 0 1.000000 aGk=",
        "note 1 plain 0 1.000000 a*k=",
        "note 1 plain 0 1.000000 aGk",
        "grew 1 2.000000",
        b"\xff\xfe 1",
    ],
)
def test_entry_is_refused_when_it_is_none(line: str | bytes) -> None:
    """A damaged line raises the journal's own error, which quotes at most its beginning."""
    with pytest.raises(JournalError) as caught:
        parse_entry(line)
    assert len(str(caught.value)) < 250


TIMES = st.integers(0, 4_000_000_000_000_000).map(lambda micros: micros / 1_000_000)
OFFSETS = st.integers(0, 10**15)
ATTEMPTS = st.from_regex(r"[a-z0-9_]{1,20}-[0-9]{1,3}", fullmatch=True)


@pytest.mark.slow
@given(
    st.one_of(
        st.builds(LogEntry, OFFSETS, TIMES),
        st.builds(ExitEntry, ATTEMPTS, st.integers(0, 255), st.integers(0, 99), OFFSETS, TIMES),
        st.builds(NoteEntry, OFFSETS, st.sampled_from(["plain", "title"]), OFFSETS, TIMES, st.text()),
    )
)
def test_entry_survives_the_journal(entry: Entry) -> None:
    """Every entry comes back as it was written, microseconds and all."""
    assert parse_entry(format_entry(entry)) == entry


def test_note_keeps_bytes_that_are_no_text() -> None:
    """A note whose bytes are not UTF-8 is written back byte by byte."""
    line = "note 1 plain 0 1.000000 " + base64.b64encode(b"a\xff").decode()
    assert format_entry(parse_entry(line)) == line


def test_command_line_counts_its_characters() -> None:
    """The prefix is the number of characters behind the first space."""
    assert command_line("ping 7") == b"6 ping 7\n"


@pytest.mark.parametrize("command", ["note 1\nrun step_script-1", "ping é", "ping\r", "x" * LINE_BYTES])
def test_command_line_is_refused_when_the_agent_could_not_read_it(command: str) -> None:
    """A command is one ASCII line that fits the agent's buffer."""
    with pytest.raises(JournalError):
        command_line(command)


def test_longest_command_line_fits() -> None:
    """The bound counts the prefix and the newline."""
    assert len(command_line("x" * (LINE_BYTES - 7))) == LINE_BYTES


@pytest.mark.parametrize(
    "text", [b"", b"echo hello\n", bytes(range(256)) * 900, hashlib.shake_256(b"x").digest(100_000)]
)
def test_put_commands_carry_a_file(text: bytes) -> None:
    """The parts unpack to the text and the seal names its checksum."""
    *parts, seal = [line.decode().rstrip("\n").split(" ") for line in put_commands("get_sources-1", text)]
    packed = b"".join(base64.b64decode(word[4], validate=True) for word in parts)
    assert gzip.decompress(packed) == text
    assert [word[1:4] for word in parts] == [["put", "get_sources-1", str(index)] for index in range(len(parts))]
    assert seal[1:] == ["seal", "get_sources-1", hashlib.sha256(text).hexdigest()]


def test_put_commands_fit_their_lines() -> None:
    """A script of megabytes travels in lines that each agent can read."""
    lines = list(put_commands("step_script-1", hashlib.shake_256(b"y").digest(3_000_000)))
    assert max(map(len, lines)) <= LINE_BYTES
    assert len(lines) > 100


def test_put_commands_are_the_same_each_time() -> None:
    """Sending a file again sends the same bytes, so a part from before a reconnect cannot clash."""
    assert list(put_commands("a-1", b"text")) == list(put_commands("a-1", b"text"))


def test_put_is_refused_when_the_name_leaves_its_directory() -> None:
    """Only an attempt's name can become a file."""
    with pytest.raises(JournalError):
        list(put_commands("../x-1", b""))


def test_note_command_leaves_the_offset_to_the_agent() -> None:
    """The manager knows the time of its line, the agent knows the place."""
    assert note_command(NoteEntry(2, "green", 99, 5.25, "hi")) == b"26 note 2 green 5.250000 aGk=\n"


def test_note_command_is_refused_when_its_text_was_not_clipped() -> None:
    """A text that the journal could not hold is an error before it is rendered differently twice."""
    text = "é" * NOTE_TEXT_BYTES
    with pytest.raises(JournalError):
        note_command(NoteEntry(1, "plain", 0, 1.0, text))
    clipped = clip_note(text)
    assert clipped.endswith("é...")
    assert len(note_command(NoteEntry(1, "plain", 0, 1.0, clipped))) <= LINE_BYTES
    assert clip_note("short") == "short"
