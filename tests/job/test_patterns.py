"""What an operator's regular expressions are, and what they may cost."""

from __future__ import annotations

import pytest

from runner.job.patterns import PatternError, compiled


def test_compiled_searches_bytes() -> None:
    """RE2's syntax: the end is the end of the text."""
    assert compiled("^ci-[a-z]+$").search(b"ci-a")
    assert not compiled("^ci$").search(b"ci\n")


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        pytest.param("(", r"missing \)", id="open"),
        pytest.param("(?=a)", "invalid perl operator", id="Python's alone"),
        pytest.param("((a{100}){100}){100}", "invalid repetition size", id="too large"),
    ],
)
def test_compiled_when_it_is_none(pattern: str, reason: str) -> None:
    """In RE2's own words."""
    with pytest.raises(PatternError, match=reason):
        compiled(pattern)
