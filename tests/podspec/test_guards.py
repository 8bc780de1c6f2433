"""The guards of overwrites, and what Kubernetes takes as keys and values."""

from __future__ import annotations

import pytest

from runner.podspec.guards import GuardError, amount_within, check_pattern
from runner.podspec.syntax import is_label_value, is_qualified_name


@pytest.mark.parametrize(
    ("pattern", "value"),
    [("ci", "x-ci-y"), ("^$", ""), (r"(?i)^CI-[[:alpha:]]+$", "ci-a"), (r"^\pL+$", "é"), ("(?s)^.*$", "a\nb")],
)
def test_value_passes_when_the_pattern_is_in_it(pattern: str, value: str) -> None:
    """RE2's syntax, the same as Go's."""
    check_pattern(pattern, value)


@pytest.mark.parametrize(("pattern", "value"), [("^ci$", "ci\n"), ("^.$", "\n"), ("b", "a"), (r"^\w$", "é")])
def test_value_is_refused_when_the_pattern_is_not_in_it(pattern: str, value: str) -> None:
    """The end is the end of the text: no newline hides behind it."""
    with pytest.raises(GuardError, match=r"provided value .* does not match"):
        check_pattern(pattern, value)


@pytest.mark.parametrize("pattern", ["(", "[a", "a{5000}", "(?=a)", r"\1", "(?P<a>", "*"])
def test_pattern_has_a_problem_when_it_is_none(pattern: str) -> None:
    """Also where Python would know what to do with it."""
    with pytest.raises(GuardError, match="is no regular expression: "):
        check_pattern(pattern, "a")


@pytest.mark.parametrize(
    ("limit", "text"), [("1", "1000m"), ("1Gi", "1073741824"), ("8Gi", "8G"), ("0", "0"), ("1", " 1 "), ("1e3", "1k")]
)
def test_amount_is_within_when_it_is_no_more(limit: str, text: str) -> None:
    """Units are no matter; the text stays as it was written."""
    assert amount_within(limit, text, resource="CPULimit") == text.strip()


@pytest.mark.parametrize(
    ("limit", "text", "words"),
    [
        ("1", "1.0000000001", "is higher than limit allowed"),
        ("8G", "8Gi", "is higher than limit allowed"),
        ("1", "one", 'parsing resource limit: "one" is no quantity'),
        ("one", "1", 'parsing resource limit: "one" is no quantity'),
        ("1", "-1n", 'parsing resource limit: "-1n" is less than nothing'),
    ],
)
def test_amount_is_refused_when(limit: str, text: str, words: str) -> None:
    """Compared exactly, not as floats."""
    with pytest.raises(GuardError, match=words):
        amount_within(limit, text, resource="CPULimit")


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("a", True, True),
        ("a.b-c_d", True, True),
        ("A9", True, True),
        ("", False, True),
        ("-a", False, False),
        ("a" * 63, True, True),
        ("a" * 64, False, False),
        ("example.com/a", True, False),
        ("example.com/", False, False),
        ("/a", False, False),
        ("Example.com/a", False, False),
        ("a/b/c", False, False),
        ("a\n", False, False),
    ],
)
def test_names_are_kubernetes_own_when(text: str, key: bool, value: bool) -> None:
    """A domain only before a key's name."""
    assert (is_qualified_name(text), is_label_value(text)) == (key, value)
