"""Where each key of a TOML text stands.

`tomllib` tells what a file says but not where. This index says where, for a text that `tomllib` has accepted: whether
the text is valid is not asked here, and for one that is not, anything may come out. One pass, linear in the text's
length; needed only when there is something to report.
"""

import re
import tomllib
from collections.abc import Mapping

Path = tuple[str | int, ...]

_GAP = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_STRING = re.compile(
    r'''"""(?:[^\\"]|\\.|"(?!""))*"{3,5}|\'\'\'(?:[^']|'(?!''))*'{3,5}|"(?:[^"\\\n]|\\.)*"|'[^'\n]*\'''', re.DOTALL
)
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_BARE_VALUE = re.compile(r"[^,\]}#\n]+")


def positions(text: str) -> Mapping[Path, int]:
    """Map every path in a valid TOML text to its line, counted from 1.

    A path holds keys as they are spelled and indexes of arrays; a table is where it is first named, the document
    itself is at line 1.
    """
    return _Index(text).lines


def line_of(lines: Mapping[Path, int], path: Path) -> int:
    """The line of a path, or of the nearest table around it that is in the text."""
    while path not in lines:
        path = path[:-1]
    return lines[path]


class _Index:
    """Reads a text from left to right and notes where each path begins."""

    def __init__(self, text: str) -> None:
        self.lines: dict[Path, int] = {(): 1}
        self._text = text
        self._at = 0
        self._line = 1
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
        self._at += len(taken)
        self._line += taken.count("\n")
        return taken

    def _next(self) -> str:
        """Skip blanks, comments and line ends; the character that follows, empty at the end of the text."""
        self._take(_GAP)
        return self._text[self._at : self._at + 1]

    def _note(self, path: Path) -> None:
        self.lines.setdefault(path, self._line)

    def _header(self) -> None:
        """`[a.b]` opens a table, `[[a.b]]` the next one of an array of tables."""
        brackets = 2 if self._text.startswith("[[", self._at) else 1
        self._at += brackets
        *parents, last = self._keys()
        self._at += brackets
        path: Path = ()
        for key in parents:
            path = (*path, key)
            self._note(path)
            if path in self._last_index:
                path = (*path, self._last_index[path])
        path = (*path, last)
        self._note(path)
        if brackets == 2:
            self._last_index[path] = self._last_index.get(path, -1) + 1
            path = (*path, self._last_index[path])
            self._note(path)
        self._table = path

    def _pair(self, table: Path) -> None:
        """`a.b = value`, in a table or an inline table."""
        path = table
        for key in self._keys():
            path = (*path, key)
            self._note(path)
        self._at += 1
        self._value(path)

    def _keys(self) -> list[str]:
        """The parts of a dotted key; stops at what follows them."""
        keys: list[str] = []
        while True:
            self._next()
            keys.append(self._take(_BARE_KEY) or _unquoted(self._take(_STRING)))
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
            self._note(element)
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
