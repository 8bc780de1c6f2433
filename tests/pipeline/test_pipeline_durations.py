"""Durations in words."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.pipeline.durations import LONGEST_DURATION, read_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90.0),
        ("90 seconds", 90.0),
        ("1h30m", 5400.0),
        ("1h 30m", 5400.0),
        ("3 hours 30 minutes", 12600.0),
        ("3 hours and 5 minutes", 11100.0),
        ("3 hrs, 5 mins", 11100.0),
        ("1 day", 86400.0),
        ("2 weeks", 1209600.0),
        ("1.5 hours", 5400.0),
        ("1:30", 90.0),
        ("1:00:00", 3600.0),
        ("10 Minutes", 600.0),
        ("", None),
        ("0", None),
        ("0h", None),
        ("soon", None),
        ("5 parsecs", None),
        ("1h soon", None),
        ("h", None),
        ("-5m", None),
        ("9" * 400, None),
        ("9" * 400 + "h", None),
        ("1000000 weeks", None),
    ],
)
def test_a_duration_is_read_as_gitlab_does(text: str, seconds: float | None) -> None:
    """Units in full or short; nothing, zero and what no job lasts are no duration."""
    assert read_duration(text) == seconds


@given(st.text(max_size=30))
def test_every_text_is_a_sane_duration_or_none(text: str) -> None:
    """No text raises, and none gives a time-out that a clock cannot count."""
    seconds = read_duration(text)
    assert seconds is None or 0 < seconds <= LONGEST_DURATION
