"""Globs as Ruby's `File.fnmatch` reads them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.pipeline.globs import is_glob, matches


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        ("a.yml", ["a.yml"], ["ci/a.yml", "a_yml"]),
        ("/a.yml", ["a.yml"], ["b.yml"]),
        ("*.yml", ["a.yml", ".yml"], ["ci/a.yml"]),
        ("ci/*.yml", ["ci/a.yml"], ["ci/x/a.yml", "a.yml"]),
        ("ci/**/*.yml", ["ci/a.yml", "ci/x/a.yml", "ci/x/y/a.yml"], ["a.yml"]),
        ("**/Dockerfile", ["Dockerfile", "a/b/Dockerfile"], ["Dockerfile.old", "xDockerfile"]),
        ("**/*", ["a", "a/b", ".x/y"], []),
        ("**", ["a"], ["a/b"]),
        ("a/**/**/b", ["a/b", "a/x/b", "a/x/y/b"], ["b"]),
        ("?.py", ["a.py"], ["ab.py", "/.py"]),
        ("[ab]c", ["ac", "bc"], ["cc", "[ab]c"]),
        ("[!ab]c", ["cc"], ["ac"]),
        ("[a-c]", ["b"], ["d", "-"]),
        ("*.{js,ts}", ["a.js", "a.ts"], ["a.rs", "a.{js,ts}"]),
        ("{a,{b,c}}/x", ["a/x", "b/x", "c/x"], ["d/x"]),
        ("a,b", ["a,b"], ["a"]),
        ("{a", ["{a"], ["a"]),
        ("a}", ["a}"], ["a"]),
        (r"\*", ["*"], ["x"]),
        ("a.b", ["a.b"], ["axb"]),
        ("[", ["["], ["x"]),
        ("[?--]", ["[?--]"], ["?"]),
        ("[+--]", [",", "-"], ["a"]),
    ],
)
def test_a_glob_matches_paths(pattern: str, yes: list[str], no: list[str]) -> None:
    """`*` stays in one folder, `**/` does not."""
    assert [path for path in yes + no if matches(pattern, path)] == yes


@pytest.mark.parametrize(("path", "expected"), [("ci/a.yml", False), ("*.yml", True), ("a?", True), ("{a}", True)])
def test_wildcards_make_a_glob(path: str, expected: bool) -> None:
    """A plain path is looked up, not matched."""
    assert is_glob(path) is expected


@given(st.text(alphabet="ab*?[]{},\\/!^-.", max_size=20), st.text(alphabet="ab/.", max_size=10))
def test_no_pattern_raises(pattern: str, path: str) -> None:
    """Whatever stands there says yes or no."""
    assert matches(pattern, path) in (True, False)
