"""Go's durations."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.job.durations import LONGEST_DURATION, format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        ("-0", 0.0),
        ("45s", 45.0),
        ("1h30m", 5400.0),
        ("15m0s", 900.0),
        ("1.5h", 5400.0),
        (".5s", 0.5),
        ("1.s", 1.0),
        ("250ms", 0.25),
        ("100us", 0.0001),
        ("100µs", 0.0001),
        ("-5s", -5.0),
        ("+1m", 60.0),
        ("1s1h", 3601.0),
    ],
)
def test_duration_is_read_as_go_reads_it(text: str, seconds: float) -> None:
    """Sign, fractions, several units and any order of them are Go's grammar."""
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "5",
        "1d",
        "h",
        "1h 3m",
        " 1h",
        "1h\n",
        "abc",
        "1hour",
        "-",
        ".s",
        "1e3s",
        "9999999999h",
        "99999999999999999h",
    ],
)
def test_duration_is_refused_when_go_refuses_it(text: str) -> None:
    """A number without a unit, blanks, other units and what overflows are errors."""
    with pytest.raises(ValueError, match="must be a duration such as 1h30m"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0s"),
        (3600.0, "1h0m0s"),
        (5400.0, "1h30m0s"),
        (90.0, "1m30s"),
        (60.0, "1m0s"),
        (45.0, "45s"),
        (1.5, "1.5s"),
        (61.05, "1m1.05s"),
        (0.25, "250ms"),
        (0.0015, "1.5ms"),
        (0.00001, "10µs"),
        (0.000000005, "5ns"),
        (-90.0, "-1m30s"),
        (360000.0, "100h0m0s"),
    ],
)
def test_duration_is_written_as_go_prints_it(seconds: float, text: str) -> None:
    """Hours bring minutes and seconds along, small ones use small units."""
    assert format_duration(seconds) == text


@given(st.integers(0, int(LONGEST_DURATION) * 1000 // 2).map(lambda milliseconds: milliseconds / 1000))
def test_duration_that_was_written_reads_back(seconds: float) -> None:
    """Writing and reading agree to the microsecond."""
    assert parse_duration(format_duration(seconds)) == pytest.approx(seconds, abs=1e-6)
