"""Glob patterns of paths."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from runner.helper.archives.globs import braced, find, matches


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A few files, a hidden one, and a link back to the top."""
    for name in ("a.txt", "b.log", "src/c.txt", "src/deep/d.txt", "src/.hidden", "[odd].txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    os.symlink("..", tmp_path / "src/up")
    return tmp_path


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("a.txt", ["a.txt"]),
        ("*.txt", ["[odd].txt", "a.txt"]),
        ("?.log", ["b.log"]),
        ("[ab].*", ["a.txt", "b.log"]),
        ("[!a].*", ["b.log"]),
        ("[^a].*", ["b.log"]),
        ("\\[odd\\].txt", ["[odd].txt"]),
        ("{a,b}.{txt,log}", ["a.txt", "b.log"]),
        ("src/**/*.txt", ["src/c.txt", "src/deep/d.txt"]),
        ("**/d.txt", ["src/deep/d.txt"]),
        ("src/*", ["src/.hidden", "src/c.txt", "src/deep", "src/up"]),
        ("src/deep/**", ["src/deep", "src/deep/d.txt"]),
        ("src/up/a.txt", ["src/up/a.txt"]),
        ("missing/*", []),
        ("[z", []),
        ("./src/./c.txt", ["src/c.txt"]),
        (".", ["."]),
    ],
)
def test_a_pattern_finds_what_it_says(tree: Path, pattern: str, found: list[str]) -> None:
    """In the order of names; links are found, and not followed where a pattern decides."""
    assert sorted(set(find(str(tree), pattern))) == found


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("*.txt", "a.txt", True),
        ("*.txt", "src/a.txt", False),
        ("**/*.txt", "a.txt", True),
        ("**/*.txt", "x/y/a.txt", True),
        ("src/**", "src/x/y", True),
        ("src/**", "src", True),
        ("src/**", "srcs", False),
        ("**", "any/thing", True),
        ("src", "src/x", False),
        ("a{b,{c,d}}e", "ade", True),
        ("[b-a]", "b-a", False),
    ],
)
def test_a_whole_path_matches_or_does_not(pattern: str, path: str, expected: bool) -> None:
    """As excludes are compared."""
    assert matches(pattern, path) is expected


def test_braces_that_are_not_closed_are_characters() -> None:
    """Nothing is lost by a typing error."""
    assert (braced("a{b"), braced("a}b,c"), braced("a{b,{c,d}}")) == (["a{b"], ["a}b,c"], ["ab", "ac", "ad"])


def test_braces_do_not_grow_without_bound() -> None:
    """Twenty pairs would be a million patterns."""
    assert len(braced("{a,b}" * 20)) <= 4096
