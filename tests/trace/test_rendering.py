"""The log is a pure function of the pod's two files: order of arrival, cuts and the manager at work change nothing."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.trace.journal import (
    NOTE_TEXT_BYTES,
    Entry,
    ExitEntry,
    LogEntry,
    LostEntry,
    NoteEntry,
    RanEntry,
    StartEntry,
    format_entry,
    parse_entry,
)
from runner.trace.masking import Masker
from runner.trace.rendering import Renderer
from runner.trace.timestamps import strip_timestamps

SECRETS = (b"s3cret",)
HEAD = "1970-01-01T00:00:{:09.6f}Z {}"


def renderer(*, timestamps: bool = True, sections: bool = True) -> Renderer:
    """A renderer that knows one secret."""
    return Renderer(Masker(SECRETS), timestamps=timestamps, sections=sections)


def lines(*wanted: tuple[float, str, str]) -> bytes:
    """Lines with their headers: second of the epoch, stream and flag, text."""
    return "".join(f"{HEAD.format(at, stream)}{text}\n" for at, stream, text in wanted).encode()


OUTPUT = b"hello\ns3cret\n"
JOURNAL: tuple[Entry, ...] = (
    NoteEntry(1, "plain", 0, 1.0, "Running with s3cret"),
    StartEntry("get_sources-1", 0, 2.0),
    RanEntry("get_sources-1", 0, 2.5),
    LogEntry(6, 3.0),
    NoteEntry(2, "warning", 6, 3.25, "slow"),
    LogEntry(9, 3.5),
    ExitEntry("get_sources-1", 0, 0, 13, 4.0),
)


def test_stage_is_rendered() -> None:
    """Start, output, a note in the middle, end: each at its place and with its time, and no secret."""
    log = renderer()
    out = b"".join([*map(log.entry, JOURNAL), log.data(OUTPUT), log.finish()])
    assert out == lines(
        (1.0, "00O ", "\x1b[0KRunning with [MASKED]\x1b[0;m"),
        (2.0, "00O ", "section_start:2:get_sources\r\x1b[0K"),
        (2.0, "00O+", "\x1b[0K\x1b[36;1mGetting source from Git repository\x1b[0;m\x1b[0;m"),
        (3.0, "01O ", "hello"),
        (3.25, "00O ", "\x1b[0;33mWARNING: slow\x1b[0;m"),
        (4.0, "01O ", "[MASKED]"),
        (4.0, "01O ", ""),
        (4.0, "00O ", "section_end:4:get_sources\r\x1b[0K"),
    )
    assert (log.offset, log.received, log.lines) == (13, 13, 7)
    assert set(log.seen_notes) == {1, 2}


def test_stage_is_rendered_without_times_and_marks() -> None:
    """With both features off, the job's own bytes and the runner's lines remain."""
    log = renderer(timestamps=False, sections=False)
    out = b"".join([*map(log.entry, JOURNAL), log.data(OUTPUT), log.finish()])
    assert out == (
        b"\x1b[0KRunning with [MASKED]\x1b[0;m\n"
        b"\x1b[0K\x1b[36;1mGetting source from Git repository\x1b[0;m\x1b[0;m\n"
        b"hello\n\x1b[0;33mWARNING: slow\x1b[0;m\n[MASKED]\n\n"
    )


@pytest.mark.parametrize("timestamps", [True, False], ids=["times", "no times"])
@pytest.mark.parametrize(
    ("output", "shown"), [("x", "x\n"), ("x\n", "x\n\n"), ("", "\n")], ids=["open", "ended", "none"]
)
def test_output_of_a_stage_is_ended(output: str, shown: str, timestamps: bool) -> None:
    """Whether its last line had an end or not, what follows begins a line; most often behind an empty one."""
    log = renderer(timestamps=timestamps, sections=False)
    size = len(output)
    log.entry(StartEntry("step_script-1", 0, 1.0))
    out = log.data(output.encode()) + log.entry(ExitEntry("step_script-1", 0, 0, size, 2.0))
    out += log.note(NoteEntry(1, "green", size, 3.0, "Job succeeded")) + log.finish()
    told = (strip_timestamps(out) if timestamps else out).decode()
    assert told == f"{shown}\x1b[32;1mJob succeeded\x1b[0;m\n"


def test_marks_stand_without_times() -> None:
    """A mark has no newline of its own, so it stands before the line that follows."""
    log = renderer(timestamps=False)
    out = log.entry(StartEntry("step_script-1", 0, 2.9)) + log.entry(ExitEntry("step_script-1", 1, 0, 0, 3.1))
    assert out == (
        b"section_start:2:step_script\r\x1b[0K"
        b'\x1b[0K\x1b[36;1mExecuting "step_script" stage of the job script\x1b[0;m\x1b[0;m\n'
        b"\nsection_end:3:step_script\r\x1b[0K"
    )


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("plain", b"\x1b[0Kx\x1b[0;m\n"),
        ("green", b"\x1b[32;1mx\x1b[0;m\n"),
        ("warning", b"\x1b[0;33mWARNING: x\x1b[0;m\n"),
        ("error", b"\x1b[31;1mERROR: x\x1b[0;m\n"),
        ("title", b"\x1b[0K\x1b[36;1mx\x1b[0;m\x1b[0;m\n"),
        ("section_start", b"section_start:7:x\r\x1b[0K"),
        ("section_end", b"section_end:7:x\r\x1b[0K"),
    ],
)
def test_note_has_its_form(kind: str, expected: bytes) -> None:
    """Each kind of note is rendered at once when the manager writes it itself."""
    assert renderer(timestamps=False).note(NoteEntry(1, kind, 0, 7.5, "x")) == expected


def test_lines_of_a_service_have_a_stream_of_their_own() -> None:
    """Each in grey, without secrets, and apart from what the job prints meanwhile."""
    log = renderer()
    out = log.data(b"half") + log.entry(LogEntry(4, 1.0))
    out += log.entry(NoteEntry(1, "service_0f", 4, 2.0, "[service:db] one\n[service:db] s3cret"))
    out += log.entry(NoteEntry(2, "service_ff", 4, 3.0, "[service:web] two")) + log.finish()
    assert out == lines(
        (2.0, "0fO ", "\x1b[0;37m[service:db] one\x1b[0;m"),
        (2.0, "0fO ", "\x1b[0;37m[service:db] [MASKED]\x1b[0;m"),
        (3.0, "ffO ", "\x1b[0;37m[service:web] two\x1b[0;m"),
        (1.0, "01O ", "half"),
    )


def test_note_that_is_cut_is_masked_before() -> None:
    """Half a secret at the cut would not be known as one."""
    text = "x" * (NOTE_TEXT_BYTES - 6) + "s3cret"
    assert renderer().clipped(text + "!") == "x" * (NOTE_TEXT_BYTES - 6) + "[MA..."
    assert renderer().clipped(text) == text


def test_note_has_the_journals_time() -> None:
    """A clock finer than the journal's six decimals does not make the first log differ from one made again."""
    note = NoteEntry(1, "section_start", 0, 6.9999997, "x")
    again = parse_entry(format_entry(note))
    first, second = renderer(), renderer()
    assert first.note(note) == second.entry(again) == lines((7.0, "00O ", "section_start:7:x\r\x1b[0K"))


def test_secret_in_an_error_line_is_masked() -> None:
    """The runner's own lines pass the same masks, with state of their own."""
    log = renderer(timestamps=False)
    assert log.entry(LogEntry(6, 1.0)) + log.data(b"a s3cr") == b"a "
    note = NoteEntry(1, "error", 6, 1.0, "Job failed: et s3cret at ?private_token=abc glpat-x")
    assert (
        log.entry(note)
        == b"\x1b[31;1mERROR: Job failed: et [MASKED] at ?private_token=[MASKED] glpat-[MASKED]\x1b[0;m\n"
    )
    assert log.entry(LogEntry(8, 1.0)) + log.data(b"et") == b"[MASKED]"


def test_result_counts_when_its_bytes_are_rendered() -> None:
    """An exit record is no result as long as output before it is missing."""
    log = renderer()
    end = ExitEntry("step_script-1", 3, 1, 5, 2.0)
    log.entry(StartEntry("step_script-1", 0, 1.0))
    log.entry(end)
    log.data(b"1234")
    assert log.result("step_script-1") is None
    assert (log.offset, log.received, log.missing) == (0, 4, 1)
    log.data(b"5")
    assert log.result("step_script-1") == end
    assert log.result("step_script-2") is None
    assert (log.offset, log.received, log.missing) == (5, 5, 0)


def test_lost_attempt_is_a_result() -> None:
    """That no exit record will come is known at its place too."""
    log = renderer()
    lost = LostEntry("step_script-1", 0, 2.0)
    log.entry(lost)
    assert log.result("step_script-1") == lost


def test_segment_waits_until_it_is_whole() -> None:
    """Bytes have no time before their entry comes, and an entry nothing to say before its bytes do."""
    log = renderer()
    assert log.data(b"a\nb\n") == b""
    assert log.entry(LogEntry(2, 1.0)) == lines((1.0, "01O ", "a"))
    assert log.entry(LogEntry(6, 2.0)) == b""
    assert log.data(b"c") == b""
    assert log.data(b"\nmore") == lines((2.0, "01O ", "b"), (2.0, "01O ", "c"))


def test_end_of_a_stage_gives_what_waited() -> None:
    """A last line without a newline and half a secret stand before the section's end, not after it."""
    log = renderer()
    log.entry(StartEntry("step_script-1", 0, 1.0))
    log.entry(LogEntry(9, 2.0))
    log.data(b"name: s3c")
    assert log.entry(ExitEntry("step_script-1", 0, 0, 9, 3.0)) == lines(
        (2.0, "01O ", "name: s3c"), (3.0, "00O ", "section_end:3:step_script\r\x1b[0K")
    )
    assert log.entry(LogEntry(12, 4.0)) + log.data(b"ret") + log.finish() == lines((4.0, "01O ", "ret"))


def test_stage_that_never_ended_is_closed_by_the_next() -> None:
    """A start closes the section that is open, so the log's sections never nest by accident."""
    log = renderer(timestamps=False)
    log.entry(StartEntry("get_sources-1", 0, 1.0))
    assert log.entry(StartEntry("step_script-1", 0, 2.0)).startswith(
        b"section_end:2:get_sources\r\x1b[0Ksection_start:2:"
    )


def test_log_that_breaks_off_is_closed() -> None:
    """What came is in the log, what did not is spoken of, and the section ends; notes may follow."""
    log = renderer()
    log.entry(StartEntry("step_script-1", 0, 1.0))
    log.entry(LogEntry(20, 2.0))
    log.entry(NoteEntry(4, "plain", 20, 2.5, "note"))
    log.entry(ExitEntry("step_script-1", 0, 0, 30, 3.0))
    assert log.data(b"twelve bytes") == b""
    assert log.finish() == lines(
        (2.0, "01O ", "twelve bytes"),
        (2.0, "00O ", "\x1b[0;33mWARNING: 18 bytes of the job's output could not be fetched.\x1b[0;m"),
        (2.5, "00O ", "\x1b[0Knote\x1b[0;m"),
        (2.0, "00O ", "section_end:2:step_script\r\x1b[0K"),
    )
    assert log.result("step_script-1") is None
    assert log.finish() == b""
    assert log.note(NoteEntry(5, "green", 0, 9.0, "x")) == lines((9.0, "00O ", "\x1b[32;1mx\x1b[0;m"))


def test_bytes_without_an_entry_are_not_lost() -> None:
    """Output that the journal had not reached when the pod went away is part of the log."""
    log = renderer()
    log.entry(LogEntry(0, 5.0))
    log.data(b"last words\n")
    assert log.finish() == lines((5.0, "01O ", "last words"))


@dataclass(frozen=True)
class Files:
    """The two files of a job."""

    output: bytes
    journal: tuple[Entry, ...]


PIECES = [
    b"hello\n",
    b"s3cret",
    b"s3",
    b"cret\n",
    b"glpat-",
    b"abc",
    b"\n",
    b"1%\r",
    b"caf\xc3",
    b"\xa9",
    b"\xff",
    b"x" * 9000,
]


@st.composite
def files(draw: st.DrawFn) -> Files:
    """A job of a few stages: output of all kinds, entries in an agent's order."""
    output, journal = b"", list[Entry]()
    clock = draw(st.integers(0, 10**15)) / 1e6

    def tick() -> float:
        nonlocal clock
        clock = round(clock + draw(st.sampled_from([0.0, 0.000001, 0.02, 70.0])), 6)
        return clock

    seq = 0
    for _ in range(draw(st.integers(0, 2))):
        seq += 1
        journal.append(
            NoteEntry(seq, draw(st.sampled_from(["plain", "section_start", "section_end"])), 0, tick(), "s3cret")
        )
    for number in range(1, 1 + draw(st.integers(0, 3))):
        attempt = f"step_script-{number}"
        journal += (StartEntry(attempt, len(output), tick()), RanEntry(attempt, len(output), tick()))
        for piece in draw(st.lists(st.sampled_from(PIECES), max_size=6)):
            output += piece
            what = draw(st.sampled_from(["log", "note", "nothing"]))
            if what == "log":
                journal.append(LogEntry(len(output), tick()))
            elif what == "note":
                seq += 1
                kind = draw(st.sampled_from(["warning", "service_0f"]))
                journal.append(NoteEntry(seq, kind, len(output), tick(), "a note of s3"))
        lost = draw(st.booleans())
        end = len(output), tick()
        journal.append(LostEntry(attempt, *end) if lost else ExitEntry(attempt, 1, 0, *end))
    return Files(output, tuple(parse_entry(format_entry(entry)) for entry in journal))


def rendered_in_order(job: Files, *, timestamps: bool) -> bytes:
    """The log as it is made when everything is there."""
    log = renderer(timestamps=timestamps)
    return b"".join([log.data(job.output), *map(log.entry, job.journal), log.finish()])


@pytest.mark.slow
@given(files(), st.booleans(), st.data())
def test_log_is_the_same_in_any_order_of_arrival(job: Files, timestamps: bool, data: st.DataObject) -> None:
    """Bytes in pieces of any size among entries in any interleaving: the same log, and the same results."""
    log = renderer(timestamps=timestamps)
    out, at, entries = b"", 0, list(job.journal)
    while at < len(job.output) or entries:
        if entries and (at == len(job.output) or data.draw(st.booleans())):
            out += log.entry(entries.pop(0))
        else:
            size = data.draw(st.integers(1, 12) | st.just(5000))
            out += log.data(job.output[at : at + size])
            at = min(len(job.output), at + size)
    assert out + log.finish() == rendered_in_order(job, timestamps=timestamps)
    for entry in job.journal:
        if isinstance(entry, ExitEntry | LostEntry):
            assert log.result(entry.attempt) == entry


@pytest.mark.slow
@given(files(), st.booleans(), st.integers(0, 3))
def test_another_manager_makes_the_same_log(job: Files, timestamps: bool, own: int) -> None:
    """The one that wrote the first notes itself and one that begins with the files make the same bytes."""
    first = [entry for entry in job.journal if isinstance(entry, NoteEntry) and entry.offset == 0][:own]
    first = first if list(job.journal[: len(first)]) == first else []
    log = renderer(timestamps=timestamps)
    out = b"".join([*map(log.note, first), *map(log.entry, job.journal), log.data(job.output), log.finish()])
    assert out == rendered_in_order(job, timestamps=timestamps)


@pytest.mark.slow
@given(files())
def test_nothing_is_lost_or_doubled(job: Files) -> None:
    """Without the runner's lines, masks apart, the log is the job's output byte by byte, a newline after each stage."""
    trace = rendered_in_order(job, timestamps=True)
    kept = b"".join(line + b"\n" for line in trace.split(b"\n")[:-1] if line[28:30] == b"01")
    expected = b""
    masker, at = Masker(SECRETS), 0
    for entry in job.journal:
        expected += masker.feed(job.output[at : entry.offset])
        at = entry.offset
        if isinstance(entry, ExitEntry | LostEntry):
            expected += masker.finish() + b"\n"
    assert strip_timestamps(kept) == expected
