"""Edits of a config.toml: text in, text out, and what an edit is not about stays as it was, to the byte.

Comments, order, blanks and line ends belong to whoever wrote the file. Law: every edit is read again before it is
returned, and says exactly what was meant; a text in which that cannot be done raises `EditError` and stays as it is.
"""

import tomllib
from collections.abc import Iterable, Mapping
from typing import Any

import tomlkit

from runner.config.statements import Statement, statements

NEW_FILE = """\
concurrent = 1
check_interval = 0
connection_max_age = "15m0s"
shutdown_timeout = 0

[session_server]
  session_timeout = 1800
"""
"""What the original writes where there is no file; scripts find `concurrent` at the beginning of its line."""

_RUNNERS = "runners"
_BOM = "\ufeff"


class EditError(ValueError):
    """An edit that cannot be done; the message says why, and nothing of the file's values."""


def runner_tables(text: str) -> list[dict[str, Any]]:
    """The `[[runners]]` of a text as TOML has them. Raises `EditError` if there are none such."""
    document = _read(text)
    found = document.get(_runners_key(document), [])
    if not isinstance(found, list) or not all(isinstance(runner, dict) for runner in found):
        raise EditError("`runners` is no array of tables: write each runner as a [[runners]] table.")
    return found


def append_runner(text: str, entry: Mapping[str, Any]) -> str:
    """Add a `[[runners]]` at the end. An empty text becomes that of a new file."""
    text = text if text.removeprefix(_BOM).strip() else NEW_FILE
    document = _read(text)
    runners = runner_tables(text)
    key = _runners_key(document)
    if _is_inline(text, key):
        if runners:
            raise EditError(f"`{key}` is written as one value: write each runner as a [[{key}]] table.")
        text = _without_lines(text, [_assignment(statements(_body(text)), (key,))])
    newline = "\r\n" if "\r\n" in text else "\n"
    block = "\n".join([f"[[{key}]]", *_rendered(entry, key, 1)]) + "\n"
    gap = "" if text.endswith("\n") else newline
    edited = f"{text}{gap}{newline}{block.replace(chr(10), newline)}"
    return _verified(edited, {**document, key: [*runners, dict(entry)]})


def remove_runners(text: str, indexes: Iterable[int]) -> str:
    """Remove some `[[runners]]` with their tables and the comments right above them."""
    document, runners, gone = _read(text), runner_tables(text), set(indexes)
    key = _runners_key(document)
    if not gone:
        return text
    if _is_inline(text, key):
        raise EditError(f"`{key}` is written as one value: write each runner as a [[{key}]] table.")
    body = _body(text)
    spans = [(start, end) for start, end, owner in _sections(body, key) if owner in gone]
    pieces, at = [], 0
    for start, end in spans:
        pieces.append(body[at:start])
        at = end
    edited = "".join([*pieces, body[at:]])
    kept = [runner for index, runner in enumerate(runners) if index not in gone]
    meant = {name: value for name, value in document.items() if name != key} | ({key: kept} if kept else {})
    return _verified(text[: len(text) - len(body)] + edited, meant)


def set_runner_keys(text: str, index: int, values: Mapping[str, Any]) -> str:
    """Set keys of one `[[runners]]` itself; one that is there keeps its place and the comment behind it."""
    document, runners = _read(text), runner_tables(text)
    key = _runners_key(document)
    meant = dict(runners[index])
    if _is_inline(text, key):
        raise EditError(f"`{key}` is written as one value: write each runner as a [[{key}]] table.")
    for name, value in values.items():
        spelled = _spelled(name, meant)
        meant[spelled] = value
        text = _with_key(text, key, index, spelled, value)
    return _verified(text, {**document, key: [*runners[:index], meant, *runners[index + 1 :]]})


def _with_key(text: str, table: str, index: int, key: str, value: Any) -> str:
    body = _body(text)
    head = text[: len(text) - len(body)]
    found = statements(body)
    headers = [place for place, one in enumerate(found) if one.header and one.array and one.path == (table,)]
    first = headers[index]
    last = first
    for one in found[first + 1 :]:
        if one.header:
            break
        last += 1
        if one.path == (key,):
            return head + body[: one.value] + _value(value) + body[one.end :]
    anchor = found[last]
    newline = "\r\n" if "\r\n" in text else "\n"
    indent = _indent(body, anchor) if last > first else _indent(body, anchor) + "  "
    end = body.find("\n", anchor.end)
    line = f"{indent}{_key(key)} = {_value(value)}{newline}"
    if end < 0:
        return f"{head}{body}{newline}{line}"
    return head + body[: end + 1] + line + body[end + 1 :]


def _sections(body: str, key: str) -> list[tuple[int, int, int]]:
    """Start, end and runner of each section that belongs to one; a section's comments right above it are its own."""
    headers = [one for one in statements(body) if one.header]
    starts = [_with_comments(body, one) for one in headers]
    ends = [*starts[1:], len(body)]
    found, owner = [], -1
    for one, start, end in zip(headers, starts, ends, strict=True):
        if one.array and one.path == (key,):
            owner += 1
        if one.path[:1] == (key,):
            found.append((start, end, owner))
    return found


def _with_comments(body: str, header: Statement) -> int:
    """Where the comment lines begin that stand right above a header; else its own line."""
    start = body.rfind("\n", 0, header.start) + 1
    while start:
        above = body.rfind("\n", 0, start - 1) + 1
        if not body[above:start].lstrip().startswith("#"):
            break
        start = above
    return start


def _rendered(entry: Mapping[str, Any], table: str, depth: int) -> list[str]:
    """The lines of a table: its own keys first, then its tables, each level two blanks further in."""
    indent = "  " * depth
    lines = [f"{indent}{_key(key)} = {_value(value)}" for key, value in entry.items() if not _is_table(value)]
    for key, value in entry.items():
        path = f"{table}.{_key(key)}"
        if isinstance(value, Mapping):
            lines += [f"{indent}[{path}]", *_rendered(value, path, depth + 1)]
        elif _is_table(value):
            for item in value:
                lines += [f"{indent}[[{path}]]", *_rendered(item, path, depth + 1)]
    return lines


def _is_table(value: Any) -> bool:
    return isinstance(value, Mapping) or (
        isinstance(value, list) and bool(value) and all(isinstance(item, Mapping) for item in value)
    )


def _key(key: str) -> str:
    return tomlkit.key(key).as_string()


def _value(value: Any) -> str:
    return str(tomlkit.item(value).as_string())


def _indent(body: str, statement: Statement) -> str:
    return body[body.rfind("\n", 0, statement.start) + 1 : statement.start]


def _body(text: str) -> str:
    return text.removeprefix(_BOM)


def _read(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(_body(text))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        place = str(error) if isinstance(error, tomllib.TOMLDecodeError) else "nested too deeply"
    raise EditError(f"it is no TOML: {place}")


def _spelled(name: str, table: Mapping[str, Any]) -> str:
    """A key as the table spells it: keys match in any case, the exact one first."""
    if name in table:
        return name
    return next((key for key in table if key.casefold() == name.casefold()), name)


def _runners_key(document: Mapping[str, Any]) -> str:
    return _spelled(_RUNNERS, document)


def _assignment(found: Iterable[Statement], path: tuple[str, ...]) -> Statement:
    for one in found:
        if one.header:
            break
        if one.path == path:
            return one
    raise EditError(f"`{'.'.join(path)}` is not where it is expected.")


def _is_inline(text: str, key: str) -> bool:
    """Whether the runners are one value, `runners = [...]`, and no tables."""
    for one in statements(_body(text)):
        if one.header:
            return False
        if one.path[:1] == (key,):
            return True
    return False


def _without_lines(text: str, gone: Iterable[Statement]) -> str:
    body = _body(text)
    head = text[: len(text) - len(body)]
    for one in gone:
        start, end = body.rfind("\n", 0, one.start) + 1, body.find("\n", one.end) + 1
        body = body[:start] + (body[end:] if end else "")
    return head + body


def _verified(text: str, meant: Mapping[str, Any]) -> str:
    """The text, if it says what is meant."""
    if _read(text) != meant:
        raise EditError("it is written in a way that this edit cannot follow: make the change by hand.")
    return text
