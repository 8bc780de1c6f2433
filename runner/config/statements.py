"""The statements of a TOML text, each with its span: what an edit needs to change one and leave the rest as it is.

Law: the text is one that `tomllib` accepts; for another, anything may come out. Nothing is lost: the spans of the
statements, with what lies between them, are the text.
"""

import re
import tomllib
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Statement:
    """A header such as `[runners.kubernetes]`, or a key with its value."""

    start: int
    """Of its first character, behind the blanks of its line."""
    end: int
    """Behind its last character: before blanks, a comment and the line's end."""
    path: tuple[str, ...]
    """The keys of the header, or of the assignment relative to its header."""
    header: bool
    array: bool = False
    """Whether it is a header of an array of tables, `[[runners]]`."""
    value: int = 0
    """Where the value of an assignment begins."""


_TOKEN = re.compile(
    r'''(?P<string>"""(?:[^\\"]|\\.|"(?!""))*"{3,5}|\'\'\'(?:[^']|'(?!''))*'{3,5}|"(?:[^"\\\n]|\\.)*"|'[^'\n]*\')'''
    r"|(?P<comment>#[^\n]*)|(?P<open>[\[{])|(?P<close>[\]}])|(?P<equals>=)|(?P<newline>\r?\n)|(?P<blank>[ \t]+)"
    r"|(?P<word>[^\s\"'#\[\]{}=]+)",
    re.DOTALL,
)


def statements(text: str) -> tuple[Statement, ...]:
    """All statements in their order. Linear in the text's length."""
    found: list[Statement] = []
    start = end = value = -1
    depth, awaiting = 0, False
    for token in _TOKEN.finditer(text):
        kind = token.lastgroup
        if kind == "newline" and depth == 0:
            if start >= 0:
                found.append(_statement(text, start, end, value))
            start = end = value = -1
        if kind in {"newline", "blank", "comment"}:
            continue
        if start < 0:
            start = token.start()
        if awaiting:
            value, awaiting = token.start(), False
        if kind == "equals" and depth == 0 and value < 0:
            awaiting = True
        depth += (kind == "open") - (kind == "close")
        end = token.end()
    if start >= 0:
        found.append(_statement(text, start, end, value))
    return tuple(found)


def _statement(text: str, start: int, end: int, value: int) -> Statement:
    header = text[start] == "["
    # The parser reads the key: quotes, escapes and blanks around dots are its business.
    parsed: Any = tomllib.loads(text[start:end] if header else f"{text[start:value]}0")
    path: list[str] = []
    while parsed and isinstance(parsed, dict | list):
        if isinstance(parsed, list):
            parsed = parsed[-1]
            continue
        key = next(iter(parsed))
        path.append(key)
        parsed = parsed[key]
    return Statement(
        start, end, tuple(path), header, array=header and text.startswith("[[", start), value=max(value, 0)
    )
