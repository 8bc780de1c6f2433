"""Manifests as YAML for people: with comments at the lines' ends and above them, texts of several lines as blocks.

PyYAML writes no comments, so the structure is laid out here and only the scalars are PyYAML's. What comes out reads
back as the same document.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import yaml

Path = tuple[str | int, ...]

_INDENT = "  "
_WIDEST = 1_000_000
_LONGEST = 100
_MOST_KEYS = 3
_MOST_WORDS = 3
_LOOKS_TYPED = re.compile(r"[-+]?[0-9._]+(?:[eE][-+]?[0-9]+)?|0[xobXOB].*|[yYnN]")


@dataclass(frozen=True, slots=True)
class Layout:
    """What to say beside a document, and what to write shortly."""

    beside: Mapping[Path, Sequence[str]] = field(default_factory=dict)
    """Words to say at the end of the lines of leaves, the most important first."""
    otherwise: str = ""
    """What to say there in place of no words."""
    above: Mapping[Path, str] = field(default_factory=dict)
    """Comments above the lines of anything."""
    left_out: frozenset[Path] = frozenset()
    """Items of lists that are not written; not all of one list."""
    short: bool = False
    """Whether lists of scalars, and small tables in lists, stand on one line."""
    dim: bool = False
    """Whether comments beside are paler than the rest on a terminal."""


PLAIN = Layout()


def yaml_text(document: object, layout: Layout = PLAIN) -> str:
    """Write one document, without a `---` before it."""
    return "\n".join(_node(document, (), layout)) + "\n"


def _node(node: object, path: Path, layout: Layout) -> Iterator[str]:
    """The lines of a value as they stand at the left margin."""
    if isinstance(node, dict) and node:
        for key, value in node.items():
            yield from _entry(f"{_scalar(key, key=True)}:", value, (*path, key), layout)
    elif isinstance(node, list | tuple) and node:
        for index, value in enumerate(node):
            if (*path, index) not in layout.left_out:
                yield from _entry("-", value, (*path, index), layout)
    else:
        yield from _leaf("", node, path, layout)


def _entry(head: str, value: object, path: Path, layout: Layout) -> Iterator[str]:
    """The lines of one entry of a table or list: its value stands beside the head or, one step in, below it."""
    yield from (f"# {line}" for line in layout.above.get(path, "").split("\n") if line)
    if not (isinstance(value, dict | list | tuple) and value) or (layout.short and _is_short(value, head)):
        yield from _leaf(f"{head} ", value, path, layout)
        return
    lines = _node(value, path, layout)
    yield f"- {next(lines)}" if head == "-" else head
    for line in lines:
        yield f"{_INDENT}{line}" if line else ""


def _leaf(head: str, value: object, path: Path, layout: Layout) -> Iterator[str]:
    """The line of a value without others in it, or of one that is written shortly, with what is said of its parts."""
    first, *rest = _scalar(value).split("\n")
    parts = [layout.beside[place] for place in _parts(value, path) if place in layout.beside]
    words = tuple(dict.fromkeys(word for part in parts for word in part))
    comment = _listed(words) or (layout.otherwise if parts else "")
    if comment:
        comment = f"  \x1b[2m# {comment}\x1b[0m" if layout.dim else f"  # {comment}"
    yield f"{head}{first}{comment}"
    yield from rest


def _listed(words: tuple[str, ...]) -> str:
    more = len(words) - _MOST_WORDS
    return ", ".join(words[:_MOST_WORDS]) + (f" and {more} more" if more > 0 else "")


def _parts(value: object, path: Path) -> Iterator[Path]:
    keys = value if isinstance(value, dict) else range(len(value)) if isinstance(value, list | tuple) else ()
    yield from ((*path, key) for key in keys) if keys else (path,)


def _scalar(value: object, *, key: bool = False) -> str:
    """A value on one line, but for texts of several lines."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_item(name)}: {_item(each)}" for name, each in value.items()) + "}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(_item(each) for each in value)}]"
    text = yaml.safe_dump(value, default_style=_style(value, key=key), width=_WIDEST, allow_unicode=True)
    return text.removesuffix("\n...\n").rstrip("\n")


def _item(value: object) -> str:
    """A scalar as it may stand in a list or table on one line."""
    if value == "":
        return '""'  # as everybody writes the core group
    text = yaml.safe_dump(
        [value], default_flow_style=True, default_style=_style(value, key=True), width=_WIDEST, allow_unicode=True
    )
    return text.strip()[1:-1]


def _is_short(value: object, head: str) -> bool:
    """Whether a list, or a table that is an item of one, holds only what is well read on one line."""
    if isinstance(value, dict) and (head != "-" or len(value) > _MOST_KEYS):
        return False
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return all(not isinstance(each, dict | list | tuple) and "\n" not in str(each) for each in parts) and (
        len(str(value)) <= _LONGEST
    )


def _style(value: object, *, key: bool) -> str | None:
    """Write several lines as a block, and in quotes what a reader of another YAML could take for a number."""
    if not isinstance(value, str):
        return None
    if not value.replace("\n", "").replace("\t", "").isprintable():
        return '"'
    if "\n" in value:
        return '"' if key or value.endswith("\n\n") or not value.strip("\n") else "|"
    return "'" if _LOOKS_TYPED.fullmatch(value) else None
