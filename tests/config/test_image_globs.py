"""Globs of images, as the original's library reads them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wcmatch import glob

from runner.config.globs import GlobError, glob_matches, glob_problem


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("ruby:*", "ruby:3", True),
        ("ruby:*", "ruby:3/x", False),
        ("ruby:?", "ruby:3", True),
        ("ruby:?", "ruby:/", False),
        ("**", "a/b:c", True),
        ("a/**", "a/b/c", True),
        ("a/**", "a", False),
        ("**/x", "x", True),
        ("**/x", "a/b/x", True),
        ("a/**/b", "a/b", True),
        ("a/**/**/b", "a/x/y/b", True),
        ("a**", "ab", True),
        ("a**", "a/b", False),
        ("a**/b", "ax/b", True),
        ("[a-c]x", "bx", True),
        ("[a-c]x", "dx", False),
        ("[!a]x", "bx", True),
        ("[^a]x", "ax", False),
        ("[^a]x", "/x", False),
        ("[.-9]", "/", False),
        ("[.-9]", "0", True),
        (r"a[\]]", "a]", True),
        (r"[\w]", "x", False),
        ("[a-]", "-", True),
        ("{a,b}:1", "b:1", True),
        ("{a,b}:1", "a,b:1", False),
        ("{a,b{c,d}}{1,2}", "bd2", True),
        ("{a,b{c,d}}{1,2}", "b2", False),
        ("{,x}a", "a", True),
        ("{a,b/**}", "b/x/y", True),
        ("{a,b/**}:1", "b/x/y:1", False),
        ("[{]a,b", "{a,b", True),
        (r"\{a,b}", "{a,b}", True),
        (r"a\*", "a*", True),
        (r"a\*", "ab", False),
        ("x}", "x}", True),
        ("a.b|c", "a.b|c", True),
        ("a.b", "axb", False),
        ("é?", "éü", True),
        ("a", "A", False),
        ("", "", True),
    ],
)
def test_glob_matches_when(pattern: str, text: str, expected: bool) -> None:
    """A star stays within one part, two of them as a part of their own do not."""
    assert glob_matches(pattern, text) is expected


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("[", "a bracket is never closed"),
        ("[]", "a bracket is never closed"),
        ("a[b", "a bracket is never closed"),
        ("a{b", "a brace is never closed"),
        ("a\\", "nothing follows the last backslash"),
        ("[z-a]", "is empty or runs backwards"),
        ("[!]", "is empty or runs backwards"),
        ("[/]", "holds nothing but the `/`"),
        ("{a,b}" * 12, "more than 1000 texts"),
        ("{a" * 500 + "}" * 500, "longer than 1024 characters"),
    ],
)
def test_glob_is_none_when(pattern: str, words: str) -> None:
    """What is wrong is said; it never costs much."""
    assert words in glob_problem(pattern)
    with pytest.raises(GlobError):
        glob_matches(pattern, "a")


def test_glob_has_no_problem_when_it_is_good() -> None:
    """Users write these."""
    assert [glob_problem(each) for each in ("**", "r.tld:5000/{a,b}/*:[0-9]*")] == ["", ""]


PIECES = st.sampled_from(["a", "b", ":", ".", "/", "*", "?", "**/", "/**/", "[ab]", "[!a]", "{a,b}", "{a/b,:}"])


@given(pattern=st.lists(PIECES, max_size=6).map("".join), text=st.text("ab:./", max_size=8))
def test_glob_agrees_with_another_library_when_both_read_it(pattern: str, text: str) -> None:
    """Of `wcmatch` all is alike but what it does for file systems: empty parts, `.`, `..` and a slash at the end."""
    folders = text.split("/")
    if "" in folders or "." in folders or ".." in folders or "//" in pattern or pattern[:1] == "/":
        return
    flags = glob.GLOBSTAR | glob.BRACE | glob.DOTGLOB | glob.FORCEUNIX
    assert glob_matches(pattern, text) is glob.globmatch(text, pattern, flags=flags)
