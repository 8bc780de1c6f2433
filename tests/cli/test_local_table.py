"""The table at the end of a local run."""

import pytest

from runner.cli.local_table import Row, duration, show_results
from runner.pipeline.findings import Place
from runner.pipeline.model import LocalJob
from runner.pipeline.order import JobState


def job(name: str) -> LocalJob:
    """A job of that name."""
    return LocalJob(name=name, base=name, stage="test", place=Place("f", 1), script=("x",))


def test_every_state_has_its_words(capsys: pytest.CaptureFixture[str]) -> None:
    """Names are no markup, and a line is as long as it has to be."""
    states = {
        "a [b]": JobState.SUCCESS,
        "again": JobState.SUCCESS,
        "bad": JobState.FAILED,
        "soft": JobState.WARNING,
        "hand": JobState.MANUAL,
        "cut": JobState.CANCELED,
    }
    rows = {
        "a [b]": Row(seconds=0.25, tries=1),
        "again": Row(seconds=61, tries=2),
        "bad": Row(seconds=12, tries=3, reason="exit code 1 " + "x" * 200),
        "soft": Row(seconds=1, tries=1, reason="[red]"),
    }
    show_results([job(name) for name in states], states, rows, colour=False)
    assert capsys.readouterr().out.splitlines() == [
        "",
        "Job    Stage  Result            Duration   Reason",
        "a [b]  test   success           0.2 s",
        "again  test   success           1 min 1 s  at try 2",
        f"bad    test   failed            12 s       exit code 1 {'x' * 200} (after 3 tries)",
        "soft   test   failed (allowed)  1.0 s      [red]",
        "hand   test   manual                       name it to run it",
        "cut    test   canceled",
    ]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (9.94, "9.9 s"), (12.4, "12 s"), (59.6, "1 min 0 s"), (3725, "62 min 5 s")],
)
def test_a_duration_reads_well(seconds: float, text: str) -> None:
    """Tenths only where they count."""
    assert duration(seconds) == text
