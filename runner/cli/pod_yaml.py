"""Manifests as YAML for people: with comments at the lines' ends and above them, texts of several lines as blocks.

PyYAML writes no comments, so the structure is laid out here and only the scalars are PyYAML's. What comes out reads
back as the same document.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import yaml

Path = tuple[str | int, ...]

_INDENT = "  "
_WIDEST = 1_000_000
_LOOKS_TYPED = re.compile(r"[-+]?[0-9._]+(?:[eE][-+]?[0-9]+)?|0[xobXOB].*|[yYnN]")


@dataclass(frozen=True, slots=True)
class Comments:
    """What to say beside a document: at the end of the line of a leaf, and above the line of anything."""

    beside: Mapping[Path, str] = field(default_factory=dict)
    above: Mapping[Path, str] = field(default_factory=dict)
    short_lists: bool = False
    """Whether lists of scalars stand on one line, and have no comments in them."""


NO_COMMENTS = Comments()


def yaml_text(document: object, comments: Comments = NO_COMMENTS) -> str:
    """Write one document, without a `---` before it."""
    return "\n".join(_node(document, (), comments)) + "\n"


def _node(node: object, path: Path, comments: Comments) -> Iterator[str]:
    """The lines of a value as they stand at the left margin."""
    if isinstance(node, dict) and node:
        for key, value in node.items():
            yield from _entry(f"{_scalar(key, key=True)}:", value, (*path, key), comments)
    elif isinstance(node, list | tuple) and node:
        for index, value in enumerate(node):
            yield from _entry("-", value, (*path, index), comments)
    else:
        yield from _leaf("", node, path, comments)


def _entry(head: str, value: object, path: Path, comments: Comments) -> Iterator[str]:
    """The lines of one entry of a table or list: its value stands beside the head or, one step in, below it."""
    yield from (f"# {line}" for line in comments.above.get(path, "").split("\n") if line)
    if not (isinstance(value, dict | list | tuple) and value) or (comments.short_lists and _is_flat(value)):
        yield from _leaf(f"{head} ", value, path, comments)
        return
    lines = _node(value, path, comments)
    yield f"- {next(lines)}" if head == "-" else head
    for line in lines:
        yield f"{_INDENT}{line}" if line else ""


def _leaf(head: str, value: object, path: Path, comments: Comments) -> Iterator[str]:
    first, *rest = _scalar(value).split("\n")
    comment = comments.beside.get(path, "")
    yield f"{head}{first}  # {comment}" if comment else f"{head}{first}"
    yield from rest


def _scalar(value: object, *, key: bool = False) -> str:
    if isinstance(value, dict):
        return "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(_item(each) for each in value)}]"
    text = yaml.safe_dump(value, default_style=_style(value, key=key), width=_WIDEST, allow_unicode=True)
    return text.removesuffix("\n...\n").rstrip("\n")


def _item(value: object) -> str:
    """A scalar as it may stand in a list on one line."""
    text = yaml.safe_dump(
        [value], default_flow_style=True, default_style=_style(value, key=True), width=_WIDEST, allow_unicode=True
    )
    return text.strip()[1:-1]


def _is_flat(value: object) -> bool:
    return isinstance(value, list | tuple) and not any(isinstance(each, dict | list | tuple) for each in value)


def _style(value: object, *, key: bool) -> str | None:
    """Write several lines as a block, and in quotes what a reader of another YAML could take for a number."""
    if not isinstance(value, str):
        return None
    if not value.replace("\n", "").replace("\t", "").isprintable():
        return '"'
    if "\n" in value:
        return '"' if key or value.endswith("\n\n") or not value.strip("\n") else "|"
    return "'" if _LOOKS_TYPED.fullmatch(value) else None
