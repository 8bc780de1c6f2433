"""The jobs' logs on a terminal."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.cli.local_log import LiveLog, wants_colour
from runner.trace.sections import error, green, plain, section_end, section_start, title, warning

LOG = b"".join(
    (
        plain("Running with runner"),
        section_start("prepare_executor", 1),
        title("Preparing the executor"),
        plain("Using Kubernetes"),
        section_end("prepare_executor", 2),
        section_start("get_sources", 2),
        title("Getting source from Git repository"),
        plain("Fetching changes"),
        section_end("get_sources", 3),
        section_start("step_script", 3),
        title("Executing the script"),
        green("$ make"),
        b"\x1b[31mmade\x1b[0m and \x1b[2Jno newline",
        section_end("step_script", 4),
        section_start("after_script", 4),
        title("Running after_script"),
        b"after\r\n\n\n",
        section_end("after_script", 5),
        section_start("cleanup_file_variables", 5),
        title("Cleaning up"),
        section_end("cleanup_file_variables", 6),
        green("Job succeeded"),
    )
)


def printed(data: bytes, *, names: tuple[str, ...] = ("a",), colour: bool = False, whole: bool = False) -> str:
    """What is printed of a log of the first job, fed as one."""
    stream = io.StringIO()
    live = LiveLog(names, colour=colour, whole=whole, stream=stream)
    live.feed(names[0], data)
    live.end(names[0])
    return stream.getvalue()


def test_the_job_s_own_lines_are_printed() -> None:
    """Without what the runner does around them, and without what moves a cursor."""
    assert printed(LOG).splitlines() == [
        "Getting source from Git repository",
        "$ make",
        "made and no newline",
        "Running after_script",
        "after",
        "",
        "Job succeeded",
    ]


def test_the_whole_log_is_printed_when_asked_for() -> None:
    """Line by line, without the marks of sections."""
    assert printed(LOG, whole=True).splitlines() == [
        "Running with runner",
        "Preparing the executor",
        "Using Kubernetes",
        "Getting source from Git repository",
        "Fetching changes",
        "Executing the script",
        "$ make",
        "made and no newline",
        "Running after_script",
        "after",
        "",
        "",
        "Cleaning up",
        "Job succeeded",
    ]


def test_colours_stay_on_a_terminal() -> None:
    """Each line ends without one."""
    lines = printed(LOG, colour=True).splitlines()
    assert lines[0] == "\x1b[2mGetting source from Git repository\x1b[0m"
    assert lines[2] == "\x1b[31mmade\x1b[0m and no newline\x1b[0m"


def test_what_was_held_back_is_printed_when_the_script_never_begins() -> None:
    """Before the line that says so."""
    failed = b"".join(
        (
            section_start("prepare_executor", 1),
            title("Preparing"),
            plain("Waiting for pod"),
            section_end("prepare_executor", 2),
            error("Job failed: no pod"),
        )
    )
    assert printed(failed).splitlines() == ["Preparing", "Waiting for pod", "ERROR: Job failed: no pod"]


def test_warnings_are_always_printed() -> None:
    """And what fails after the script brings nothing back."""
    log = b"".join(
        (
            plain("held"),
            warning("look out"),
            section_start("step_script", 1),
            title("Executing"),
            b"x\n",
            section_end("step_script", 1),
            error("Job failed: command terminated with exit code 1"),
        )
    )
    assert printed(log).splitlines() == [
        "WARNING: look out",
        "x",
        "ERROR: Job failed: command terminated with exit code 1",
    ]


def test_several_jobs_have_their_names_in_front() -> None:
    """As wide as the longest, within bounds."""
    stream = io.StringIO()
    live = LiveLog(("a", "bcd", "x" * 60), colour=False, whole=True, stream=stream)
    live.feed("a", b"one\ntwo")
    live.feed("bcd", b"three\n")
    live.feed("a", b" more\n")
    live.say("x" * 60, "tried again")
    width = 40
    assert stream.getvalue().splitlines() == [
        f"{'a':<{width}} │ one",
        f"{'bcd':<{width}} │ three",
        f"{'a':<{width}} │ two more",
        f"{'x' * 39}… │ tried again",
    ]


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (b"10%\r50%\r100%\n", "100%"),
        (b"\x1b]0;title\x07x\n", "x"),
        (b"\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\\n", "link"),
        (b"a\x08\x00\x7fb\tc\n", "ab\tc"),
        (b"\xff\xfe\n", "��"),
        (b"\x1b[1A\x1b[2K\x1b[32mok\n", "ok"),
        (b"\n", ""),
        (b"section_start:1:mine[collapsed=true]\r\x1b[0Ktitle\n", "title"),
        (b"2026-01-02T03:04:05.000001Z 01O text\n", "text"),
    ],
    ids=["progress", "title", "link", "control", "bytes", "cursor", "empty", "own-section", "time"],
)
def test_a_line_cannot_move_the_terminal(line: bytes, text: str) -> None:
    """Only what can be read of it is printed."""
    assert printed(line, whole=True) == f"{text}\n"


def test_a_line_without_end_is_printed_in_parts() -> None:
    """Nothing is held without bounds."""
    text = printed(b"x" * 300_000, whole=True)
    assert text.replace("\n", "") == "x" * 300_000


def test_a_reader_that_went_away_is_noticed() -> None:
    """Printing goes on as if nothing had happened."""

    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    live = LiveLog(("a",), colour=False, whole=True, stream=Gone())
    live.feed("a", b"x\n")
    live.feed("a", b"y\n")
    assert live.broken


@given(st.lists(st.integers(0, len(LOG)), max_size=6), st.booleans())
def test_any_split_prints_the_same(cuts: list[int], whole: bool) -> None:
    """The log comes in patches of any size."""
    stream = io.StringIO()
    live = LiveLog(("a",), colour=False, whole=whole, stream=stream)
    start = 0
    for cut in [*sorted(cuts), len(LOG)]:
        live.feed("a", LOG[start:cut])
        start = max(start, cut)
    live.end("a")
    assert stream.getvalue() == printed(LOG, whole=whole)


@pytest.mark.parametrize(
    ("no_color", "environ", "expected"),
    [
        (False, {}, False),
        (False, {"FORCE_COLOR": "1"}, True),
        (True, {"FORCE_COLOR": "1"}, False),
        (False, {"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
    ],
)
def test_colour_is_asked_for(
    no_color: bool, environ: dict[str, str], expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is piped has none unless it is forced."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    for key, value in environ.items():
        monkeypatch.setenv(key, value)
    assert wants_colour(no_color=no_color) is expected
