"""What differs between two texts of manifests, as `diff -u` shows it, with the place of each hunk in its manifest."""

from __future__ import annotations

import difflib
import itertools
import re
from collections.abc import Iterator, Sequence

import click

_HUNK = re.compile(r"@@ -(\d+)")
_COLOURS = {"+": "green", "-": "red", "@": "cyan"}


def differences(before: str, after: str, *, names: tuple[str, str], colour: bool) -> tuple[str, ...]:
    """The lines of a unified diff; none where there is no difference."""
    old = before.splitlines()
    lines = difflib.unified_diff(old, after.splitlines(), *names, lineterm="")
    placed = tuple(_placed(tuple(lines), old))
    return tuple(map(_coloured, placed)) if colour else placed


def _placed(lines: Sequence[str], old: Sequence[str]) -> Iterator[str]:
    """Say behind the numbers of each hunk in which part of the manifest its first change is."""
    for number, line in enumerate(lines):
        found = _HUNK.match(line)
        if not found:
            yield line
            continue
        context = next(index for index, each in enumerate(lines[number + 1 :]) if each[:1] in "+-")
        changed = lines[number + 1 + context][1:]
        yield f"{line} {_place(old, int(found[1]) - 1 + context, changed)}".rstrip()


def _place(old: Sequence[str], at: int, changed: str) -> str:
    """Name the object, tables and items around a line by the lines above it that are less indented."""
    names: list[str] = []
    margin = _margin(changed)
    for number in range(at - 1, -1, -1):
        line = old[number]
        if line == "---":
            break
        if line.startswith("kind: "):
            names.append(line.removeprefix("kind: "))
        elif line.strip() and _margin(line) < margin:
            words = line.strip()
            if not words.startswith("- ") or margin > _margin(line) + 2:  # else only beside the item's first key
                names.append(words.removeprefix("- ").removesuffix(":"))
            margin = _margin(line)
            if words.startswith("- "):
                names.append(_item_name(old, number))
    return " > ".join(reversed(names))


def _item_name(old: Sequence[str], number: int) -> str:
    """The name of the item of a list that begins in a line, wherever in the item it stands; else the line itself."""
    margin = _margin(old[number])
    item = [old[number].replace("- ", "  ", 1)]
    item += itertools.takewhile(lambda each: _margin(each) > margin, old[number + 1 :])
    head = " " * (margin + 2) + "name: "
    return next((each.removeprefix(head) for each in item if each.startswith(head)), old[number].strip())


def _margin(line: str) -> int:
    return len(line) - len(line.lstrip(" "))


def _coloured(line: str) -> str:
    heading = line.startswith(("+++ ", "--- "))
    return click.style(line, bold=heading or None, fg=None if heading else _COLOURS.get(line[:1]))
