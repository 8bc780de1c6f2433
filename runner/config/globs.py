"""Globs of images as GitLab Runner's library "doublestar" reads them, matched by RE2.

`*` and `?` stay within one part of a path, `**` as a part of its own is any number of parts, `[a-z]` is one character,
`{a,b}` is one of several, a backslash takes the next character as it is. What is matched comes from jobs: RE2 takes
linear time, where Python's own expressions for such globs can take hours for a name of some hundred characters.
"""

import re
from functools import lru_cache
from typing import Any

from runner.job.patterns import PatternError, compiled

_TOKEN = re.compile(
    r"""(?P<folders>(?:(?<![^/])\*\*/)+)
      | (?P<rest>(?<![^/])\*\*\Z)
      | (?P<star>\*+)
      | (?P<one>\?)
      | \[(?P<set>(?:\\.|[^\]\\])+)\]
      | \\(?P<escaped>.)
      | (?P<plain>[^\[\\])""",
    re.VERBOSE | re.DOTALL,
)
_BRACES = re.compile(r"\\.|\[(?:\\.|[^\]\\])+\]|(?P<mark>[{,}])|.", re.DOTALL)
_MEMBER = re.compile(r"\\?(?P<first>.)(?:-(?!\Z)\\?(?P<last>.))?", re.DOTALL)
_WILD = {"folders": "(?:[^/]*/)*", "rest": ".*", "star": "[^/]*", "one": "[^/]"}
_SEPARATOR = ord("/")
_MOST_ALTERNATIVES = 1000
_MOST_CHARACTERS = 1024


class GlobError(ValueError):
    """A text that is no glob; the message says what is wrong with it."""


def glob_matches(pattern: str, text: str) -> bool:
    """Say whether a glob matches the whole of a text. Raises GlobError for a text that is no glob."""
    return _compiled(pattern).fullmatch(text.encode("utf-8", "replace")) is not None


def glob_problem(pattern: str) -> str:
    """Say what is wrong with a glob; empty when nothing is."""
    try:
        _compiled(pattern)
    except GlobError as error:
        return str(error)
    return ""


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> Any:
    expression = "|".join(_expression(each) for each in _alternatives(pattern))
    try:
        return compiled(f"(?s){expression}")
    except PatternError:
        raise GlobError("it is too large, or no text") from None


def _alternatives(pattern: str) -> list[str]:
    """Write out what all braces stand for: a `**` is a part of its own in some of the texts, in others not."""
    if len(pattern) > _MOST_CHARACTERS:
        raise GlobError(f"it is longer than {_MOST_CHARACTERS} characters")
    waiting, done = [pattern], []
    while waiting:
        first = waiting.pop()
        branches = _branches(first)
        waiting += reversed(branches)
        done += [] if branches else [first]
        if len(waiting) + len(done) > _MOST_ALTERNATIVES:
            raise GlobError(f"its braces stand for more than {_MOST_ALTERNATIVES} texts")
    return done


def _branches(pattern: str) -> list[str]:
    """What the first braces stand for, each with what is around them; none for a glob without braces."""
    starts: list[int] = []
    depth = 0
    for found in _BRACES.finditer(pattern):
        mark, at = found["mark"], found.start()
        if mark == "{":
            depth += 1
        if mark in ("{", ",") and depth == 1:
            starts.append(at + 1)
        elif mark == "}" and depth:
            depth -= 1
            if not depth:
                ends = [*(start - 1 for start in starts[1:]), at]
                before, after = pattern[: starts[0] - 1], pattern[at + 1 :]
                return [before + pattern[start:end] + after for start, end in zip(starts, ends, strict=True)]
    if depth:
        raise GlobError("a brace is never closed")
    return []


def _expression(pattern: str) -> str:
    """A glob without braces as a regular expression."""
    pieces: list[str] = []
    at = 0
    while at < len(pattern):
        found = _TOKEN.match(pattern, at)
        if found is None:
            raise GlobError("a bracket is never closed" if pattern[at] == "[" else "nothing follows the last backslash")
        at = found.end()
        kind = found.lastgroup or ""
        if kind == "set":
            pieces.append(_set(found["set"]))
        else:
            pieces.append(_WILD.get(kind) or re.escape(found[kind]))
    return "".join(pieces)


def _set(inner: str) -> str:
    """A set of characters, none of which is the `/` that separates."""
    negated = inner[0] in "!^"
    ranges = [
        (ord(member["first"]), ord(member["last"] or member["first"]))
        for member in _MEMBER.finditer(inner[1:] if negated else inner)
    ]
    if not ranges or any(first > last for first, last in ranges):
        raise GlobError("a set of characters in brackets is empty or runs backwards")
    if negated:
        return f"[^/{''.join(map(_range, ranges))}]"
    kept = [part for each in ranges for part in _without_separator(*each)]
    if not kept:
        raise GlobError("a set of characters in brackets holds nothing but the `/`, which no set matches")
    return f"[{''.join(map(_range, kept))}]"


def _without_separator(first: int, last: int) -> list[tuple[int, int]]:
    if not first <= _SEPARATOR <= last:
        return [(first, last)]
    return [part for part in ((first, _SEPARATOR - 1), (_SEPARATOR + 1, last)) if part[0] <= part[1]]


def _range(bounds: tuple[int, int]) -> str:
    return rf"\x{{{bounds[0]:x}}}-\x{{{bounds[1]:x}}}"
