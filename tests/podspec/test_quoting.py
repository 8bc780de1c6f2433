"""Texts of others in our sentences."""

import pytest

from runner.podspec.quoting import quoted, shown


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain text, ünicode 日本", '"plain text, ünicode 日本"'),
        ("^ci-\\d+$", '"^ci-\\d+$"'),
        ('a "b"', '"a \\"b\\""'),
        ("a\nb\r\x1b[0K\x00", '"a\\nb\\r\\x1b[0K\\x00"'),
        ("\u202eb\u2028\x85\ud800", '"\\u202eb\\u2028\\x85\\ud800"'),
        ("x" * 201, f'"{"x" * 200}..."'),
        ("", '""'),
    ],
    ids=["plain", "pattern", "quotes", "control", "unicode", "long", "empty"],
)
def test_quoted_when(text: str, expected: str) -> None:
    """It stays on its line and between its quotes."""
    assert quoted(text) == expected
    assert shown(text).isprintable()
