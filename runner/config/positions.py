"""Where each key of a TOML text stands.

`tomllib` tells what a file says but not where. This index says where, for a text that `tomllib` has accepted: whether
the text is valid is not asked here, and for one that is not, anything may come out. One pass, linear in the text's
length; needed only when there is something to report.
"""

import re
import tomllib
from collections.abc import Mapping
from typing import NamedTuple

Path = tuple[str | int, ...]
"""Keys as a file spells them, and indexes of arrays."""


class Place(NamedTuple):
    """Where a key, an element or a table's header begins; both numbers count from 1."""

    line: int
    column: int


_GAP = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_STRING = re.compile(
    r'''"""(?:[^\\"]|\\.|"(?!""))*"{3,5}|\'\'\'(?:[^']|'(?!''))*'{3,5}|"(?:[^"\\\n]|\\.)*"|'[^'\n]*\'''', re.DOTALL
)
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_BARE_VALUE = re.compile(r"[^,\]}#\n]+")


def positions(text: str) -> Mapping[Path, Place]:
    """Map every path in a valid TOML text to where it begins.

    A table is where it is first named, the document itself is at line 1.
    """
    return _Index(text).found


def place_of(found: Mapping[Path, Place], path: Path) -> Place:
    """The place of a path, or of the nearest table around it that is in the text."""
    while path not in found:
        path = path[:-1]
    return found[path]


class _Index:
    """Reads a text from left to right and notes where each path begins."""

    def __init__(self, text: str) -> None:
        self.found: dict[Path, Place] = {(): Place(1, 1)}
        self._text = text
        self._at = 0
        self._line = 1
        self._line_start = 0
        self._table: Path = ()
        self._last_index: dict[Path, int] = {}
        """Of each array of tables, the index of its last one."""
        while self._next():
            if text[self._at] == "[":
                self._header()
            else:
                self._pair(self._table)

    def _take(self, pattern: re.Pattern[str]) -> str:
        """Consume what matches here, which may be nothing, and count its lines."""
        found = pattern.match(self._text, self._at)
        taken = found[0] if found else ""
        if lines := taken.count("\n"):
            self._line += lines
            self._line_start = self._at + taken.rindex("\n") + 1
        self._at += len(taken)
        return taken

    def _next(self) -> str:
        """Skip blanks, comments and line ends; the character that follows, empty at the end of the text."""
        self._take(_GAP)
        return self._text[self._at : self._at + 1]

    def _note(self, path: Path, at: int) -> None:
        """A path begins at this offset, in the line that is being read."""
        self.found.setdefault(path, Place(self._line, at - self._line_start + 1))

    def _header(self) -> None:
        """`[a.b]` opens a table, `[[a.b]]` the next one of an array of tables."""
        brackets = 2 if self._text.startswith("[[", self._at) else 1
        self._at += brackets
        *parents, (last, at) = self._keys()
        self._at += brackets
        path: Path = ()
        for key, key_at in parents:
            path = (*path, key)
            self._note(path, key_at)
            if path in self._last_index:
                path = (*path, self._last_index[path])
        path = (*path, last)
        self._note(path, at)
        if brackets == 2:
            self._last_index[path] = self._last_index.get(path, -1) + 1
            path = (*path, self._last_index[path])
            self._note(path, at)
        self._table = path

    def _pair(self, table: Path) -> None:
        """`a.b = value`, in a table or an inline table."""
        path = table
        for key, at in self._keys():
            path = (*path, key)
            self._note(path, at)
        self._at += 1
        self._value(path)

    def _keys(self) -> list[tuple[str, int]]:
        """The parts of a dotted key, each with the offset where it begins; stops at what follows them."""
        keys: list[tuple[str, int]] = []
        while True:
            self._next()
            at = self._at
            keys.append((self._take(_BARE_KEY) or _unquoted(self._take(_STRING)), at))
            if self._next() != ".":
                return keys
            self._at += 1

    def _value(self, path: Path) -> None:
        first = self._next()
        if first == "[":
            self._array(path)
        elif first == "{":
            self._inline_table(path)
        elif not self._take(_STRING):
            self._take(_BARE_VALUE)

    def _array(self, path: Path) -> None:
        self._at += 1
        index = 0
        while self._next() != "]":
            element = (*path, index)
            self._note(element, self._at)
            self._value(element)
            if self._next() == ",":
                self._at += 1
            index += 1
        self._at += 1

    def _inline_table(self, path: Path) -> None:
        self._at += 1
        while self._next() != "}":
            self._pair(path)
            if self._next() == ",":
                self._at += 1
        self._at += 1


def _unquoted(key: str) -> str:
    if "\\" not in key:
        return key[1:-1]
    return str(tomllib.loads(f"key = {key}")["key"])
