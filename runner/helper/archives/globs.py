"""Glob patterns of `paths:` and `exclude:`: `*`, `**`, `?`, `[...]` and `{a,b}`, as GitLab's pages describe them.

Law: symbolic links are not followed below a pattern, so a loop of them ends. A pattern that is none matches nothing.
"""

import os
import re
from collections.abc import Iterator
from functools import lru_cache
from itertools import islice, pairwise

BRACE_LIMIT = 4096
"""Patterns that one pattern with braces may become; the rest is left out."""

_SPECIAL = re.compile(r"[*?\[{\\]")


def find(root: str, pattern: str) -> Iterator[str]:
    """Give the paths below a directory that match, relative to it, each once for each way it matches."""
    for plain in braced(pattern):
        parts = [part for part in plain.split("/") if part not in ("", ".")]
        yield from _walk(root, "", parts)


def matches(pattern: str, path: str) -> bool:
    """Tell whether a whole relative path matches."""
    return any(regex.fullmatch(path) for regex in _path_regexes(pattern))


def braced(pattern: str) -> list[str]:
    """Write `a{b,c}` as `ab` and `ac`; a brace that is not closed is a character."""
    return list(islice(_choices(pattern), BRACE_LIMIT))


def _choices(pattern: str) -> Iterator[str]:
    found = _first_brace(pattern)
    if found is None:
        yield pattern
        return
    start, commas, end = found
    for left, right in pairwise((start, *commas, end)):
        yield from _choices(pattern[:start] + pattern[left + 1 : right] + pattern[end + 1 :])


def _first_brace(pattern: str) -> tuple[int, list[int], int] | None:
    """Find the first whole pair of braces and the commas that belong to it."""
    start = depth = position = 0
    commas: list[int] = []
    while position < len(pattern):
        character = pattern[position]
        if character == "\\":
            position += 1
        elif character == "{":
            start, commas, depth = (position, [], 1) if depth == 0 else (start, commas, depth + 1)
        elif character == "," and depth == 1:
            commas.append(position)
        elif character == "}" and depth:
            depth -= 1
            if not depth:
                return start, commas, position
        position += 1
    return None


def _walk(root: str, base: str, parts: list[str]) -> Iterator[str]:
    if not parts:
        yield base or "."
        return
    part, rest = parts[0], parts[1:]
    if part == "**":
        yield from _walk(root, base, rest)
        for name in _names(root, base, folders=bool(rest)):
            inner = _join(base, name)
            if _is_folder(root, inner):
                yield from _walk(root, inner, parts)
            elif not rest:
                yield inner
    elif not _SPECIAL.search(part):
        if os.path.lexists(os.path.join(root, base, part)):
            yield from _walk(root, _join(base, part), rest)
    else:
        regex = _part_regex(part)
        for name in _names(root, base, folders=bool(rest)):
            if regex is not None and regex.fullmatch(name):
                yield from _walk(root, _join(base, name), rest)


def _names(root: str, base: str, *, folders: bool) -> list[str]:
    try:
        with os.scandir(os.path.join(root, base)) as entries:
            return sorted(entry.name for entry in entries if not folders or entry.is_dir(follow_symlinks=False))
    except OSError:
        return []  # a file, or a folder that may not be read: nothing below it matches


def _is_folder(root: str, path: str) -> bool:
    full = os.path.join(root, path)
    return os.path.isdir(full) and not os.path.islink(full)


def _join(base: str, name: str) -> str:
    return f"{base}/{name}" if base else name


@lru_cache(maxsize=256)
def _path_regexes(pattern: str) -> tuple[re.Pattern[str], ...]:
    found = []
    for plain in braced(pattern):
        parts = [part for part in plain.split("/") if part not in ("", ".")]
        text = ""
        for index, part in enumerate(parts):
            last = index == len(parts) - 1
            if part == "**":
                text = (
                    text.removesuffix("/") + "(?:/.*)?" if last and text else text + (".*" if last else "(?:[^/]+/)*")
                )
                continue
            translated = part_regex_text(part)
            if translated is None:
                break
            text += translated + ("" if last else "/")
        else:
            found.append(re.compile(text, re.DOTALL))
    return tuple(found)


@lru_cache(maxsize=256)
def _part_regex(part: str) -> re.Pattern[str] | None:
    text = part_regex_text(part)
    return None if text is None else re.compile(text, re.DOTALL)


def part_regex_text(part: str) -> str | None:
    """One part of a path as a regular expression; None for what is no pattern."""
    text, position = "", 0
    while position < len(part):
        character = part[position]
        position += 1
        if character == "*":
            text += "[^/]*"
        elif character == "?":
            text += "[^/]"
        elif character == "\\":
            if position == len(part):
                return None
            text += re.escape(part[position])
            position += 1
        elif character == "[":
            end = part.find("]", position + 1)
            if end < 0:
                return None
            text += _set(part[position:end])
            position = end + 1
        else:
            text += re.escape(character)
    return text


def _set(content: str) -> str:
    negated = content[0] in "!^"
    body = content[1:] if negated else content
    escaped = re.sub(r"([\\\[\]&~|^])", r"\\\1", body)
    try:
        re.compile(f"[{escaped}]")
    except re.error:  # a range whose ends are the wrong way round
        escaped = re.escape(body)
    return f"[{'^/' if negated else ''}{escaped}]"
